"""Losses that are means over pixels, against float64 loops and against other libraries where definitions coincide."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from loss_cases import WEIGHTED, batch, softmax, weight_of
from torch.nn import functional

from maskwright.core.classes import IGNORE
from maskwright.modeling.losses.binary_cross_entropy import BinaryCrossEntropy
from maskwright.modeling.losses.cross_entropy import CrossEntropy
from maskwright.modeling.losses.focal import Focal


def loop_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None, smoothing: float
) -> float:
    classes, total, mass = logits.shape[1], 0.0, 0.0
    scale = [1.0] * classes if weights is None else weights.double().tolist()
    for n, y, x in np.ndindex(*targets.shape):
        target = int(targets[n, y, x])
        if target == IGNORE:
            continue
        z = logits[n, :, y, x].tolist()
        log_sum = math.log(math.fsum(math.exp(value) for value in z))
        logs = [value - log_sum for value in z]
        uniform = sum(scale[k] * -logs[k] for k in range(classes)) / classes
        total += (1 - smoothing) * scale[target] * -logs[target] + smoothing * uniform
        mass += scale[target]
    return total / mass


class TestCrossEntropy:
    @WEIGHTED
    @pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
    def test_against_a_loop(self, weights: torch.Tensor | None, smoothing: float) -> None:
        for seed in range(3):
            logits, targets = batch(seed)
            found = CrossEntropy(weights, label_smoothing=smoothing)(logits, targets)
            assert float(found) == pytest.approx(loop_cross_entropy(logits, targets, weights, smoothing), rel=1e-6)

    @WEIGHTED
    @pytest.mark.parametrize("ignored", [0.0, 0.5])
    @pytest.mark.parametrize("smoothing", [0.0, 0.2])
    def test_against_torch(self, weights: torch.Tensor | None, ignored: float, smoothing: float) -> None:
        logits, targets = batch(1, ignored=ignored)
        expected = functional.cross_entropy(
            logits,
            targets,
            None if weights is None else weights.double(),
            ignore_index=IGNORE,
            label_smoothing=smoothing,
        )
        torch.testing.assert_close(CrossEntropy(weights, label_smoothing=smoothing)(logits, targets), expected)

    @pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
    def test_settings_are_checked(self, smoothing: float) -> None:
        with pytest.raises(ValueError, match="label_smoothing"):
            CrossEntropy(label_smoothing=smoothing)


class TestBinaryCrossEntropy:
    @WEIGHTED
    def test_against_a_loop(self, weights: torch.Tensor | None) -> None:
        logits, targets = batch(2)
        targets[targets == 1] = 0  # absent: to be denied everywhere
        total = mass = 0.0
        for n, y, x in np.ndindex(*targets.shape):
            target = int(targets[n, y, x])
            if target != IGNORE:
                for k, z in enumerate(logits[n, :, y, x].tolist()):
                    chance = 1 / (1 + math.exp(-z))
                    total -= weight_of(weights, target) * math.log(chance if k == target else 1 - chance) / 4
                mass += weight_of(weights, target)
        assert float(BinaryCrossEntropy(weights)(logits, targets)) == pytest.approx(total / mass, rel=1e-6)

    def test_against_segmentation_models_pytorch(self) -> None:
        logits, targets = batch(3, ignored=0)
        truth = functional.one_hot(targets, 4).permute(0, 3, 1, 2).double()
        torch.testing.assert_close(
            BinaryCrossEntropy()(logits, targets), smp.losses.SoftBCEWithLogitsLoss(ignore_index=None)(logits, truth)
        )


class TestFocal:
    @WEIGHTED
    @pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
    def test_against_a_loop(self, weights: torch.Tensor | None, gamma: float) -> None:
        logits, targets = batch(4)
        p, total, mass = softmax(logits), 0.0, 0.0
        for n, y, x in np.ndindex(*targets.shape):
            target = int(targets[n, y, x])
            if target != IGNORE:
                chance, weight = p[n, target, y, x], weight_of(weights, target)
                total -= weight * (1 - chance) ** gamma * math.log(chance)
                mass += weight
        assert float(Focal(weights, gamma=gamma)(logits, targets)) == pytest.approx(total / mass, rel=1e-6)

    @pytest.mark.parametrize("gamma", [1.0, 2.0, 3.5])
    def test_against_monai(self, gamma: float) -> None:
        """It averages over classes too, of which all but the true one add nothing."""
        with warnings.catch_warnings(action="ignore"):
            from monai.losses import FocalLoss
        logits, targets = batch(5, ignored=0)
        peer = FocalLoss(use_softmax=True, to_onehot_y=True, gamma=gamma)(logits, targets[:, None])
        torch.testing.assert_close(Focal(gamma=gamma)(logits, targets), 4 * peer, check_dtype=False)

    @WEIGHTED
    def test_gamma_0_is_cross_entropy(self, weights: torch.Tensor | None) -> None:
        logits, targets = batch(6)
        torch.testing.assert_close(Focal(weights, gamma=0)(logits, targets), CrossEntropy(weights)(logits, targets))

    @pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
    def test_the_slope_is_finite_where_the_prediction_is_certain(self, gamma: float) -> None:
        logits = torch.tensor([100.0, 0.0])[None, :, None, None].requires_grad_()
        for target in (0, 1):
            logits.grad = None
            Focal(gamma=gamma)(logits, torch.full((1, 1, 1), target)).backward()
            assert logits.grad is not None and torch.isfinite(logits.grad).all()

    @pytest.mark.parametrize("gamma", [-1, float("nan"), float("inf")])
    def test_settings_are_checked(self, gamma: float) -> None:
        with pytest.raises(ValueError, match="gamma must be at least 0"):
            Focal(gamma=gamma)
