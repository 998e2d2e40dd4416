"""What is left of seams: probabilities blended from windows, beside one pass over the whole image.

    python bench/seams.py RUN IMAGE... [--side 2048]

RUN has learnt from windows (`data.crop`). Each image is repeated, mirrored, until it has `side` x `side` pixels. The
network sees it once as it predicts, by overlapping windows, and once whole. A window ends where the whole goes on, so
the two differ near its border as far as the network looks; blending is to make that small. Beside both: windows that
do not overlap, side by side. A network that takes means over its whole input (group normalisation, pooling) sees
another thing in a window everywhere, which is no seam; so `seam` is how much larger the step of probabilities is from
pixel to pixel across the borders of windows than elsewhere (1: no larger). JSON goes to stdout, a table to stderr.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright import load
from maskwright.base.storage import dump_json
from maskwright.core.arrays import as_images
from maskwright.core.tiles import starts
from maskwright.run import Run


def probabilities(model: Any, image: npt.NDArray[np.uint8], window: tuple[int, int], overlap: float) -> Any:
    geometry = model.preprocessing.geometry
    changed = replace(geometry, size=window, crop=replace(geometry.crop, overlap=overlap))
    other = replace(model, preprocessing=replace(model.preprocessing, geometry=changed))
    (maps,) = other.class_maps([image])
    return np.stack([maps(index) for index in range(len(model.classes))])


def seam(found: Any, window: tuple[int, int], overlap: float) -> float:
    """The mean step across the lines where windows begin or end, over that across all lines."""
    ratios = []
    for axis, side in ((1, window[0]), (2, window[1])):
        steps = np.abs(np.diff(found, axis=axis)).max(0).mean(2 - axis)
        places = starts(found.shape[axis], side, overlap)
        lines = sorted({place - 1 for place in places if place} | {place + side - 1 for place in places[:-1]})
        ratios.append(steps[lines].mean() / steps.mean())
    return float(np.mean(ratios))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--side", type=int, default=2048)
    given = parser.parse_args()
    model = load(Run.open(given.run), device="cpu")
    geometry = model.preprocessing.geometry
    if geometry.crop is None:
        parser.error("the run sees whole images")
    ways = {"blended": geometry.crop.overlap, "side by side": 0.0}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for file in given.images:
        (pixels,), _ = as_images(file, model.preprocessing.exif, model.preprocessing.bands)
        times = [(0, max(0, given.side - side)) for side in pixels.shape[:2]]
        image = np.pad(pixels, (*times, (0, 0)), mode="symmetric")[: given.side, : given.side]
        scaled = geometry.inner(image.shape[:2])
        whole = probabilities(model, image, tuple(-(-side // 32) * 32 for side in scaled), 0.0)
        for name, overlap in ways.items():
            found = probabilities(model, image, geometry.size, overlap)
            apart = np.abs(found - whole).max(0)
            rows[name].append(
                {
                    "same_label": float((found.argmax(0) == whole.argmax(0)).mean()),
                    "mean_difference": float(apart.mean()),
                    "p99_difference": float(np.quantile(apart, 0.99)),
                    "max_difference": float(apart.max()),
                    "seam": seam(found, geometry.size, overlap),
                    "seam_of_whole": seam(whole, geometry.size, overlap),
                }
            )
    means = {name: {key: float(np.mean([row[key] for row in own])) for key in own[0]} for name, own in rows.items()}
    for name, row in means.items():
        print(f"{name:14}" + ", ".join(f"{key} {value:.4f}" for key, value in row.items()), file=sys.stderr)
    print(dump_json({"images": len(given.images), "side": given.side, "ways": means}, indent=2))


if __name__ == "__main__":
    main()
