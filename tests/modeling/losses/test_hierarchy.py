"""The hierarchical wrapper: aggregated probabilities by hand, every loss of the table at every level, config forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loss_cases import freeze_structural_errors

from maskwright.core.class_weights import inverse_frequency, median_frequency
from maskwright.core.classes import IGNORE, ClassTree
from maskwright.errors import ConfigError
from maskwright.modeling.losses import LOSSES
from maskwright.modeling.losses.build import build_loss
from maskwright.modeling.losses.hierarchy import Hierarchical, level_logits
from maskwright.modeling.models import load
from nested import FACES, nested, nested_trees

NAMES = pytest.mark.parametrize("name", LOSSES)
# Of two images.
COUNTS = np.array([[500, 300, 0, 20, 0, 0], [400, 0, 500, 0, 30, 0]])


def batch(classes: int = 6, seed: int = 0, ignored: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, (2, 5, 4))
    targets[rng.random(targets.shape) < ignored] = IGNORE
    return torch.from_numpy(rng.normal(0, 2, (2, classes, 5, 4))), torch.from_numpy(targets)


def build(levels: Any, classes: ClassTree = FACES, **term: Any) -> torch.nn.Module:
    return build_loss([{"name": "ce", **term, "levels": levels}], np.resize(COUNTS, (2, len(classes))), classes)


@given(nested_trees(), st.integers(0, 99))
def test_the_softmax_of_a_level_is_the_sum_of_its_leaves(tree: ClassTree, seed: int) -> None:
    logits, _ = batch(len(tree), seed)
    for level in tree.levels:
        expected = torch.stack([logits.softmax(1)[:, list(members)].sum(1) for members in level.members], 1)
        torch.testing.assert_close(level_logits(logits, level).softmax(1), expected, rtol=1e-12, atol=1e-14)
        odds = torch.stack([logits.exp()[:, list(members)].sum(1) for members in level.members], 1)
        torch.testing.assert_close(level_logits(logits, level).sigmoid(), odds / (1 + odds))


def test_cross_entropy_over_levels_by_hand() -> None:
    logits, targets = batch()
    groups = ([[0], [1, 2, 3, 4, 5]], [[0], [1], [2, 3, 4, 5]], [[0], [1], [2], [3], [4], [5]])
    total = 0.0
    for weight, level in zip((0.5, 2.0, 1.0), groups, strict=True):
        values = []
        for n, y, x in np.ndindex(*targets.shape):
            if (target := int(targets[n, y, x])) != IGNORE:
                exponentials = [math.exp(value) for value in logits[n, :, y, x].tolist()]
                own = next(members for members in level if target in members)
                values.append(-math.log(sum(exponentials[i] for i in own) / sum(exponentials)))
        total += weight * sum(values) / len(values)
    assert build([0.5, 2.0, 1.0])(logits, targets).item() == pytest.approx(total, rel=1e-12)


@NAMES
def test_any_loss_is_the_flat_loss_on_aggregated_probabilities(name: str) -> None:
    logits, targets = batch()
    expected = torch.zeros((), dtype=torch.float64)
    for weight, level in zip((0.5, 2.0, 1.0), FACES.levels, strict=True):
        # Odds, whose softmax is that sum; a sigmoid, unlike a softmax, would not forgive a division.
        sums = torch.stack([logits.exp()[:, list(members)].sum(1) for members in level.members], 1)
        mapped = torch.tensor([IGNORE if t == IGNORE else level.class_of[t] for t in targets.reshape(-1).tolist()])
        expected = expected + weight * load(LOSSES[name])()(sums.log(), mapped.view_as(targets))
    torch.testing.assert_close(build([0.5, 2.0, 1.0], name=name)(logits, targets), expected)


@NAMES
def test_the_level_of_the_leaves_alone_is_the_flat_loss_to_the_last_bit(name: str) -> None:
    logits, targets = batch()
    flat = build_loss([{"name": name}], COUNTS)
    assert torch.equal(build([0, 0, 1], name=name)(logits.float(), targets), flat(logits.float(), targets))


@NAMES
class TestEveryLoss:
    def test_permuting_leaves_changes_nothing(self, name: str) -> None:
        logits, targets = batch()
        order = [3, 0, 5, 1, 4, 2]
        other = ClassTree(tuple(FACES.leaves[i] for i in order))
        place = torch.tensor([*(order.index(i) for i in range(6)), *[IGNORE] * 250])
        torch.testing.assert_close(
            build("equal", other, name=name)(logits[:, order], place[targets]),
            build("equal", name=name)(logits, targets),
        )

    def test_ignored_pixels_count_for_nothing(self, name: str) -> None:
        logits, targets = batch()
        loss = build("equal", name=name)
        other = torch.where((targets == IGNORE)[:, None], torch.full_like(logits, 1e4), logits)
        torch.testing.assert_close(loss(other, targets), loss(logits, targets))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_nothing_but_ignored_pixels(self, name: str, dtype: torch.dtype) -> None:
        logits = batch()[0].to(dtype).requires_grad_()
        loss = build("equal", name=name)(logits, torch.full((2, 5, 4), IGNORE))
        loss.backward()
        assert loss.item() == 0 and logits.grad is not None and (logits.grad == 0).all()

    def test_extreme_logits_and_half_precision(self, name: str) -> None:
        logits, targets = batch()
        for values in (logits * 1e4, (logits * 4).bfloat16()):
            values = values.detach().requires_grad_()
            loss = build("equal", name=name)(values, targets)
            loss.backward()
            assert torch.isfinite(loss) and values.grad is not None and torch.isfinite(values.grad).all()

    def test_gradients(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        freeze_structural_errors(monkeypatch)
        logits, targets = (values[..., :3, :3] for values in batch())
        loss = build("equal", name=name)
        assert torch.autograd.gradcheck(lambda z: loss(z, targets), logits.clone().requires_grad_())


def test_equal_counts_each_different_level_the_same_and_one_in_all() -> None:
    logits, targets = batch()
    torch.testing.assert_close(build("equal")(logits, targets), build([1 / 3] * 3)(logits, targets))
    # Levels 1 and 2 part the pixels alike, and so do 3 and the leaves.
    tree = nested(("x",), ("g", "h", "a", "one"), ("g", "h", "b"))
    logits, targets = batch(3)
    torch.testing.assert_close(build("equal", tree)(logits, targets), build([0, 0.5, 0, 0.5], tree)(logits, targets))
    flat = build_loss([{"name": "ce"}], COUNTS[:, :3])(logits, targets)
    assert build([0, 0, 1, 1], tree)(logits, targets) == pytest.approx(2 * flat.item())  # asked for


class TestClassWeights:
    @pytest.mark.parametrize(
        ("kind", "weigh"),
        [("inverse_frequency", lambda pixels, _: inverse_frequency(pixels)), ("median_frequency", median_frequency)],
    )
    def test_kinds_are_computed_from_the_pixels_of_each_level(self, kind: str, weigh: Any) -> None:
        logits, targets = batch()
        levels = (
            ([900, 850], [1750, 1750]),
            ([900, 300, 550], [1750, 820, 1750]),
            (COUNTS.sum(0), [1750, 820, 930, 820, 930, 0]),
        )
        explicit = [weigh(np.array(pixels), np.array(image_pixels)).tolist() for pixels, image_pixels in levels]
        torch.testing.assert_close(
            build("equal", class_weights=kind)(logits, targets), build("equal", class_weights=explicit)(logits, targets)
        )
        assert explicit[1] != [1.0, 1.0, 1.0]

    def test_one_list_for_each_level(self) -> None:
        logits, targets = batch()
        weights = [[1.0, 2.0], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 4.0, 5.0, 6.0]]
        loss = build([1, 0, 3], class_weights=weights)
        ce = load(LOSSES["ce"])
        expected = ce(torch.tensor(weights[0]))(
            level_logits(logits, FACES.levels[0]), torch.from_numpy(FACES.levels[0].table.astype(np.int64))[targets]
        )
        expected = expected + 3 * ce(torch.tensor(weights[2]))(logits, targets)
        torch.testing.assert_close(loss(logits, targets), expected)

    @pytest.mark.parametrize(
        ("term", "what"),
        [
            (
                {"levels": [1, 1], "class_weights": "none"},
                r"loss\.0\.levels: 2 weights given for 3 levels \(1: background, "
                r"head; 2: background, hair, face; 3: .*\); give one each, top first",
            ),
            (
                {"levels": "equal", "class_weights": [1.0] * 6},
                r"loss\.0\.class_weights: with `levels`, give one list of "
                "weights for each of the 3 levels",
            ),
            (
                {"levels": "equal", "class_weights": [[1.0] * 2, [1.0] * 4, [1.0] * 6]},
                r"loss\.0\.class_weights: 4 weights given for 3 classes",
            ),
            (
                {"levels": None, "class_weights": [[1.0] * 2] * 3},
                r"loss\.0\.class_weights: lists of weights are for the "
                "levels of a class tree; add `levels`",
            ),
        ],
    )
    def test_wrong_numbers_are_refused(self, term: dict[str, Any], what: str) -> None:
        with pytest.raises(ConfigError, match=what):
            build(**term)

    def test_a_flat_list_has_no_levels(self) -> None:
        with pytest.raises(
            ConfigError, match=r"loss\.0\.levels: the classes are a flat list; nest them in dataset\.yaml"
        ):
            build("equal", ClassTree.flat(["a", "b"]))


def test_nothing_of_it_is_in_a_checkpoint() -> None:
    assert not build("equal").state_dict()
    assert isinstance(build("equal").losses[0], Hierarchical)
