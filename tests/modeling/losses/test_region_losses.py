"""Losses that compare regions, against float64 loops and against other libraries where definitions coincide."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from loss_cases import WEIGHTED, WEIGHTS, batch, softmax, weight_of
from torch.nn import functional

from maskwright.core.classes import IGNORE
from maskwright.modeling.losses.dice import Dice
from maskwright.modeling.losses.jaccard import Jaccard
from maskwright.modeling.losses.lovasz import Lovasz
from maskwright.modeling.losses.tversky import Tversky


def mean_over_classes(
    of_class: Callable[[np.ndarray, np.ndarray], float],
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None,
) -> float:
    """The weighted mean, over the classes that occur, of a loss of the probabilities and truth of counted pixels."""
    p, y = softmax(logits), targets.numpy()
    loss = mass = 0.0
    for k in range(logits.shape[1]):
        hot = y[y != IGNORE] == k
        if hot.any():
            loss += weight_of(weights, k) * of_class(p[:, k][y != IGNORE], hot)
            mass += weight_of(weights, k)
    return loss / mass


def with_an_absent_class(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    logits, targets = batch(seed)
    targets[targets == seed] = 3
    return logits, targets


SMOOTH = pytest.mark.parametrize("smooth", [0.0, 1.5])


class TestDice:
    @WEIGHTED
    @SMOOTH
    def test_against_a_loop(self, weights: torch.Tensor | None, smooth: float) -> None:
        def of_class(p: np.ndarray, hot: np.ndarray) -> float:
            return 1 - (2 * p[hot].sum() + smooth) / (p.sum() + hot.sum() + smooth)

        for seed in range(3):
            logits, targets = with_an_absent_class(seed)
            expected = mean_over_classes(of_class, logits, targets, weights)
            assert float(Dice(weights, smooth=smooth)(logits, targets)) == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("ignored", [0.0, 0.3])
    @SMOOTH
    def test_against_segmentation_models_pytorch(self, ignored: float, smooth: float) -> None:
        logits, targets = batch(2, ignored=ignored)
        assert len(targets.unique()) == 4 + (ignored > 0)  # with every class present the definitions coincide
        peer = smp.losses.DiceLoss("multiclass", smooth=smooth, ignore_index=IGNORE if ignored else None)
        # Theirs is added to each count, ours to twice the overlap.
        torch.testing.assert_close(Dice(smooth=2 * smooth)(logits, targets), peer(logits, targets))

    @SMOOTH
    def test_against_monai(self, smooth: float) -> None:
        with warnings.catch_warnings(action="ignore"):
            from monai.losses import DiceLoss
        logits, targets = batch(3, ignored=0)
        peer = DiceLoss(softmax=True, to_onehot_y=True, batch=True, smooth_nr=smooth, smooth_dr=smooth)
        torch.testing.assert_close(Dice(smooth=smooth)(logits, targets), peer(logits, targets[:, None]))

    def test_perfect_and_opposite(self) -> None:
        targets = torch.tensor([[[0, 1], [1, 0]]])
        hot = functional.one_hot(targets, 2).permute(0, 3, 1, 2).double()
        assert float(Dice()(hot * 200 - 100, targets)) == pytest.approx(0, abs=1e-9)
        assert float(Dice()(100 - hot * 200, targets)) == pytest.approx(1, abs=1e-9)


class TestJaccard:
    @WEIGHTED
    @SMOOTH
    def test_against_a_loop(self, weights: torch.Tensor | None, smooth: float) -> None:
        def of_class(p: np.ndarray, hot: np.ndarray) -> float:
            return 1 - (p[hot].sum() + smooth) / (p[~hot].sum() + hot.sum() + smooth)

        for seed in range(3):
            logits, targets = with_an_absent_class(seed)
            expected = mean_over_classes(of_class, logits, targets, weights)
            assert float(Jaccard(weights, smooth=smooth)(logits, targets)) == pytest.approx(expected, rel=1e-6)

    @SMOOTH
    def test_against_segmentation_models_pytorch(self, smooth: float) -> None:
        logits, targets = batch(3, ignored=0)
        peer = smp.losses.JaccardLoss("multiclass", smooth=smooth)
        torch.testing.assert_close(Jaccard(smooth=smooth)(logits, targets), peer(logits, targets))


class TestTversky:
    @WEIGHTED
    @SMOOTH
    @pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.7), (2.0, 0.0), (0.0, 0.5)])
    def test_against_a_loop(self, weights: torch.Tensor | None, alpha: float, beta: float, smooth: float) -> None:
        def of_class(p: np.ndarray, hot: np.ndarray) -> float:
            right, invented, missed = p[hot].sum(), p[~hot].sum(), (1 - p[hot]).sum()
            return 1 - (right + smooth) / (right + alpha * invented + beta * missed + smooth)

        for seed in range(3):
            logits, targets = with_an_absent_class(seed)
            expected = mean_over_classes(of_class, logits, targets, weights)
            found = Tversky(weights, alpha=alpha, beta=beta, smooth=smooth)(logits, targets)
            assert float(found) == pytest.approx(expected, rel=1e-6)

    @SMOOTH
    def test_against_others(self, smooth: float) -> None:
        with warnings.catch_warnings(action="ignore"):
            from monai.losses import TverskyLoss
        logits, targets = batch(3, ignored=0)
        found = Tversky(alpha=0.2, beta=0.9, smooth=smooth)(logits, targets)
        peer = smp.losses.TverskyLoss("multiclass", smooth=smooth, alpha=0.2, beta=0.9)
        torch.testing.assert_close(found, peer(logits, targets))
        other = TverskyLoss(
            softmax=True, to_onehot_y=True, batch=True, alpha=0.2, beta=0.9, smooth_nr=smooth, smooth_dr=smooth
        )
        torch.testing.assert_close(found, other(logits, targets[:, None]))

    @WEIGHTED
    def test_dice_and_jaccard_are_cases_of_it(self, weights: torch.Tensor | None) -> None:
        logits, targets = batch(4)
        torch.testing.assert_close(
            Tversky(weights, alpha=0.5, beta=0.5)(logits, targets), Dice(weights)(logits, targets)
        )
        torch.testing.assert_close(
            Tversky(weights, alpha=1, beta=1)(logits, targets), Jaccard(weights)(logits, targets)
        )

    def test_the_default_asks_for_recall(self) -> None:
        """Missing half of an object costs more than inventing as many pixels."""
        targets = torch.tensor([[[1] * 4 + [0] * 12]])
        missed, invented = (
            functional.one_hot(torch.tensor([[[1] * n + [0] * (16 - n)]]), 2).permute(0, 3, 1, 2) * 60.0 for n in (2, 6)
        )
        assert Tversky()(missed, targets) > Tversky()(invented, targets) + 0.05

    @pytest.mark.parametrize(
        "settings", [{"alpha": -1}, {"beta": float("nan")}, {"smooth": float("inf")}, {"alpha": 0, "beta": 0}]
    )
    def test_settings_are_checked(self, settings: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=next(iter(settings))):
            Tversky(**settings)


@pytest.mark.parametrize("loss", [Dice, Jaccard])
@pytest.mark.parametrize("smooth", [-1, float("nan")])
def test_settings_are_checked(loss: type, smooth: float) -> None:
    with pytest.raises(ValueError, match="smooth"):
        loss(smooth=smooth)


def lovasz_of_class(p: np.ndarray, hot: np.ndarray) -> float:
    """The definition (Berman et al., eq. 8 and 9): the m-th largest error times what the set of the m most wrong
    pixels loses in IoU over the set of m - 1, with sets of pixels."""

    def jaccard(wrong: set[int]) -> float:
        truth = set(np.flatnonzero(hot).tolist())
        return 1 - len(truth - wrong) / len(truth | wrong)

    errors = np.where(hot, 1 - p, p)
    order = np.argsort(-errors, kind="stable").tolist()
    return sum(errors[i] * (jaccard(set(order[: m + 1])) - jaccard(set(order[:m]))) for m, i in enumerate(order))


class TestLovasz:
    @WEIGHTED
    @pytest.mark.parametrize("per_image", [False, True])
    def test_against_sets_of_pixels(self, weights: torch.Tensor | None, per_image: bool) -> None:
        for seed in range(3):
            logits, targets = with_an_absent_class(seed)
            parts = [slice(i, i + 1) for i in range(2)] if per_image else [slice(None)]
            expected = np.mean(
                [mean_over_classes(lovasz_of_class, logits[part], targets[part], weights) for part in parts]
            )
            assert float(Lovasz(weights, per_image=per_image)(logits, targets)) == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("per_image", [False, True])
    def test_against_segmentation_models_pytorch(self, per_image: bool) -> None:
        logits, targets = batch(7, size=(3, 20, 20))
        targets[1][targets[1] == 2] = 0
        peer = smp.losses.LovaszLoss("multiclass", per_image=per_image, ignore_index=IGNORE)
        found = Lovasz(per_image=per_image)(logits.float(), targets)
        torch.testing.assert_close(found, peer(logits.float(), targets))

    def test_for_a_certain_prediction_it_is_the_loss_of_iou(self) -> None:
        logits, targets = batch(8)
        predicted = logits.argmax(1)
        expected = []
        for k in range(4):
            found, truth = ((part == k) & (targets != IGNORE) for part in (predicted, targets))
            expected.append(1 - float((found & truth).sum() / (found | truth).sum()))
        certain = functional.one_hot(predicted, 4).permute(0, 3, 1, 2) * 100.0
        assert float(Lovasz()(certain, targets)) == pytest.approx(np.mean(expected), rel=1e-6)

    def test_an_image_without_a_counted_pixel_is_not_averaged(self) -> None:
        logits, targets = batch(9)
        targets[1] = IGNORE
        for weights in (None, WEIGHTS):
            loss = Lovasz(weights, per_image=True)
            torch.testing.assert_close(loss(logits, targets), loss(logits[:1], targets[:1]))

    def test_many_pixels_keep_their_digits(self) -> None:
        logits, targets = batch(10, classes=2, size=(1, 700, 700))
        torch.testing.assert_close(
            Lovasz()(logits.float(), targets).double(), Lovasz()(logits, targets), rtol=1e-5, atol=0
        )
