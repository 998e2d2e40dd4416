"""Whether one model does what another one does: both label the same images, and what comes out is compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.base.storage import jsonable
from maskwright.core.bands import Stored
from maskwright.core.masks import Mask
from maskwright.core.predictor import Predictor
from maskwright.evaluation.metrics import Interval, bootstrap_sums, confusion_matrix, mIoU
from maskwright.evaluation.metrics.confusion import Counts


@dataclass(frozen=True)
class Parity:
    """What a model makes of N labelled `images` against a reference.

    `max_difference`: the largest difference of two probabilities of a class at a pixel (0..1). `agreement`: the share
    of all pixels, ignored ones too, with the same label. `reference_mIoU` and `mIoU`: aggregated over the images, at
    their own sizes, nan where no pixel counts. `difference`: the second minus the first, with the 95 % bootstrap
    interval over the same images for both.
    """

    images: int
    max_difference: float
    agreement: float
    reference_mIoU: float
    mIoU: float
    difference: Interval

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = jsonable(asdict(self))
        return found

    def __str__(self) -> str:
        value, low, high = (f"{number:+.4f}" for number in astuple(self.difference))
        return (
            f"{self.agreement:.4%} of pixels agree, probabilities differ by at most {self.max_difference:.2g}; mIoU "
            f"{self.mIoU:.4f} in place of {self.reference_mIoU:.4f} ({value}, 95 % [{low}, {high}])"
        )


def parities(reference: Predictor, others: Sequence[Predictor], pairs: Iterable[tuple[Stored, Mask]]) -> list[Parity]:
    """Each of the `others` against the `reference` on images (H, W, 3) and their masks (H, W) of leaf indices with
    `IGNORE`; they go through the models one after the other."""
    count = len(reference.classes)
    models = [reference, *others]
    confusions: list[list[npt.NDArray[np.int64]]] = [[] for _ in models]
    largest, equal, pixels = np.zeros(len(others)), np.zeros(len(others), np.int64), 0
    for image, truth in pairs:
        labels, distances = _labelled(models, image)
        for counts, one in zip(confusions, labels, strict=True):
            counts.append(confusion_matrix(truth, one, count))
        largest = np.maximum(largest, distances)
        equal += [np.count_nonzero(one == labels[0]) for one in labels[1:]]
        pixels += truth.size
    before, *after = [np.stack(counts) for counts in confusions]
    return [
        Parity(len(counts), float(most), float(same / pixels), *_scores(before, counts))
        for counts, most, same in zip(after, largest, equal, strict=True)
    ]


def _scores(before: Counts, after: Counts) -> tuple[float, float, Interval]:
    def difference(sums: Counts) -> npt.NDArray[np.float64]:
        return np.asarray(mIoU(sums[:, 1]) - mIoU(sums[:, 0]))[:, None]

    (interval,) = bootstrap_sums(np.stack([before, after], 1), difference)
    return float(mIoU(before.sum(0))), float(mIoU(after.sum(0))), interval


def _labelled(models: Sequence[Predictor], image: Stored) -> tuple[list[Mask], list[float]]:
    """The leaf indices (H, W) by each model, and the largest difference of a probability of each but the first from the
    first one's."""
    maps, expected = next(models[0].labelled([image], 1, True))
    assert expected is not None  # it was asked for
    labels, distances = [maps[-1]], []
    for model in models[1:]:
        maps, values = next(model.labelled([image], 1, True))
        assert values is not None
        labels.append(maps[-1])
        # Class by class: of a large image, all of one model more would be much.
        distances.append(max(float(np.abs(one - other).max()) for one, other in zip(values, expected, strict=True)))
    return labels, distances
