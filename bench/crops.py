"""Windows of large images against shrunk images: mosaics of steel with small defects, trained both ways.

    python bench/crops.py --data STEEL [--ways shrink,crop] [--seeds 3] [--budget 5m | --iterations 600]
                          [--grid 5] [--filled 0.3] [--images 60,20,40] [--weights none] [--set a.b=c] [--out DIR]

STEEL holds `img/{train,val,test}` and `labels/{train,val,test}` with the ids 0 background, 1 inclusion, 2 patches, 3
scratches. Nothing is written there. A mosaic has GRID x GRID of these images (200 x 200), which keep their labels: a
share FILLED of its places has whole images with their defects, the others the largest square without a defect of an
image, mirrored until the place is full. Each mosaic is made of images of its own split only.

The config is the one that `plan` makes, with whole images (`shrink`) or with windows at the images' own scale (`crop`),
whatever plan has chosen. With `--iterations` the steps are equal, with `--budget` the wall time is. `compare` of the
test mosaics says which is better, with its intervals over images and seeds. With `--out`, mosaics and runs are kept
there, and a second call goes on with them. JSON goes to stdout.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwright import compare, evaluate, load_dataset, plan
from maskwright.base.storage import atomic_write_bytes, atomic_write_text, dump_json
from maskwright.config import RunConfig
from maskwright.core.masks import png_bytes
from maskwright.training.train import train_or_resume

CLASSES = ("background", "inclusion", "patches", "scratches")
SPLITS = ("train", "val", "test")
WAYS: dict[str, dict[str, Any] | None] = {"shrink": None, "crop": {"scale": 1.0, "overlap": 0.25, "rare": 0.5}}
# Sides of a square without a defect below which it shows too little.
_LEAST = 48
Pixels = npt.NDArray[np.uint8]


def empty_part(image: Pixels, mask: Pixels) -> Pixels | None:
    """The largest square of an image (H, W, 3) without a defect, mirrored to its size; None where that is small."""
    inside = np.pad((mask == 0).astype(np.uint8), 1)
    reach = cv2.distanceTransform(inside, cv2.DIST_C, 3)
    row, column = np.unravel_index(reach.argmax(), reach.shape)
    half = int(reach[row, column]) - 1
    if 2 * half + 1 < _LEAST:
        return None
    square = image[row - 1 - half : row + half, column - 1 - half : column + half]
    missing = [side - part for side, part in zip(image.shape[:2], square.shape[:2], strict=True)]
    return np.asarray(
        np.pad(square, [(gap // 2, gap - gap // 2) for gap in missing] + [(0, 0)], mode="symmetric"), np.uint8
    )


def build(data: Path, folder: Path, *, grid: int, filled: float, images: list[int], seed: int = 0) -> Path:
    """Writes so many mosaics of each split into `folder`, unless it is there: the same ones for the same arguments."""
    if (folder / "dataset.yaml").exists():
        return folder
    source = load_dataset(data)
    for number, (split, count) in enumerate(zip(SPLITS, images, strict=True)):
        rng = np.random.default_rng((seed, number))
        pairs = [source.read(sample) for sample in source.splits[split]]
        empty = [part for image, mask in pairs if (part := empty_part(image, mask)) is not None]
        whole, bare = _endless(rng, len(pairs)), _endless(rng, len(empty))
        height, width = pairs[0][1].shape
        for index in range(count):
            image = np.zeros((grid * height, grid * width, 3), np.uint8)
            mask = np.zeros((grid * height, grid * width), np.uint8)
            places = rng.permutation(grid * grid)
            for turn, place in enumerate(places.tolist()):
                rows = slice(place // grid * height, (place // grid + 1) * height)
                columns = slice(place % grid * width, (place % grid + 1) * width)
                if turn < round(filled * grid * grid):
                    image[rows, columns], mask[rows, columns] = pairs[next(whole)]
                else:
                    image[rows, columns] = empty[next(bare)]
            atomic_write_bytes(folder / f"images/{split}/{index:03d}.png", png_bytes(image))
            atomic_write_bytes(folder / f"masks/{split}/{index:03d}.png", png_bytes(mask))
    classes = "".join(f"  - {{id: {id_}, name: {name}}}\n" for id_, name in enumerate(CLASSES))
    atomic_write_text(
        folder / "dataset.yaml",
        "layout: split_folders\nimages: {folder: images}\nmasks: {folder: masks}\n"
        f"splits: {{{', '.join(f'{split}: {split}' for split in SPLITS)}}}\nclasses:\n{classes}ignore: 255\n",
    )
    return folder


def _endless(rng: np.random.Generator, count: int) -> Any:
    """Numbers below `count`, each equally often."""
    while True:
        yield from rng.permutation(count).tolist()


def config(data: Path, way: str, seed: int, given: argparse.Namespace) -> RunConfig:
    """The plan for the mosaics, in one of the ways."""
    length = (
        {"budget": None, "iterations": given.iterations, "evaluate_every": max(1, given.iterations // 4)}
        if given.iterations
        else {}
    )
    planned = plan(data, budget=given.budget, weights=given.weights, overrides=given.set).config.to_dict()
    planned["data"]["crop"] = WAYS[way]
    return RunConfig.model_validate(planned | {"seed": seed, "train": planned["train"] | length})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="the folder of steel")
    parser.add_argument("--ways", default="shrink,crop")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--grid", type=int, default=5)
    parser.add_argument("--filled", type=float, default=0.3)
    parser.add_argument("--images", default="60,20,40", help="mosaics of train, val and test")
    parser.add_argument("--weights", default="none", help="imagenet, none, or a .safetensors file")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="change a value of the config")
    parser.add_argument("--out", type=Path, help="keep mosaics and runs here, or go on with them")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.out or Path(scratch)
        images = [int(number) for number in given.images.split(",")]
        data = build(given.data, folder / "data", grid=given.grid, filled=given.filled, images=images)
        chosen = plan(data, weights=given.weights, overrides=given.set).config.data
        runs = []
        for seed in range(given.seeds):
            for way in given.ways.split(","):
                run = train_or_resume(config(data, way, seed, given), out=folder / "runs" / f"{way}-{seed}")
                evaluate(run)
                runs.append(run)
        result = compare(runs)
        print(
            dump_json(
                {
                    "grid": given.grid,
                    "filled": given.filled,
                    "images": images,
                    "image_size": chosen.image_size,
                    "plan_chooses": chosen.crop.model_dump() if chosen.crop else None,
                    "iterations": {run.path.name: (run.finished or {})["iterations"] for run in runs},
                    "comparison": result.to_dict(),
                },
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
