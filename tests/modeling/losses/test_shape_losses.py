"""Losses that look at where pixels lie, against float64 loops and against other libraries where definitions coincide."""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt
import pytest
import torch
from loss_cases import WEIGHTED, batch, softmax, weight_of
from torch.nn import functional

from maskwright.core.classes import IGNORE
from maskwright.modeling.losses.binary_cross_entropy import BinaryCrossEntropy
from maskwright.modeling.losses.boundary import Boundary, signed_distances
from maskwright.modeling.losses.correlation import Correlation, structural_errors
from maskwright.modeling.losses.total_variation import TotalVariation


def blobs(seed: int = 0, classes: int = 3, size: int = 14, images: int = 2) -> torch.Tensor:
    """Targets of a few discs on class 0, with an ignored corner."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((size, size))
    targets = np.zeros((images, size, size), np.int64)
    for target in targets:
        for k in range(1, classes):
            row, column = rng.uniform(2, size - 2, 2)
            target[np.hypot(rows - row, columns - column) < 3] = k
        target[:3, :4] = IGNORE
    return torch.from_numpy(targets)


def loop_errors(x: npt.NDArray[np.float64], counted: npt.NDArray[np.bool_], window: int) -> npt.NDArray[np.float64]:
    """n(x) of one map (H, W), pixel by pixel, with the variance from deviations."""
    normalised = np.zeros_like(x)
    for row, column in np.ndindex(*x.shape):
        near = [
            (r, c)
            for r in range(row - window // 2, row + window // 2 + 1)
            for c in range(column - window // 2, column + window // 2 + 1)
            if 0 <= r < x.shape[0] and 0 <= c < x.shape[1] and counted[r, c]
        ]
        if counted[row, column]:
            mass = np.array([math.exp(-((r - row) ** 2 + (c - column) ** 2) / (2 * 1.5**2)) for r, c in near])
            values = np.array([x[place] for place in near])
            mean = (mass * values).sum() / mass.sum()
            deviation = math.sqrt((mass * (values - mean) ** 2).sum() / mass.sum())
            normalised[row, column] = (x[row, column] - mean + 0.01) / (deviation + 0.01)
    return normalised


class TestCorrelation:
    @WEIGHTED
    @pytest.mark.parametrize(("share", "window", "threshold"), [(0.5, 11, 0.1), (0.0, 3, 0.4), (0.2, 5, 0.0)])
    def test_against_a_loop(self, weights: torch.Tensor | None, share: float, window: int, threshold: float) -> None:
        logits, targets = batch(0, size=(2, 8, 7))
        p, y = 1 / (1 + np.exp(-logits.numpy())), targets.numpy()
        errors = np.zeros_like(p)
        for n, k in np.ndindex(2, 4):
            counted = y[n] != IGNORE
            errors[n, k] = np.abs(
                loop_errors((y[n] == k).astype(float), counted, window) - loop_errors(p[n, k], counted, window)
            )
        total = mass = 0.0
        for n, k, row, column in np.argwhere(errors > threshold * errors.max()).tolist():
            target, chance = y[n, row, column], p[n, k, row, column]
            total -= (
                weight_of(weights, target) * errors[n, k, row, column] * math.log(chance if k == target else 1 - chance)
            )
            mass += weight_of(weights, target)
        expected = (1 - share) * total / mass + share * float(BinaryCrossEntropy(weights)(logits, targets))
        found = Correlation(weights, bce_share=share, window=window, threshold=threshold)(logits, targets)
        assert float(found) == pytest.approx(expected, rel=1e-6)

    def test_a_linear_function_of_the_truth_has_no_error_and_the_opposite_the_largest(self) -> None:
        targets = blobs(classes=2)
        truth = functional.one_hot(targets.where(targets != IGNORE, 2), 3)[..., :2].permute(0, 3, 1, 2).double()
        edge = structural_errors(truth - 0.5, targets, 5) > 0  # where the window is not flat
        faint, opposite = (
            structural_errors(torch.logit(chance), targets, 5) for chance in (0.4 + 0.2 * truth, 0.6 - 0.2 * truth)
        )
        assert edge.any() and faint.max() < 0.3 * opposite.max()
        assert (structural_errors(truth * 2000 - 1000, targets, 5) == 0).all()

    def test_the_inside_of_a_missed_object_has_no_error(self) -> None:
        """Why a share of plain cross entropy is needed."""
        targets = torch.zeros((1, 20, 20), dtype=torch.int64)
        targets[0, 4:16, 4:16] = 1
        none = torch.tensor([8.0, -8.0])[None, :, None, None].expand(1, 2, 20, 20)
        errors = structural_errors(none, targets, 3)
        assert (errors[0, :, 6:14, 6:14] < 1e-3).all() and (errors[0, 0, 4, 4:16] > 0.5).all()

    def test_flat_and_nearly_certain_maps_keep_their_digits(self) -> None:
        logits, targets = batch(1, size=(1, 12, 12))
        logits = 12 + logits / 10
        single, double = (structural_errors(z, targets, 5).double() for z in (logits.float(), logits))
        torch.testing.assert_close(single, double, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize(
        "settings",
        [
            {"bce_share": 1.1},
            {"bce_share": float("nan")},
            {"window": 4},
            {"window": 1},
            {"threshold": 1},
            {"threshold": -0.1},
        ],
    )
    def test_settings_are_checked(self, settings: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=next(iter(settings))):
            Correlation(**settings)


class TestBoundary:
    def test_distances_against_a_loop(self) -> None:
        targets = blobs().numpy()
        targets[1][targets[1] == 2] = 0  # absent from one image
        found = signed_distances(targets, 3)
        for n, k in np.ndindex(2, 3):
            inside = np.argwhere(targets[n] == k)
            outside = np.argwhere((targets[n] != k) & (targets[n] != IGNORE))
            for row, column in np.argwhere(targets[n] != IGNORE).tolist():
                expected = np.float32(0)
                if len(inside):
                    other, sign = (outside, -1) if targets[n, row, column] == k else (inside, 1)
                    square = ((other - (row, column)) ** 2).sum(1).min()
                    expected = sign * (np.sqrt(square).astype(np.float32) - np.float32(0.5))
                assert found[n, k, row, column] == expected  # to the last bit: resuming is exact

    def test_long_distances_are_exact_and_end_somewhere(self) -> None:
        targets = np.zeros((1, 300, 1700), np.int64)
        targets[0, 0, 0] = 1
        rows, columns = np.indices(targets.shape[1:])
        expected = np.sqrt(np.minimum(rows**2 + columns**2, 500**2)).astype(np.float32) - np.float32(0.5)
        expected[0, 0] = -0.5
        np.testing.assert_array_equal(signed_distances(targets, 2)[0, 1], expected)

    @WEIGHTED
    def test_against_a_loop(self, weights: torch.Tensor | None) -> None:
        logits, targets = batch(1, size=(2, 9, 8))
        p, distances, total, pixels = softmax(logits), signed_distances(targets.numpy(), 4), 0.0, 0
        mean = 1.0 if weights is None else float(weights.double().mean())
        for n, row, column in np.ndindex(*targets.shape):
            target = int(targets[n, row, column])
            if target != IGNORE:
                pixels += 1
                for k in range(4):
                    total += (
                        weight_of(weights, k)
                        / mean
                        * distances[n, k, row, column]
                        * (p[n, k, row, column] - (k == target))
                    )
        assert float(Boundary(weights)(logits, targets)) == pytest.approx(total / pixels, rel=1e-6)

    def test_against_monai(self) -> None:
        """It leaves out the constant and averages over classes too; its distances differ by half a pixel, which cancels
        in a sum over classes."""
        with warnings.catch_warnings(action="ignore"):
            from monai.losses import BoundaryLoss
        targets = blobs()
        targets = targets.where(targets != IGNORE, 0)
        logits = batch(2, classes=3, size=(2, 14, 14))[0]
        truth = functional.one_hot(targets, 3).permute(0, 3, 1, 2).double()
        peer = 3 * (BoundaryLoss(softmax=True)(logits, truth) - BoundaryLoss()(truth, truth))
        torch.testing.assert_close(Boundary()(logits, targets), peer)

    def test_an_error_costs_its_distance(self) -> None:
        targets = torch.zeros((1, 16, 16), dtype=torch.int64)
        targets[0, :, :4] = 1
        hot = functional.one_hot(targets, 2).permute(0, 3, 1, 2) * 200.0
        near, far = hot.clone(), hot.clone()
        near[0, :, 8, 5], far[0, :, 8, 14] = (torch.tensor([0.0, 200.0]),) * 2
        # Two classes are wrong by the distance, each: 1.5 and 10.5 pixels from the outline.
        assert float(Boundary()(near, targets)) == pytest.approx(2 * 1.5 / 256)
        assert float(Boundary()(far, targets)) == pytest.approx(2 * 10.5 / 256)

    def test_an_absent_class_is_dearer_than_the_right_one_and_cheaper_than_a_wrong_one(self) -> None:
        targets = torch.tensor([[[0, 0, 1, 1]]])
        grad = torch.zeros((1, 3, 1, 4), dtype=torch.float64, requires_grad=True)
        Boundary()(grad, targets).backward()
        right, absent, wrong = (grad.grad[0, index, 0] for index in ([0, 0, 1, 1], 2, [1, 1, 0, 0]))
        assert (right.diagonal() < absent).all() and (absent < wrong.diagonal()).all()

    def test_an_image_of_one_class_teaches_nothing(self) -> None:
        logits = batch()[0].requires_grad_()
        targets = torch.full((2, 6, 5), 2)
        targets[:, 0] = IGNORE
        loss = Boundary()(logits, targets)
        loss.backward()
        assert loss.item() == 0 and logits.grad is not None and (logits.grad == 0).all()


class TestTotalVariation:
    def test_against_a_loop(self) -> None:
        logits, targets = batch(3)
        p, y, total, pairs = softmax(logits), targets.numpy(), 0.0, 0
        for n, row, column in np.ndindex(*y.shape):
            for r, c in ((row + 1, column), (row, column + 1)):
                if r < y.shape[1] and c < y.shape[2] and IGNORE not in (y[n, row, column], y[n, r, c]):
                    total += np.abs(p[n, :, row, column] - p[n, :, r, c]).sum() / 2
                    pairs += 1
        assert float(TotalVariation()(logits, targets)) == pytest.approx(total / pairs, rel=1e-9)

    def test_between_all_alike_and_a_chess_board(self) -> None:
        targets = torch.zeros((1, 6, 6), dtype=torch.int64)
        board = torch.from_numpy(np.indices((6, 6)).sum(0) % 2)[None]
        for map_, expected in ((targets, 0), (board, 1)):
            logits = functional.one_hot(map_, 2).permute(0, 3, 1, 2) * 100.0
            assert float(TotalVariation()(logits, targets)) == pytest.approx(expected)

    @pytest.mark.parametrize("size", [(1, 1, 1), (2, 1, 5), (1, 4, 1)])
    def test_a_pixel_may_have_no_neighbour(self, size: tuple[int, int, int]) -> None:
        logits, targets = batch(4, ignored=0, size=size)
        loss = TotalVariation()(logits.requires_grad_(), targets)
        loss.backward()
        assert torch.isfinite(loss) and logits.grad is not None and torch.isfinite(logits.grad).all()
