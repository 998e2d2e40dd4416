"""How even the pixels of images and masks are, and how long `init` takes to understand a large folder.

    python bench/folders.py [--data DIR ...] [--masks labels] [--images 10000]

Prints one JSON document. For each folder below --data that holds images, and each ending in it: the number of files,
the lowest, middle and highest share of horizontal neighbours that are equal (in the middle 512 x 512 pixels, as
detection looks at them), and how many files are taken for what; and how alike the same value looks across images, with
classes and with objects numbered anew in each image. With --images, so many pairs of 64 x 64 pixels are written into a
temporary folder (`images/train/000001.jpg`, `labels/train/000001_mask.png`), and the detection is timed in a fresh
process: by the clock, and by the processor, which other programs do not change much.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from itertools import combinations, product
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
from PIL import Image

from maskwright.core.dataset import build
from maskwright.core.image_files import images_below
from maskwright.core.sample import open_image
from maskwright.data.layouts import detect
from maskwright.data.layouts.files import role_of
from maskwright.errors import MaskwrightError

CROP, LOOKED = 512, 12


def evenness(root: Path) -> dict[str, Any]:
    """The shares of equal neighbours and the roles by folder and ending."""
    shares: dict[str, list[float]] = defaultdict(list)
    roles: dict[str, Counter[str]] = defaultdict(Counter)
    for path in images_below(root):
        with open_image(path, page=0) as image:
            index = image.mode in ("1", "P")
            plain = image.mode in ("1", "L", "P") or image.mode.startswith("I")
            array = np.asarray(image if plain else image.convert("RGB")).astype(np.int64)
        top, left = (max(0, (side - CROP) // 2) for side in array.shape[:2])
        array = array[top : top + CROP, left : left + CROP]
        pixels = array if array.ndim == 2 else array[..., 0] << 16 | array[..., 1] << 8 | array[..., 2]
        kind = f"{path.parent.relative_to(root).as_posix()} {path.suffix.lower()}"
        shares[kind].append(float((pixels[:, 1:] == pixels[:, :-1]).mean()))
        roles[kind][role_of(pixels, index)] += 1
    return {
        kind: {
            "files": len(found),
            "equal": [round(float(np.quantile(found, q)), 3) for q in (0, 0.01, 0.5, 0.99, 1)],
            "roles": dict(roles[kind]),
        }
        for kind, found in shares.items()
    }


def alikeness(root: Path, masks: str | None) -> dict[str, Any]:
    """The distance between mean colours of the same value in two images, over that of different values, of 12 images
    each, where values are classes and where they number the objects of an image: lowest, middle and highest."""
    file = detect(root, masks=masks).file
    dataset = build(file, root, root.name)
    labelled = [sample for sample in dataset.samples if sample.labelled]
    ratios: dict[str, list[float]] = {"classes": [], "objects": []}
    for start in range(0, len(labelled) - LOOKED + 1, LOOKED):
        means: dict[str, dict[int, list[Any]]] = {"classes": defaultdict(list), "objects": defaultdict(list)}
        for sample in labelled[start : start + LOOKED]:
            image, mask = dataset.read(sample)
            ids = np.where(mask == 255, 0, mask)
            parts = cc3d.connected_components(ids, connectivity=8)
            for kind, values in (("classes", ids), ("objects", parts)):
                for value in [v for v in np.unique(values).tolist() if v][:60]:
                    means[kind][value].append(image[values == value].mean(0))
        for kind, found in means.items():
            same = [np.linalg.norm(a - b) for own in found.values() for a, b in combinations(own, 2)]
            pairs = combinations(found.values(), 2)
            other = [np.linalg.norm(a - b) for one, two in pairs for a, b in product(one[:4], two[:4])]
            if len(same) >= 3 and len(other) >= 3:
                ratios[kind].append(float(np.mean(same) / max(np.mean(other), 1e-9)))
    return {
        kind: {
            "groups": len(found),
            "ratio": [round(float(np.quantile(found, q)), 2) for q in (0, 0.5, 1)],
            "below_0.6": sum(ratio < 0.6 for ratio in found),
            "above_0.85": sum(ratio > 0.85 for ratio in found),
        }
        for kind, found in ratios.items()
        if found
    }


def draw(root: Path, count: int) -> None:
    """Pairs of 64 x 64 pixels; of 20 different ones."""
    rng = np.random.default_rng(0)
    samples = []
    for number in range(20):
        mask = np.zeros((64, 64), np.uint8)
        mask[number : number + 30, 10 : 30 + number] = 1 + number % 3
        picture = root / "picture.jpg"
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(picture)
        Image.fromarray(mask).save(root / "mask.png")
        samples.append((picture.read_bytes(), (root / "mask.png").read_bytes()))
    picture.unlink()
    (root / "mask.png").unlink()
    for split in ("train", "val"):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
    for number in range(count):
        split = "val" if number % 10 == 0 else "train"
        image, mask_bytes = samples[number % 20]
        (root / f"images/{split}/{number:06}.jpg").write_bytes(image)
        (root / f"labels/{split}/{number:06}_mask.png").write_bytes(mask_bytes)


def time_of(root: Path) -> dict[str, float]:
    """Seconds of one detection, and the megabytes that the process has needed."""
    start, cpu = time.perf_counter(), time.process_time()
    found = detect(root)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "images": found.images,
        "pairs": found.pairs,
        "seconds": round(seconds, 2),
        "processor": round(cpu, 2),
        "megabytes": round(peak),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="*", default=[])
    parser.add_argument("--masks", nargs="*", default=[], help="sets of masks, where a folder has several")
    parser.add_argument("--images", type=int, nargs="*", default=[])
    parser.add_argument("--time", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.time:
        print(json.dumps(time_of(given.time)))
        return
    result: dict[str, Any] = {"evenness": {root.name: evenness(root) for root in given.data}, "alike": {}, "times": []}
    for root in given.data:
        for masks in given.masks or [None]:
            try:
                result["alike"][f"{root.name} {masks or ''}".strip()] = alikeness(root, masks)
            except MaskwrightError as error:
                result["alike"][f"{root.name} {masks or ''}".strip()] = str(error)
    for count in given.images:
        with tempfile.TemporaryDirectory() as folder:
            draw(Path(folder), count)
            done = subprocess.run([sys.executable, __file__, "--time", folder], check=True, capture_output=True)
            result["times"].append(json.loads(done.stdout))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
