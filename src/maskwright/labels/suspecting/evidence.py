"""Evidence: an image, its label and what models that have not seen it say, at the models' size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwright.core.masks import Mask, Pixels
from maskwright.core.sample import Sample
from maskwright.labels.suspecting.candidates import Candidate, candidates
from maskwright.labels.suspecting.colours import Look, look
from maskwright.labels.suspecting.folds import OutOfFold

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Evidence:
    """`label` (h, w) class indices, `probabilities` (K, h, w), what its image looks like (`look`), `image`
    (H, W, 3) and `mask` (H, W) as they are stored."""

    sample: Sample
    image: Pixels
    mask: Mask
    label: Mask
    probabilities: Floats
    look: Look

    def candidates(self, background: int | None) -> list[Candidate]:
        """The candidates of the label as it is."""
        return candidates(self.label, self.probabilities, self.look, background)


def evidence_reader(predicted: OutOfFold) -> Callable[[Sample], Evidence]:
    """Reads a sample of a dataset with its out-of-fold probabilities."""

    def evidence_of(sample: Sample) -> Evidence:
        image, mask = predicted.dataset.read(sample)
        probabilities = predicted.read(sample)
        height, width = predicted.geometry.inner(mask.shape)
        return Evidence(
            sample,
            image,
            mask,
            predicted.geometry.mask(mask)[:height, :width],
            probabilities[:, :height, :width],
            look(predicted.geometry.image(image)[:height, :width]),
        )

    return evidence_of
