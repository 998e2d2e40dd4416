"""Does `explain` name what went wrong? Planted errors: what they are, and what they are found to be.

python bench/explain.py [--scenes 40] [--data DIR [--hurried DIR]] [--json]

Into masks that are right, one error is planted in every object, in the prediction (model errors) or in the label (label
errors). Each has a kind that it ought to be found as: displacements within the tolerance of boundaries are boundary,
whoever made them; the pixels that an object loses by more are missed, those that it gains are hallucinated. The table
has a row for each plant and a column for each kind, in per cent of the planted pixels; below stand recall and precision
of each kind over all pixels. The scenes are noisy ellipses of three classes on a textured ground; with `--data`, the
images and masks of a dataset take their place, whose own label errors count against the result.

With `--hurried`, a dataset of the same samples whose masks were drawn in a hurry, there are real errors too: the
careful masks as prediction on hurried labels (what is called label suspect then is right), and the other way round (it
is wrong). Both have the same wrong pixels.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE
from maskwright.data.opening import load_dataset
from maskwright.evaluation.explaining.anatomy import dissect, object_labels, tolerance_of
from maskwright.evaluation.explaining.kinds import BOUNDARY, CONFUSED, HALLUCINATED, LABEL_SUSPECT, MISSED, NAMES

Bools = npt.NDArray[np.bool_]
Mask = npt.NDArray[np.uint8]
LOOKS = np.array([(70, 80, 70), (190, 70, 60), (60, 90, 200), (210, 190, 70)], np.float64)
SIZE = (256, 320)


def grown(shape: Bools, pixels: int) -> Bools:
    return np.asarray(cv2.distanceTransform((~shape).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= pixels)


def shrunk(shape: Bools, pixels: int) -> Bools:
    inside = cv2.distanceTransform(np.pad(shape, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    return np.asarray(inside > pixels)


def shifted(shape: Bools, pixels: int) -> Bools:
    result = np.zeros_like(shape)
    result[:, pixels:] = shape[:, :-pixels]
    return result


@dataclass(frozen=True)
class Plant:
    """What becomes of an object (H, W) by so many pixels (`far` beyond twice the tolerance), and as what the pixels
    that it loses and gains ought to be found. `swap` changes its class instead, `copy` puts a copy of it elsewhere."""

    change: Callable[[Bools, int], Bools]
    lost: int
    gained: int
    far: bool = True
    swap: bool = False
    copy: bool = False


def same(shape: Bools, _: int) -> Bools:
    return shape


PLANTS = {
    "shifted a little": Plant(shifted, BOUNDARY, BOUNDARY, far=False),
    "dilated a little": Plant(grown, BOUNDARY, BOUNDARY, far=False),
    "eroded a little": Plant(shrunk, BOUNDARY, BOUNDARY, far=False),
    "shifted far": Plant(shifted, MISSED, HALLUCINATED),
    "dilated far": Plant(grown, MISSED, HALLUCINATED),
    "eroded far": Plant(shrunk, MISSED, HALLUCINATED),
    "dropped": Plant(lambda shape, _: np.zeros_like(shape), MISSED, HALLUCINATED),
    "added": Plant(same, MISSED, HALLUCINATED, copy=True),
    "swapped": Plant(same, CONFUSED, CONFUSED, swap=True),
}


def scene(rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], Mask]:
    """An image (256, 320, 3) and its mask: ellipses of the classes 1 to 3 on class 0, about half of the cells empty."""
    mask = np.zeros(SIZE, np.uint8)
    for top in range(0, SIZE[0], 64):
        for left in range(0, SIZE[1], 64):
            if rng.random() < 0.6:
                centre = tuple(np.add(rng.integers(28, 37, 2), (left, top)).tolist())
                axes = tuple(rng.integers(11, 18, 2).tolist())
                cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, int(rng.integers(1, 4)), -1)
    texture = cv2.GaussianBlur(rng.normal(0, 60, (*SIZE, 3)), (0, 0), 6)
    image = LOOKS[mask] + texture + rng.normal(0, 12, (*SIZE, 3))
    return np.clip(image, 0, 255).astype(np.uint8), mask


def planted(
    mask: Mask, classes: int, rng: np.random.Generator, *, label: bool, names: list[str] | None = None
) -> tuple[Mask, Mask, npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Label and prediction (H, W) made of a right mask (H, W), the kind (H, W) that each planted pixel ought to be
    found as, and the place in `PLANTS` of its plant, -1 elsewhere. `label`: errors go into the label."""
    wrong, kinds, plants = mask.copy(), np.zeros(mask.shape, np.uint8), np.full(mask.shape, -1)
    reach = tolerance_of(mask.shape)
    objects = object_labels(np.where(mask == IGNORE, 0, mask).astype(np.uint8))
    free = mask == 0
    for number in range(1, int(objects.max()) + 1):
        shape = objects == number
        index = int(mask[shape][0])
        if index in (0, IGNORE) or shape.sum() < 150:
            continue
        name = str(rng.choice([name for name in names or PLANTS if classes > 2 or not PLANTS[name].swap]))
        plant = PLANTS[name]
        after = plant.change(shape, math.ceil(2 * reach) + 3 if plant.far else int(reach))
        if plant.copy:
            after = shape | _elsewhere(shape, ~grown(~free, round(3 * reach) + 3), rng)
        lost, gained = shape & ~after, after & ~shape & free
        if plant.swap:
            lost = shape
            wrong[shape] = rng.choice([other for other in range(1, classes) if other != index])
        else:
            wrong[lost], wrong[gained] = 0, index
        free &= ~gained
        kinds[lost], kinds[gained] = plant.lost, plant.gained
        if plant.lost == BOUNDARY:  # between objects that touch it is a gap, for no background is there
            kinds[lost & ~grown(mask == 0, int(reach))] = MISSED
        if label:
            kinds[(lost | gained) & (kinds != BOUNDARY)] = LABEL_SUSPECT
        plants[lost | gained] = [*PLANTS].index(name)
    return (wrong, mask, kinds, plants) if label else (mask, wrong, kinds, plants)


def _elsewhere(shape: Bools, free: Bools, rng: np.random.Generator) -> Bools:
    """A copy of a shape where everything is free; nothing where no such place is found."""
    rows, columns = np.nonzero(shape)
    rows, columns = rows - rows.min(), columns - columns.min()
    for _ in range(50):
        top, left = rng.integers(0, (shape.shape[0] - rows.max(), shape.shape[1] - columns.max())).tolist()
        if free[rows + top, columns + left].all():
            result = np.zeros_like(shape)
            result[rows + top, columns + left] = True
            return result
    return np.zeros_like(shape)


def pairs(scenes: int, data: Path | None) -> Iterator[tuple[npt.NDArray[np.uint8], Mask, int]]:
    """Images, right masks and the number of classes."""
    if data is None:
        rng = np.random.default_rng(0)
        yield from ((*scene(rng), len(LOOKS)) for _ in range(scenes))
        return
    dataset = load_dataset(data)
    labelled = [sample for sample in dataset.samples if sample.labelled]
    for place in np.linspace(0, len(labelled) - 1, min(scenes, len(labelled))).astype(int).tolist():
        yield *dataset.read(labelled[place]), len(dataset.classes)


def measure(scenes: int, data: Path | None = None) -> dict[str, Any]:
    """Pixels of every plant by found kind, and recall and precision of every kind."""
    rows = {f"{side}: {name}": np.zeros(len(NAMES) + 1, np.int64) for side in ("model", "label") for name in PLANTS}
    joint = np.zeros((len(NAMES) + 1, len(NAMES) + 1), np.int64)
    rng = np.random.default_rng(1)
    for image, mask, classes in pairs(scenes, data):
        for side in ("model", "label"):
            label, prediction, kinds, plants = planted(mask, classes, rng, label=side == "label")
            found = dissect(image, label, prediction).kinds
            for place, name in enumerate(PLANTS):
                rows[f"{side}: {name}"] += np.bincount(found[plants == place], minlength=len(NAMES) + 1)
            joint += np.bincount(
                kinds.astype(np.int64).reshape(-1) * (len(NAMES) + 1) + found.reshape(-1), minlength=joint.size
            ).reshape(joint.shape)
    hit = joint.diagonal()[1:]
    return {
        "plants": {name: dict(zip(NAMES, row[1:].tolist(), strict=True)) for name, row in rows.items() if row.any()},
        "kinds": {
            name: {
                "planted": int(joint[code].sum()),
                "recall": _ratio(hit[code - 1], joint[code].sum()),
                "precision": _ratio(hit[code - 1], joint[:, code].sum()),
            }
            for code, name in enumerate(NAMES, 1)
        },
    }


def exchanged(images: int, careful: Path, hurried: Path) -> dict[str, dict[str, int]]:
    """Wrong pixels by kind where careful masks are predictions on hurried labels, and the other way round."""
    sides = [
        {sample.name: (dataset, sample) for sample in dataset.samples if sample.labelled}
        for dataset in (load_dataset(careful), load_dataset(hurried))
    ]
    counts = np.zeros((2, len(NAMES) + 1), np.int64)
    for name in sorted(sides[0].keys() & sides[1].keys())[:images]:
        (image, good), (_, quick) = (dataset.read(sample) for dataset, sample in (side[name] for side in sides))
        for row, (label, prediction) in enumerate(((quick, good), (good, quick))):
            prediction = np.where(prediction == IGNORE, 0, prediction).astype(np.uint8)
            found = dissect(image, label, prediction).kinds
            counts[row] += np.bincount(found.reshape(-1), minlength=len(NAMES) + 1)
    return {
        name: dict(zip(NAMES, row[1:].tolist(), strict=True))
        for name, row in zip(("hurried labels", "careful labels"), counts, strict=True)
    }


def _ratio(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scenes", type=int, default=40, help="images at most")
    parser.add_argument("--data", type=Path, help="a dataset in place of scenes")
    parser.add_argument("--hurried", type=Path, help="the same samples as in --data, labelled with less care")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if arguments.hurried and not arguments.data:
        parser.error("--hurried needs --data")
    result = measure(arguments.scenes, arguments.data)
    if arguments.hurried:
        result["plants"] |= exchanged(arguments.scenes, arguments.data, arguments.hurried)
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{'planted':<26}{'pixels':>9}" + "".join(f"{name.replace('_', ' '):>15}" for name in NAMES))
    for name, row in result["plants"].items():
        total = sum(row.values())
        print(f"{name:<26}{total:>9,}" + "".join(f"{100 * pixels / total:>13.1f} %" for pixels in row.values()))
    for key in ("recall", "precision"):
        told = ("-" if row[key] is None else f"{100 * row[key]:.1f} %" for row in result["kinds"].values())
        print(f"{key:<35}" + "".join(f"{value:>15}" for value in told))


if __name__ == "__main__":
    main()
