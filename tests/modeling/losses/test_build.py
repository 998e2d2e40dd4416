"""From terms of a config to one loss, and the class weights in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loss_cases import batch

from maskwright.core.class_weights import effective_number, inverse_frequency, inverse_root, median_frequency
from maskwright.core.classes import IGNORE
from maskwright.errors import ConfigError
from maskwright.modeling.losses import LOSSES
from maskwright.modeling.losses.build import build_loss
from maskwright.modeling.losses.cross_entropy import CrossEntropy
from maskwright.modeling.losses.dice import Dice

# Of two images: the classes 0 to 2 in the first, 0 in the second, 3 in none.
COUNTS = np.array([[400, 90, 10, 0], [500, 0, 0, 0]])
PIXELS = np.array([900, 90, 10, 0])


def test_a_weighted_sum() -> None:
    logits, targets = batch()
    loss = build_loss(
        [
            {"name": "ce", "weight": 0.5, "class_weights": "none"},
            {"name": "dice", "weight": 3, "class_weights": [1, 2, 3, 4], "smooth": 1.0},
        ],
        COUNTS,
    )
    dice = Dice(torch.tensor([1.0, 2, 3, 4]), smooth=1)
    expected = 0.5 * CrossEntropy()(logits, targets) + 3 * dice(logits, targets)
    torch.testing.assert_close(loss(logits, targets), expected)


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        ("inverse_frequency", inverse_frequency(PIXELS)),
        ("inverse_root", inverse_root(PIXELS)),
        ("effective_number", effective_number(PIXELS)),
        ("median_frequency", median_frequency(PIXELS, np.array([1000, 500, 500, 0]))),
    ],
)
def test_class_weights_by_name(kind: str, weights: np.ndarray) -> None:
    logits, targets = batch()
    built = build_loss([{"name": "ce", "class_weights": kind}], COUNTS)
    torch.testing.assert_close(built(logits, targets), CrossEntropy(torch.from_numpy(weights))(logits, targets))


def test_the_number_of_weights_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"loss\.1\.class_weights: 2 weights given for 4 classes"):
        build_loss([{"name": "ce"}, {"name": "dice", "class_weights": [1, 2]}], COUNTS)


@pytest.mark.parametrize("kind", ["inverse_frequency", [1, 2, 3, 4]])
def test_no_class_weights_where_classes_are_not_looked_at(kind: object) -> None:
    build_loss([{"name": "total_variation", "class_weights": "none"}], COUNTS)
    with pytest.raises(ConfigError, match=r"loss\.1\.class_weights: total_variation does not look at classes"):
        build_loss([{"name": "ce"}, {"name": "total_variation", "class_weights": kind}], COUNTS)


def test_all_ignored() -> None:
    logits = batch()[0].requires_grad_()
    loss = build_loss([{"name": name} for name in LOSSES], COUNTS)(logits, torch.full((2, 6, 5), IGNORE))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and (logits.grad == 0).all()
