"""Speed and memory of the audit, beside decoding alone with the same reader and the same number of processes.

    python bench/audit.py [--images 100000] [--size 64] [--workers N] [--folder DIR]
    python bench/audit.py --images 1500 --size 640 --polygons 60

Writes a dataset of small PNG images and masks into a temporary folder, which is deleted again. Decoding
(`read_image` and `read_mask`) and the audit take turns on slices of it, and the median of the ratios of their
rates is reported: what the audit costs beside reading. Then one audit of all, in a fresh process, whose memory
is watched: "resident" is what it and its children hold in all, shared pages counted once (PSS, Linux only).
With `--polygons` the masks are so many polygons an image in COCO files, and only the one audit is run: beside 1,500
images with 60 polygons each stands the bar of 15 s. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import psutil

from maskwright.base.workers import chunk, in_order, worker_count
from maskwright.core.dataset import Dataset
from maskwright.data.auditing import audit
from maskwright.data.opening import load_dataset

CHUNK, TURNS, CLASSES = 100, 5, 4
BAR = {"ratio": 0.9, "resident_mb": 400}
BAR_OF_POLYGONS = {"seconds": 15}


def draw(index: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A smooth random scene with some noise, and a mask of one to four ellipses."""
    rng = np.random.default_rng(index)
    coarse = rng.integers(0, 256, (6, 6, 3), np.uint8)
    image = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 5)):
        centre, axes = rng.integers(0, size, 2).tolist(), rng.integers(size // 20, size // 4, 2).tolist()
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, int(rng.integers(1, CLASSES)), -1)
    image[mask > 0] = image[mask > 0] // 2 + 60 * mask[mask > 0, None]
    return cv2.add(image, rng.integers(0, 16, image.shape, np.uint8)), mask


def generate(folder: Path, images: int, size: int, workers: int) -> None:
    def write(begin: int) -> None:
        for index in range(begin, min(begin + CHUNK, images)):
            image, mask = draw(index, size)
            split = ("train", "train", "val", "test")[index // CHUNK % 4]
            for kind, pixels in (("img", image), ("labels", mask)):
                done = cv2.imwrite(str(folder / kind / split / f"{index:06d}.png"), pixels)
                assert done

    for kind in ("img", "labels"):
        for split in ("train", "val", "test"):
            (folder / kind / split).mkdir(parents=True)
    classes = "".join(f"  - {{id: {i}, name: class_{i}}}\n" for i in range(CLASSES))
    (folder / "dataset.yaml").write_text(
        "layout: split_folders\nimages: {folder: img}\nmasks: {folder: labels, encoding: index}\n"
        f"splits: {{train: train, val: val, test: test}}\nclasses:\n{classes}"
    )
    for _ in in_order(write, range(0, images, CHUNK), workers):
        pass


def ring(rng: np.random.Generator, size: int) -> np.ndarray:
    """A star of 8 to 39 corners and some tens of pixels, somewhere in the image."""
    corners, radius = int(rng.integers(8, 40)), size * rng.uniform(0.01, 0.06)
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    far = radius * rng.uniform(0.6, 1.1, (corners, 1))
    points = rng.uniform(0, size, 2) + far * np.stack([np.cos(angles), np.sin(angles)], 1)
    return np.asarray(np.clip(points, 0, size).round(2))


def generate_polygons(folder: Path, images: int, size: int, polygons: int) -> None:
    for split in ("train", "val"):
        listed, regions = [], []
        (folder / "images" / split).mkdir(parents=True)
        for index in (i for i in range(images) if (i % 4 == 3) == (split == "val")):
            rng = np.random.default_rng(index)
            name = f"{index:06d}.jpg"
            done = cv2.imwrite(str(folder / "images" / split / name), draw(index, size)[0])
            assert done
            listed.append({"id": index, "file_name": name, "height": size, "width": size})
            regions += [
                {
                    "id": index * polygons + number,
                    "image_id": index,
                    "category_id": int(rng.integers(1, CLASSES)),
                    "iscrowd": 0,
                    "segmentation": [ring(rng, size).reshape(-1).tolist()],
                }
                for number in range(polygons)
            ]
        categories = [{"id": i, "name": f"class_{i}"} for i in range(1, CLASSES)]
        file = folder / "annotations" / f"instances_{split}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"images": listed, "annotations": regions, "categories": categories}))


def decode(dataset: Dataset, workers: int) -> None:
    size = chunk(len(dataset.samples), workers)

    def read(begin: int) -> None:
        for sample in dataset.samples[begin : begin + size]:
            dataset.read_image(sample)
            dataset.read_mask(sample)

    for _ in in_order(read, range(0, len(dataset.samples), size), workers):
        pass


def seconds(function: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of the processors (children included), which other work on the machine disturbs less."""
    began, before = time.perf_counter(), sum(os.times()[:4])
    function()
    return time.perf_counter() - began, sum(os.times()[:4]) - before


def rates(dataset: Dataset, workers: int) -> dict[str, float]:
    """Both on slices in turn, after each has run once to fill the caches."""
    edges = np.linspace(0, len(dataset.samples), TURNS + 1).astype(int)
    times: dict[str, list[tuple[float, float]]] = {"decode": [], "audit": []}
    for begin, end in [(0, edges[1]), *pairwise(edges)]:
        part = replace(dataset, samples=dataset.samples[begin:end])
        times["decode"].append(seconds(lambda part=part: decode(part, workers)))
        times["audit"].append(seconds(lambda part=part: audit(part, progress=False, workers=workers)))
    turns = list(zip(times["decode"][1:], times["audit"][1:], strict=True))
    images = len(dataset.samples)
    return {name: round(images / sum(clock for clock, _ in found[1:]), 1) for name, found in times.items()} | {
        name: round(statistics.median(one[of] / other[of] for one, other in turns), 3)
        for of, name in enumerate(("ratio", "processor_ratio"))
    }


def held_by(process: psutil.Process) -> int:
    """Bytes that a process and all below it hold together (PSS)."""
    held = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            held += one.memory_full_info().pss
        except psutil.Error:
            continue  # it has just ended
    return held


def whole(folder: Path, workers: int) -> dict[str, float]:
    """An audit of the whole folder in this process, watched by a thread."""
    this, most, done = psutil.Process(), {"resident": 0, "own": 0}, threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            most["resident"] = max(most["resident"], held_by(this))
            most["own"] = max(most["own"], this.memory_info().rss)

    started = this.memory_full_info().pss
    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    dataset = load_dataset(folder)
    loaded, held = time.perf_counter(), this.memory_full_info().pss
    result = audit(dataset, progress=False, workers=workers)
    ended = time.perf_counter()
    done.set()
    watcher.join()
    return {
        "seconds": round(ended - began, 2),
        "load_seconds": round(loaded - began, 2),
        "audit_seconds": round(ended - loaded, 2),
        "images_per_second": round(result.samples / (ended - loaded), 1),
        "findings": len(result.findings),
        "started_mb": round(started / 1e6),
        "loaded_mb": round(held / 1e6),
        "resident_mb": round(most["resident"] / 1e6),
        "own_mb": round(most["own"] / 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=64, help="pixels of a side")
    parser.add_argument("--workers", type=int, default=worker_count())
    parser.add_argument("--polygons", type=int, default=0, help="of each image, in place of mask files")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--whole", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.whole:
        print(json.dumps(whole(given.whole, given.workers)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        folder = Path(made) / "data"
        if given.polygons:
            generate_polygons(folder, given.images, given.size, given.polygons)
        else:
            generate(folder, given.images, given.size, given.workers)
        speed = {} if given.polygons else rates(load_dataset(folder), given.workers)
        run = subprocess.run(
            [sys.executable, __file__, "--whole", folder, "--workers", str(given.workers)],
            check=True,
            capture_output=True,
            text=True,
        )
    print(
        json.dumps(
            {
                "setting": {
                    "images": given.images,
                    "size": given.size,
                    "polygons": given.polygons,
                    "workers": given.workers,
                    "bar": BAR_OF_POLYGONS if given.polygons else BAR,
                },
                "images_per_second": speed,
                "whole": json.loads(run.stdout),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
