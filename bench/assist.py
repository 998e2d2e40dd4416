"""How many strokes or clicks a mask takes with the tools of the review page: simulated users, and no browser.

    python bench/assist.py --data DIR [--split test] [--images 50] [--run RUN] [--out FILE]

The yardstick of interactive segmentation (Xu, Price, Cohen, Yang and Huang, CVPR 2016): an interaction goes where most
is wrong, and NoC@85 is the mean number of interactions until the IoU with the truth is .85, of 20 at most; who needs
more counts as 20 and is `not_reached`. The IoU of an image is the mean over its classes but the background.

- scribble: first a stroke in each class of the image, then each time one of the right class in the largest wrong
  region. A stroke is a disc around the point of the region that is farthest from its edge, with half of that distance
  as its radius, and a twentieth of the image's shorter side at most.
- box: one box around each object of 40 pixels or more, GrabCut in each; `one_box_85` is the share of objects that have
  an IoU of .85 after it. There is nothing to correct, so there is no NoC.
- scissors: points at equal distances along the outline of the largest object, joined along the image's edges; the
  fewest of 2, 3, 4 ... 20 that give its IoU. Beside it the same points joined by straight lines (polygon).

With --run, the probabilities of a run help as they do in the page; take images that it has not seen. Then the seconds
of each tool on an image of 1,024 x 1,024: median and 95th percentile, of which `first` includes the features of the
image, that are kept afterwards. JSON goes to stdout or FILE.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwright import load_dataset
from maskwright.base.storage import dump_json
from maskwright.core.classes import IGNORE
from maskwright.core.masks import Mask, Pixels
from maskwright.inference.loading import load
from maskwright.reviewing.assisting import NO_STROKE, Edges, from_box, from_point, from_strokes, stroke_features

MOST, GOALS = 20, (0.85, 0.9)
_LEAST = 40  # pixels of an object
Floats = npt.NDArray[np.float32]
Truth = npt.NDArray[np.bool_]


def iou(found: Truth, truth: Truth) -> float:
    union = int((found | truth).sum())
    return int((found & truth).sum()) / union if union else 1.0


def mean_iou(found: Mask, truth: Mask, background: int | None) -> float:
    counted = truth != IGNORE
    present = [index for index in np.unique(truth[counted]).tolist() if index != background]
    return float(np.mean([iou((found == index) & counted, truth == index) for index in present]))


def stroke(region: Truth) -> tuple[tuple[int, int], float]:
    """Where a user strokes a region, (x, y), and how wide."""
    depth = cv2.distanceTransform(np.pad(region.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return (int(x), int(y)), max(1.0, min(float(depth[y, x]) / 2, min(region.shape) / 20))


def largest(region: Truth) -> Truth:
    """The largest connected part."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
    return np.asarray(labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax())


def scribbled(features: Floats, truth: Mask, background: int | None) -> list[float]:
    """The IoU after each interaction, from the last of the first ones on."""
    strokes = np.full(truth.shape, NO_STROKE, np.uint8)
    drawn = 0

    def draw(region: Truth, index: int) -> None:
        nonlocal drawn
        middle, radius = stroke(region)
        disc = cv2.circle(np.zeros(truth.shape, np.uint8), middle, round(radius), 1, -1) > 0
        strokes[disc & (truth == index)] = index
        strokes[middle[1], middle[0]] = index
        drawn += 1

    for index in np.unique(truth[truth != IGNORE]).tolist():
        draw(largest(truth == index), index)
    scores = [0.0] * (drawn - 1)
    while True:
        found = from_strokes(features, strokes)
        scores.append(mean_iou(found, truth, background))
        wrong = (found != truth) & (truth != IGNORE)
        if len(scores) >= MOST or scores[-1] >= GOALS[-1] or not wrong.any():
            return scores
        part = largest(wrong)
        inside = truth[part]
        index = int(np.bincount(inside).argmax())
        draw(largest(part & (truth == index)), index)


def outline(truth: Truth) -> npt.NDArray[np.int32]:
    outlines, _ = cv2.findContours(truth.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(max(outlines, key=len).reshape(-1, 2), np.int32)


def cut(image: Pixels, truth: Truth) -> dict[str, list[float]]:
    """The IoU by 2, 3, ... points on the outline of an object, joined along edges and by straight lines."""
    border, edges, found = outline(truth), Edges(image), {"scissors": [0.0], "polygon": [0.0]}
    for count in range(2, MOST + 1):
        points = border[np.linspace(0, len(border), count, endpoint=False).astype(int)]
        lines = [edges.line(tuple(a), tuple(b)) for a, b in zip(points, np.roll(points, -1, 0), strict=True)]
        followed = np.concatenate([np.array(line) for line in lines]).astype(np.int32)
        for name, polygon in (("scissors", followed), ("polygon", points)):
            if found[name][-1] < GOALS[-1]:
                drawn = cv2.fillPoly(np.zeros(truth.shape, np.uint8), [polygon], 1)
                found[name].append(iou(drawn > 0, truth))
        if all(scores[-1] >= GOALS[-1] for scores in found.values()):
            break
    return found


def summary(all_scores: Sequence[Sequence[float]]) -> dict[str, float]:
    """NoC and the share that was not reached, of the scores by interaction."""
    result: dict[str, float] = {}
    for goal in GOALS:
        reached = [next((k + 1 for k, score in enumerate(one) if score >= goal), None) for one in all_scores]
        result[f"NoC@{goal * 100:.0f}"] = float(np.mean([MOST if k is None else k for k in reached]))
        result[f"not_reached_{goal * 100:.0f}"] = float(np.mean([k is None for k in reached]))
    return result


def measured(options: argparse.Namespace) -> dict[str, Any]:
    dataset = load_dataset(options.data)
    predictor = load(options.run, device=None) if options.run else None
    background = dataset.classes.background
    strokes, lines, boxes = [], {"scissors": [], "polygon": []}, []
    samples = [sample for sample in dataset.samples if sample.labelled and options.split in (sample.split, "all")]
    for sample in samples[: options.images]:
        image, truth = dataset.read_image(sample), dataset.read_mask(sample)
        indices = [i for i in np.unique(truth[truth != IGNORE]).tolist() if i != background]
        if not indices:
            continue
        chances = None
        if predictor:
            maps = next(iter(predictor.class_maps([image])))
            chances = np.stack([np.asarray(maps(index), np.float32) for index in range(len(dataset.classes))])
        strokes.append(scribbled(stroke_features(image, chances), truth, background))
        parts = []
        for index in indices:
            _, labels, stats, _ = cv2.connectedComponentsWithStats((truth == index).astype(np.uint8), connectivity=8)
            for number, (x, y, width, height, area) in enumerate(stats[1:].tolist(), 1):
                if area >= _LEAST and min(width, height) > 1:
                    parts.append((area, index, labels == number, (x, y, width, height)))
        for _, index, part, box in parts:
            found = from_box(image, box, None if chances is None else chances[index])
            boxes.append(iou(found, part))
        if parts:
            for name, scores in cut(image, max(parts, key=lambda one: one[0])[2]).items():
                lines[name].append(scores)
        print(f"{len(strokes)} of {min(len(samples), options.images)}", end="\r", file=sys.stderr)
    return {
        "data": options.data,
        "run": options.run,
        "images": len(strokes),
        "objects": len(boxes),
        "scribble": summary(strokes),
        "box": {f"one_box_{goal * 100:.0f}": float(np.mean([one >= goal for one in boxes])) for goal in GOALS}
        | {"mean_iou": float(np.mean(boxes))},
        **{name: summary(scores) for name, scores in lines.items()},
    }


def timed(run: Callable[[], object], times: int) -> dict[str, float]:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return {"median_ms": 1000 * float(np.median(seconds)), "p95_ms": 1000 * float(np.quantile(seconds, 0.95))}


def speeds(times: int = 20) -> dict[str, dict[str, float]]:
    """Of 1,024 x 1,024 pixels with textures and an ellipse."""
    rng = np.random.default_rng(0)
    side = 1024
    noise = cv2.GaussianBlur(rng.normal(0, 60, (side, side, 3)).astype(np.float32), (0, 0), 3)
    inside = cv2.ellipse(np.zeros((side, side), np.uint8), (520, 500), (260, 180), 20, 0, 360, 1, -1)
    image = np.clip(90 + 60 * inside[..., None] + 4 * noise, 0, 255).astype(np.uint8)
    strokes = np.full((side, side), NO_STROKE, np.uint8)
    cv2.line(strokes, (400, 450), (650, 540), 1, 12)
    cv2.line(strokes, (60, 60), (60, 900), 0, 12)
    features = stroke_features(image)
    edges, border = Edges(image), outline(inside > 0)
    ends = [(border[k], border[(k + 250) % len(border)]) for k in range(0, len(border), len(border) // times)]
    turn = iter(ends * 2)
    return {
        "scribble, first": timed(lambda: from_strokes(stroke_features(image), strokes), times),
        "scribble": timed(lambda: from_strokes(features, strokes), times),
        "scissors": timed(lambda: edges.line(*(tuple(map(float, end)) for end in next(turn))), times),
        "box": timed(lambda: from_box(image, (240, 290, 560, 420)), times),
        "point": timed(lambda: from_point(image, (520, 500)), times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="test", help="`all` for every labelled image")
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--run")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = dump_json(measured(options) | {"milliseconds at 1,024 x 1,024": speeds()}, indent=2)
    if options.out:
        options.out.write_text(result + "\n", "utf-8")
    print(result)


if __name__ == "__main__":
    main()
