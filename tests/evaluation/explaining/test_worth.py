"""What fixing gains: equal to really fixing the pixels and scoring again."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.evaluation.explaining.anatomy import dissect
from maskwright.evaluation.explaining.image_errors import look_at
from maskwright.evaluation.explaining.kinds import LABEL_SUSPECT, NAMES
from maskwright.evaluation.explaining.slices import condensed
from maskwright.evaluation.explaining.text import percentages
from maskwright.evaluation.explaining.worth import fixed as after_fixing
from maskwright.evaluation.explaining.worth import fixed_counts
from maskwright.evaluation.metrics import Marginals, confusion_matrix, mAcc, mDice, mIoU
from scored_run import BENCH


@pytest.mark.parametrize("label", [False, True])
def test_fixing_counts_is_fixing_pixels(label):
    rng = np.random.default_rng(5)
    confusion, errors, fixed = np.zeros((4, 4), int), np.zeros((5, 4, 4), int), np.zeros((6, 4, 4), int)
    for _ in range(6):
        image, mask = BENCH.scene(rng)
        truth, prediction, *_ = BENCH.planted(mask, 4, rng, label=label)
        truth = truth.copy()
        truth[:6] = 255
        record, (cells, pixels) = look_at(image, truth, prediction, 4)
        np.add.at(errors.reshape(-1), cells, pixels)
        confusion += confusion_matrix(truth, prediction, 4)
        kinds = dissect(image, truth, prediction).kinds
        assert record.pixels.tolist() == [(kinds == code).sum() for code in range(1, 6)]
        for code in range(1, 6):
            here = kinds == code
            if code == LABEL_SUSPECT:
                fixed[code - 1] += confusion_matrix(np.where(here, prediction, truth), prediction, 4)
            else:
                fixed[code - 1] += confusion_matrix(truth, np.where(here, truth, prediction), 4)
        everything = np.where(truth == 255, prediction, truth)
        fixed[5] += confusion_matrix(truth, everything, 4)
    assert errors.sum() == confusion.sum() - np.trace(confusion) and errors[4 if label else 1].sum() > 500
    for place, name in enumerate(NAMES):
        np.testing.assert_array_equal(after_fixing(confusion, errors[place], name), fixed[place])
        short = fixed_counts(condensed(confusion), errors[place].sum(1), errors[place].sum(0), name)
        np.testing.assert_array_equal(short, condensed(fixed[place]))
    together = confusion
    for place, name in enumerate(NAMES):
        together = after_fixing(together, errors[place], name)
    assert mIoU(together) == mDice(together) == mIoU(fixed[5]) == 1.0


def test_scores_of_condensed_counts_are_those_of_confusion_counts(rng):
    counts = rng.integers(0, 50, (40, 6, 6))
    counts[:, :, 2] = counts[:, 2] = 0
    counts[3] = 0
    short = np.stack([condensed(one) for one in counts])
    found = Marginals.of_table(short)
    for mine, theirs in ((found.mIoU(), mIoU), (found.mDice(), mDice), (found.mAcc(), mAcc)):
        np.testing.assert_array_equal(mine, theirs(counts))


@pytest.mark.parametrize("counts", [[1, 1, 1], [997, 1, 1, 1], [0, 0], [5], [1, 2, 3, 4, 5, 6, 7]])
def test_shares_add_up_as_they_are_written(counts):
    written = [f"{share:.1f}" for share in percentages(counts)]
    assert sum(round(float(text) * 10) for text in written) == (1000 if any(counts) else 0)
    total = max(1, sum(counts))
    assert all(abs(float(text) - 100 * count / total) < 0.1 for text, count in zip(written, counts, strict=True))
