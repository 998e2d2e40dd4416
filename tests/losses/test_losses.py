"""Every row of the loss table: float64 loops, other libraries where definitions coincide, and the promises of
the table (ignored pixels, permutations, absent classes, half precision, gradients)."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from maskwright.core.classes import IGNORE
from maskwright.errors import ConfigError
from maskwright.losses import LOSSES, arguments
from maskwright.losses.build import build_loss
from maskwright.losses.cross_entropy import CrossEntropy
from maskwright.losses.dice import Dice
from maskwright.losses.weights import inverse_frequency
from maskwright.models import load

WEIGHTS = torch.tensor([0.5, 2.0, 1.25, 0.1])
CASES = pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
NAMES = pytest.mark.parametrize("name", LOSSES)


def batch(seed: int = 0, classes: int = 4, ignored: float = 0.2, size: tuple[int, int, int] = (2, 6, 5)
          ) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 2, (size[0], classes, *size[1:]))).double()
    targets = rng.integers(0, classes, size)
    targets[rng.random(size) < ignored] = IGNORE
    return logits, torch.from_numpy(targets)


def make(name: str, weights: torch.Tensor | None = None, **more: float) -> torch.nn.Module:
    return load(LOSSES[name])(weights, **more)


def loop_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None, smoothing: float
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


def loop_dice(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None, smooth: float) -> float:
    z, y = logits.numpy(), targets.numpy()
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    counted = y != IGNORE
    loss = mass = 0.0
    for k in range(z.shape[1]):
        hot = (y == k) & counted
        if hot.any():
            weight = 1.0 if weights is None else float(weights[k])
            overlap, size = p[:, k][hot].sum(), p[:, k][counted].sum() + hot.sum()
            loss += weight * (1 - (2 * overlap + smooth) / (size + smooth))
            mass += weight
    return loss / mass


class TestCrossEntropy:
    @CASES
    @pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
    def test_against_a_loop(self, weights: torch.Tensor | None, smoothing: float) -> None:
        for seed in range(3):
            logits, targets = batch(seed)
            found = CrossEntropy(weights, label_smoothing=smoothing)(logits, targets)
            assert float(found) == pytest.approx(loop_cross_entropy(logits, targets, weights, smoothing), rel=1e-6)

    @CASES
    @pytest.mark.parametrize("ignored", [0.0, 0.5])
    @pytest.mark.parametrize("smoothing", [0.0, 0.2])
    def test_against_torch(self, weights: torch.Tensor | None, ignored: float, smoothing: float) -> None:
        logits, targets = batch(1, ignored=ignored)
        expected = functional.cross_entropy(logits, targets, None if weights is None else weights.double(),
                                            ignore_index=IGNORE, label_smoothing=smoothing)
        torch.testing.assert_close(CrossEntropy(weights, label_smoothing=smoothing)(logits, targets), expected)

    @pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
    def test_settings_are_checked(self, smoothing: float) -> None:
        with pytest.raises(ValueError, match="label_smoothing"):
            CrossEntropy(label_smoothing=smoothing)


class TestDice:
    @CASES
    @pytest.mark.parametrize("smooth", [0.0, 1.0])
    def test_against_a_loop(self, weights: torch.Tensor | None, smooth: float) -> None:
        for seed in range(3):
            logits, targets = batch(seed)
            targets[targets == seed] = 3  # one class is absent
            found = Dice(weights, smooth=smooth)(logits, targets)
            assert float(found) == pytest.approx(loop_dice(logits, targets, weights, smooth), rel=1e-6)

    @pytest.mark.parametrize("smooth", [0.0, 1.0])
    @pytest.mark.parametrize("ignored", [0.0, 0.3])
    def test_against_segmentation_models(self, smooth: float, ignored: float) -> None:
        logits, targets = batch(2, ignored=ignored)
        assert len(targets.unique()) == 4 + (ignored > 0)  # with every class present the definitions coincide
        peer = smp.losses.DiceLoss("multiclass", smooth=smooth, ignore_index=IGNORE if ignored else None)
        # Theirs is added to each count, ours to twice the overlap.
        torch.testing.assert_close(Dice(smooth=2 * smooth)(logits, targets), peer(logits, targets))

    @pytest.mark.parametrize("smooth", [0.0, 1.5])
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

    def test_settings_are_checked(self) -> None:
        with pytest.raises(ValueError, match="smooth"):
            Dice(smooth=-1)
        with pytest.raises(ValueError, match="smooth"):
            Dice(smooth=float("nan"))


@NAMES
class TestPromises:
    @CASES
    @settings(max_examples=15)
    @given(st.permutations(range(4)), st.integers(0, 50))
    def test_classes_may_be_renumbered(self, name: str, weights: torch.Tensor | None, order: list[int], seed: int
                                       ) -> None:
        logits, targets = batch(seed)
        table = torch.full((256,), IGNORE)
        table[torch.tensor(order)] = torch.arange(4)
        renumbered = None if weights is None else weights[torch.tensor(order)]
        expected = make(name, weights)(logits, targets)
        torch.testing.assert_close(make(name, renumbered)(logits[:, order], table[targets]), expected)

    @CASES
    def test_pixels_and_images_may_be_reordered(self, name: str, weights: torch.Tensor | None) -> None:
        logits, targets = batch()
        expected = make(name, weights)(logits, targets)
        torch.testing.assert_close(make(name, weights)(logits.flip(0, 2), targets.flip(0, 1)), expected)
        torch.testing.assert_close(make(name, weights)(logits.transpose(2, 3), targets.transpose(1, 2)), expected)

    @CASES
    def test_ignored_pixels_count_for_nothing(self, name: str, weights: torch.Tensor | None) -> None:
        logits, targets = batch()
        loss = make(name, weights)
        other = torch.where((targets == IGNORE)[:, None], torch.full_like(logits, 1e4), logits)
        torch.testing.assert_close(loss(other, targets), loss(logits, targets))
        wide = functional.pad(logits, (0, 3, 0, 2), value=7), functional.pad(targets, (0, 3, 0, 2), value=IGNORE)
        torch.testing.assert_close(loss(*wide), loss(logits, targets))
        logits.requires_grad_()
        loss(logits, targets).backward()
        assert logits.grad is not None
        assert (logits.grad[(targets == IGNORE)[:, None].expand_as(logits)] == 0).all()

    @CASES
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
    def test_nothing_but_ignored_pixels(self, name: str, weights: torch.Tensor | None, dtype: torch.dtype) -> None:
        logits = batch()[0].to(dtype).requires_grad_()
        loss = make(name, weights)(logits, torch.full((2, 6, 5), IGNORE))
        loss.backward()
        assert loss.item() == 0 and logits.grad is not None
        assert (logits.grad == 0).all()

    @CASES
    def test_an_absent_class(self, name: str, weights: torch.Tensor | None) -> None:
        logits, targets = batch()
        targets[targets == 2] = 0
        logits.requires_grad_()
        loss = make(name, weights)(logits, targets)
        loss.backward()
        assert torch.isfinite(loss) and logits.grad is not None and torch.isfinite(logits.grad).all()

    @CASES
    def test_a_class_of_one_pixel_is_learnt(self, name: str, weights: torch.Tensor | None) -> None:
        targets = torch.zeros((1, 8, 8), dtype=torch.int64)
        targets[0, 3, 4] = 1
        logits = torch.zeros((1, 4, 8, 8), dtype=torch.float64, requires_grad=True)
        make(name, weights)(logits, targets).backward()
        assert logits.grad is not None
        assert logits.grad[0, 1, 3, 4] < 0 < logits.grad[0, 0, 3, 4]
        assert (logits.grad[0, 1] > 0).sum() == 63

    @CASES
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision(self, name: str, weights: torch.Tensor | None, dtype: torch.dtype) -> None:
        """Large enough that a sum in half precision would overflow."""
        logits, targets = batch(4, size=(2, 256, 256))
        half = (logits * 4).to(dtype).requires_grad_()
        loss = make(name, weights)(half, targets)
        loss.backward()
        assert loss.dtype == torch.float32 and half.grad is not None and torch.isfinite(half.grad).all()
        exact = make(name, weights)(half.detach().double(), targets)
        torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=1e-6)

    @CASES
    def test_extreme_logits(self, name: str, weights: torch.Tensor | None) -> None:
        _, targets = batch()
        logits = (torch.randn((2, 4, 6, 5), generator=torch.Generator().manual_seed(0)) * 1e4).requires_grad_()
        loss = make(name, weights)(logits, targets)
        loss.backward()
        assert torch.isfinite(loss) and logits.grad is not None and torch.isfinite(logits.grad).all()

    @CASES
    def test_gradients(self, name: str, weights: torch.Tensor | None) -> None:
        logits, targets = batch(5, size=(2, 3, 3))
        loss = make(name, weights)
        assert torch.autograd.gradcheck(lambda z: loss(z, targets), logits.requires_grad_())

    def test_inputs_are_left_alone(self, name: str) -> None:
        logits, targets = batch()
        before = logits.clone(), targets.clone()
        make(name, WEIGHTS)(logits, targets)
        assert torch.equal(logits, before[0]) and torch.equal(targets, before[1])

    def test_weights_follow_the_device_but_not_the_checkpoint(self, name: str) -> None:
        loss = make(name, WEIGHTS)
        assert [key for key, _ in loss.named_buffers()] == ["class_weights"] and not loss.state_dict()

    def test_arguments_have_types_and_defaults(self, name: str) -> None:
        for parameter in arguments(name).values():
            assert parameter.annotation is not parameter.empty and parameter.default is not parameter.empty


class TestBuild:
    PIXELS = np.array([900, 90, 10, 0])

    def test_a_weighted_sum(self) -> None:
        logits, targets = batch()
        loss = build_loss([{"name": "ce", "weight": 0.5, "class_weights": "none"},
                           {"name": "dice", "weight": 3, "class_weights": [1, 2, 3, 4], "smooth": 1.0}], self.PIXELS)
        dice = Dice(torch.tensor([1.0, 2, 3, 4]), smooth=1)
        expected = 0.5 * CrossEntropy()(logits, targets) + 3 * dice(logits, targets)
        torch.testing.assert_close(loss(logits, targets), expected)

    def test_inverse_frequency(self) -> None:
        weights = inverse_frequency(self.PIXELS)
        assert weights.dtype == np.float32 and weights[3] == 1
        np.testing.assert_allclose(weights[:3] * self.PIXELS[:3], (weights * self.PIXELS)[0], rtol=1e-6)
        assert weights[:3].mean() == pytest.approx(1)
        np.testing.assert_array_equal(inverse_frequency(np.zeros(3, np.int64)), np.ones(3))
        logits, targets = batch()
        built = build_loss([{"name": "ce", "class_weights": "inverse_frequency"}], self.PIXELS)
        torch.testing.assert_close(built(logits, targets), CrossEntropy(torch.from_numpy(weights))(logits, targets))

    def test_the_number_of_weights_is_checked(self) -> None:
        with pytest.raises(ConfigError, match=r"loss\.1\.class_weights: 2 weights given for 4 classes"):
            build_loss([{"name": "ce"}, {"name": "dice", "class_weights": [1, 2]}], self.PIXELS)

    def test_all_ignored(self) -> None:
        logits = batch()[0].requires_grad_()
        loss = build_loss([{"name": "ce"}, {"name": "dice"}], self.PIXELS)(logits, torch.full((2, 6, 5), IGNORE))
        loss.backward()
        assert loss.item() == 0 and logits.grad is not None and (logits.grad == 0).all()
