"""The promises of the table, for every row: ignored pixels, permutations, absent classes, half precision, gradients,
minima, and that descending it leads to the truth."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import WEIGHTS, batch, cases, freeze_structural_errors, make
from torch.nn import functional

from maskwright.core.classes import IGNORE
from maskwright.modeling.losses import LOSSES, arguments, takes_class_weights

# What is no mean over pixels or classes: it depends on where pixels lie.
SPATIAL = {"boundary", "correlation", "total_variation"}
# A penalty, which does not look at the truth.
PENALTIES = {"total_variation"}
LEARNING = [name for name in LOSSES if name not in PENALTIES]
# An absent class has no part in these; in the others every pixel learns to deny it.
OF_PRESENT = ["dice", "jaccard", "tversky", "lovasz"]
EVERY = cases(*LOSSES)


def gradient(loss: torch.nn.Module, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    logits = logits.clone().requires_grad_()
    loss(logits, targets).backward()
    assert logits.grad is not None
    return logits.grad


@EVERY
@settings(max_examples=8)
@given(st.permutations(range(4)), st.integers(0, 50))
def test_classes_may_be_renumbered(name: str, weights: torch.Tensor | None, order: list[int], seed: int) -> None:
    logits, targets = batch(seed)
    table = torch.full((256,), IGNORE)
    table[torch.tensor(order)] = torch.arange(4)
    renumbered = None if weights is None else weights[torch.tensor(order)]
    expected = make(name, weights)(logits, targets)
    torch.testing.assert_close(make(name, renumbered)(logits[:, order], table[targets]), expected)


@EVERY
def test_images_may_be_reordered_mirrored_and_turned(name: str, weights: torch.Tensor | None) -> None:
    logits, targets = batch()
    expected = make(name, weights)(logits, targets)
    torch.testing.assert_close(make(name, weights)(logits.flip(0), targets.flip(0)), expected)
    torch.testing.assert_close(make(name, weights)(logits.flip(2), targets.flip(1)), expected)
    torch.testing.assert_close(make(name, weights)(logits.transpose(2, 3), targets.transpose(1, 2)), expected)


@EVERY
def test_ignored_pixels_count_for_nothing(name: str, weights: torch.Tensor | None) -> None:
    logits, targets = batch()
    loss = make(name, weights)
    other = torch.where((targets == IGNORE)[:, None], torch.full_like(logits, 1e4), logits)
    torch.testing.assert_close(loss(other, targets), loss(logits, targets))
    wide = functional.pad(logits, (0, 3, 0, 2), value=7), functional.pad(targets, (0, 3, 0, 2), value=IGNORE)
    torch.testing.assert_close(loss(*wide), loss(logits, targets))
    grad = gradient(loss, logits, targets)
    assert (grad[(targets == IGNORE)[:, None].expand_as(grad)] == 0).all() and (grad != 0).any()


@cases(*(name for name in LOSSES if name not in SPATIAL))
def test_ignored_pixels_might_as_well_be_cut_out(name: str, weights: torch.Tensor | None) -> None:
    logits, targets = batch()
    counted = targets != IGNORE
    cut = logits.transpose(0, 1)[:, counted][None, :, None], targets[counted][None, None]
    torch.testing.assert_close(make(name, weights)(*cut), make(name, weights)(logits, targets))


@EVERY
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_nothing_but_ignored_pixels(name: str, weights: torch.Tensor | None, dtype: torch.dtype) -> None:
    logits, targets = batch()[0].to(dtype), torch.full((2, 6, 5), IGNORE)
    assert make(name, weights)(logits, targets).item() == 0
    assert (gradient(make(name, weights), logits, targets) == 0).all()


@EVERY
def test_an_absent_class(name: str, weights: torch.Tensor | None) -> None:
    logits, targets = batch()
    targets[targets == 2] = 0
    assert torch.isfinite(make(name, weights)(logits, targets))
    assert torch.isfinite(gradient(make(name, weights), logits, targets)).all()


@pytest.mark.parametrize("name", OF_PRESENT)
def test_the_weight_of_an_absent_class_is_of_no_importance(name: str) -> None:
    logits, targets = batch()
    targets[targets == 2] = 0
    torch.testing.assert_close(make(name, torch.tensor([1.0, 1, 50, 1]))(logits, targets), make(name)(logits, targets))


@cases(*(name for name in LEARNING if name not in [*OF_PRESENT, "boundary"]))
def test_an_absent_class_is_pushed_down(name: str, weights: torch.Tensor | None) -> None:
    logits, targets = batch()
    targets[targets == 2] = 0
    assert (gradient(make(name, weights), logits, targets)[:, 2][targets != IGNORE] > 0).all()


@cases(*LEARNING)
def test_a_class_of_one_pixel_is_learnt(name: str, weights: torch.Tensor | None) -> None:
    targets = torch.zeros((1, 8, 8), dtype=torch.int64)
    targets[0, 3, 4] = 1
    grad = gradient(make(name, weights), torch.zeros((1, 4, 8, 8), dtype=torch.float64), targets)
    assert grad[0, 1, 3, 4] < 0 < grad[0, 0, 3, 4]
    assert (grad[0, 1] > 0).sum() == 63


@EVERY
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(name: str, weights: torch.Tensor | None, dtype: torch.dtype) -> None:
    """Large enough that a sum in half precision would overflow."""
    logits, targets = batch(4, size=(1, 320, 288))
    half = (logits * 4).to(dtype)
    loss = make(name, weights)(half, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), make(name, weights)(half.double(), targets), rtol=1e-5, atol=1e-6)
    grad = gradient(make(name, weights), half, targets)
    assert grad.dtype == dtype and torch.isfinite(grad).all()


@EVERY
def test_extreme_logits(name: str, weights: torch.Tensor | None) -> None:
    _, targets = batch()
    logits = torch.randn((2, 4, 6, 5), generator=torch.Generator().manual_seed(0)) * 1e4
    assert torch.isfinite(make(name, weights)(logits, targets))
    assert torch.isfinite(gradient(make(name, weights), logits, targets)).all()


@EVERY
def test_gradients(name: str, weights: torch.Tensor | None, monkeypatch: pytest.MonkeyPatch) -> None:
    freeze_structural_errors(monkeypatch)
    logits, targets = batch(5, size=(2, 3, 3))
    loss = make(name, weights)
    assert torch.autograd.gradcheck(lambda z: loss(z, targets), logits.requires_grad_())


@EVERY
def test_a_perfect_prediction_is_the_minimum(name: str, weights: torch.Tensor | None) -> None:
    _, targets = batch()
    loss = make(name, weights)
    best = targets if name not in PENALTIES else torch.zeros_like(targets)
    perfect = (functional.one_hot(best.where(best != IGNORE, 0), 4).permute(0, 3, 1, 2) * 2 - 1) * 50.0
    assert float(loss(perfect, targets)) == pytest.approx(0, abs=1e-6)
    for seed in range(5):
        assert float(loss(batch(seed)[0], targets)) > 0.01
        assert float(loss(perfect + 60 * batch(seed)[0], targets)) > 0


@EVERY
def test_descent_leads_to_the_truth(name: str, weights: torch.Tensor | None) -> None:
    logits, targets = batch(1)
    loss = make(name, weights)
    logits.requires_grad_()
    before = loss(logits, targets).item()
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(80):
        optimizer.zero_grad()
        loss(logits, targets).backward()
        optimizer.step()
    assert loss(logits, targets).item() < 0.2 * before
    if name not in PENALTIES:
        assert (logits.argmax(1) == targets)[targets != IGNORE].all()


@pytest.mark.parametrize("name", LOSSES)
def test_inputs_are_left_alone(name: str) -> None:
    logits, targets = batch()
    before = logits.clone(), targets.clone()
    make(name)(logits, targets)
    assert torch.equal(logits, before[0]) and torch.equal(targets, before[1])


@pytest.mark.parametrize("name", LOSSES)
def test_weights_follow_the_device_but_not_the_checkpoint(name: str) -> None:
    weights = WEIGHTS if takes_class_weights(name) else None
    loss = make(name, weights)
    assert [key for key, _ in loss.named_buffers()] == ([] if weights is None else ["class_weights"])
    assert not loss.state_dict()


@pytest.mark.parametrize("name", LOSSES)
def test_arguments_have_types_and_defaults(name: str) -> None:
    for parameter in arguments(name).values():
        assert parameter.annotation is not parameter.empty and parameter.default is not parameter.empty


@pytest.mark.parametrize(("name", "settings"), [(name, {}) for name in LOSSES] + [("lovasz", {"per_image": True})])
def test_the_same_bytes_each_time(name: str, settings: dict[str, Any]) -> None:
    logits, targets = batch(6, size=(3, 40, 40))
    first, second = (gradient(make(name, **settings), logits.float(), targets) for _ in range(2))
    assert torch.equal(first, second)
