"""What the tests of losses share: batches, and the rows of the table with and without class weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from maskwright.core.classes import IGNORE
from maskwright.modeling.losses import LOSSES, correlation, takes_class_weights
from maskwright.modeling.models import load

WEIGHTS = torch.tensor([0.5, 2.0, 1.25, 0.1])
WEIGHTED = pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])


def batch(
    seed: int = 0, classes: int = 4, ignored: float = 0.2, size: tuple[int, int, int] = (2, 6, 5)
) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 2, (size[0], classes, *size[1:]))).double()
    targets = rng.integers(0, classes, size)
    targets[rng.random(size) < ignored] = IGNORE
    return logits, torch.from_numpy(targets)


def make(name: str, weights: torch.Tensor | None = None, **more: Any) -> torch.nn.Module:
    return load(LOSSES[name])(**({} if weights is None else {"class_weights": weights}), **more)


def cases(*names: str) -> pytest.MarkDecorator:
    """Parametrises by name and class weights, plain and, where the loss takes them, weighted."""
    return pytest.mark.parametrize(
        ("name", "weights"),
        [
            pytest.param(name, weights, id=f"{name}-{'plain' if weights is None else 'weighted'}")
            for name in names
            for weights in ([None, WEIGHTS] if takes_class_weights(name) else [None])
        ],
    )


def freeze_structural_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """For numeric gradients, keeps what `correlation` takes as a constant weight as it is at the first call (for each
    number of classes)."""
    seen: dict[int, torch.Tensor] = {}
    compute = correlation.structural_errors
    monkeypatch.setattr(
        correlation, "structural_errors", lambda logits, *more: seen.setdefault(logits.shape[1], compute(logits, *more))
    )


def softmax(logits: torch.Tensor) -> npt.NDArray[np.float64]:
    z = logits.numpy()
    p = np.exp(z - z.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def weight_of(weights: torch.Tensor | None, index: int) -> float:
    return 1.0 if weights is None else float(weights[index])
