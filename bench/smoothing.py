"""Whether labels get better when outlines are drawn towards edges of the image: conditional smoothing of probabilities.

    python bench/smoothing.py RUN [--choose val] [--judge test] [--most 100]

Two methods of the field: the guided filter (He, Sun and Tang, ECCV 2010), with the grey image as guide, and a
conditional random field whose pixels see a window around them (Krähenbühl and Koltun, NeurIPS 2011; in a window:
Teichmann and Cipolla, 2018), five steps of mean field. The setting of each that is best on the images of `--choose` is
judged on those of `--judge`, paired, beside the labels as they are. The table goes to stderr, JSON to stdout.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import islice, product
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.base.storage import dump_json
from maskwright.evaluation.comparing.inference import paired
from maskwright.evaluation.metrics import Marginals, confusion_matrix
from maskwright.evaluation.metrics.marginals import SCORES
from maskwright.evaluation.scoring.predicted import ready_for
from maskwright.run import Run

Floats = npt.NDArray[np.float32]
Labelled = tuple[npt.NDArray[np.uint8], Floats, npt.NDArray[np.uint8]]  # pixels, probabilities, ground truth
Method = Callable[[Floats, npt.NDArray[np.uint8]], Floats]


def guided(probabilities: Floats, image: npt.NDArray[np.uint8], radius: int, edge: float) -> Floats:
    """Probabilities (K, H, W) that are locally linear in the image (H, W, 3); differences below `edge`, of 0..1, are
    smoothed over."""
    box = partial(cv2.boxFilter, ddepth=-1, ksize=(2 * radius + 1,) * 2, borderType=cv2.BORDER_REFLECT)
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    mean = box(guide)
    spread = box(guide * guide) - mean * mean + edge**2
    found = np.empty_like(probabilities)
    for index, own in enumerate(probabilities):
        own_mean = box(own)
        slope = (box(guide * own) - mean * own_mean) / spread
        found[index] = box(slope) * guide + box(own_mean - slope * mean)
    return found


def random_field(
    probabilities: Floats, image: npt.NDArray[np.uint8], radius: int, colour: float, weight: float
) -> Floats:
    """Mean field with a Potts model: neighbours in a window of (2 radius + 1)² pixels agree the more, the nearer they
    are and the more alike their colours (`colour` of 255)."""
    height, width = image.shape[:2]
    guide = cv2.copyMakeBorder(image, *(radius,) * 4, cv2.BORDER_REFLECT).astype(np.float32) / colour
    inner = (slice(radius, radius + height), slice(radius, radius + width))
    offsets = [pair for pair in product(range(2 * radius + 1), repeat=2) if pair != (radius, radius)]
    kernels = []
    for down, right in offsets:
        apart = ((guide[inner] - guide[down : down + height, right : right + width]) ** 2).sum(-1)
        near = ((down - radius) ** 2 + (right - radius) ** 2) / (2 * (radius / 2) ** 2)
        kernels.append(np.exp(-apart / 2 - near))
    total = np.sum(kernels, 0)
    logs = np.log(np.maximum(probabilities, 1e-6))
    found = probabilities
    for _ in range(5):
        wide = np.stack([cv2.copyMakeBorder(one, *(radius,) * 4, cv2.BORDER_REFLECT) for one in found])
        votes = np.zeros_like(found)
        for (down, right), kernel in zip(offsets, kernels, strict=True):
            votes += kernel * wide[:, down : down + height, right : right + width]
        logits = logs + weight * votes / np.maximum(total, 1e-6)
        found = np.exp(logits - logits.max(0))
        found /= found.sum(0)
    return found


METHODS: dict[str, Method] = {
    "none": lambda probabilities, _: probabilities,
    **{
        f"guided radius {radius} edge {edge:g}": partial(guided, radius=radius, edge=edge)
        for radius, edge in product((2, 4, 8), (0.005, 0.01, 0.02, 0.05))
    },
    **{
        f"field radius {radius} colour {colour} weight {weight}": partial(
            random_field, radius=radius, colour=colour, weight=weight
        )
        for radius, colour, weight in product((3, 5), (8,), (1, 3))
    },
}


def images(run: Run, split: str, most: int) -> list[Labelled]:
    """Of each labelled image its pixels, probabilities and ground truth."""
    ready = ready_for(run, None, split, None, "cpu", postprocess=False, hashed=False)
    found = islice(zip(ready.samples, ready.predictions(True), strict=False), most)
    return [
        (ready.dataset.read_image(sample), one.probabilities, one.truth)
        for sample, one in found
        if one.probabilities is not None
    ]


def counted(method: Method, found: list[Labelled]) -> tuple[Marginals, float]:
    began = time.perf_counter()
    matrices = [
        confusion_matrix(truth, method(probabilities, pixels).argmax(0).astype(np.uint8), len(probabilities))
        for pixels, probabilities, truth in found
    ]
    return Marginals.of(np.stack(matrices)), (time.perf_counter() - began) / len(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--choose", default="val")
    parser.add_argument("--judge", default="test")
    parser.add_argument("--most", type=int, default=100, help="images of a split at most")
    given = parser.parse_args()
    run = Run.open(given.run)
    splits = {split: images(run, split, given.most) for split in (given.choose, given.judge)}
    rows: list[dict[str, Any]] = []
    before, _ = counted(METHODS["none"], splits[given.judge])
    for family in ("none", "guided", "field"):
        own = {
            name: counted(method, splits[given.choose]) for name, method in METHODS.items() if name.startswith(family)
        }
        scores = {name: float(SCORES["mIoU"](counts.total())) for name, (counts, _) in own.items()}
        best = max(scores, key=scores.__getitem__)
        after, seconds = counted(METHODS[best], splits[given.judge])
        gain = paired(after, before, SCORES["mIoU"])
        rows.append(
            {
                "method": best,
                given.choose: scores,
                given.judge: float(SCORES["mIoU"](after.total())),
                "difference": gain.to_dict(),
                "seconds_per_image": seconds,
            }
        )
        print(
            f"{best:40} {given.choose} {scores[best]:.4f} {given.judge} {rows[-1][given.judge]:.4f} "
            f"({gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]) {seconds * 1e3:.0f} ms an image",
            file=sys.stderr,
        )
    print(dump_json({"run": given.run, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
