"""Labels with arrays are those with tensors."""

import numpy as np
import pytest
import torch

from exported_model import TREE
from maskwright.core.classes import SELECTORS, ClassTree
from maskwright.inference.exporting.levels import enlarged, resized, select
from maskwright.modeling.models import selectors


def probabilities(rng: np.random.Generator, classes: int, size: tuple[int, int]) -> np.ndarray:
    raw = torch.from_numpy(rng.normal(size=(classes, *size)).astype(np.float32))
    return (2 * raw).softmax(0).numpy()


@pytest.mark.parametrize("size", [(24, 40), (97, 61), (12, 20), (13, 90), (1, 1), (240, 400)])
@pytest.mark.parametrize("selector", SELECTORS)
def test_the_same_pixels_as_with_torch(selector: str, size: tuple[int, int]) -> None:
    small = probabilities(np.random.default_rng(0), len(TREE), (24, 40))
    tensors = torch.from_numpy(small)
    expected = selectors.select(selectors.enlarged(tensors, size), TREE.levels, selector)
    found = select(enlarged(small, size), TREE.levels, selector)
    assert [mask.dtype for mask in found] == [np.uint8] * 3 and [mask.shape for mask in found] == [size] * 3
    for ours, theirs in zip(found, expected, strict=True):
        assert len(np.unique(theirs)) > 1 or size == (1, 1)
        assert (ours == theirs).mean() > 0.999
    large = np.stack([resized(leaf, size) for leaf in small])
    np.testing.assert_allclose(large, selectors.resized(tensors, size).numpy(), atol=1e-5)


def test_of_equal_classes_the_first_and_one_class_alone() -> None:
    flat = np.full((3, 4, 5), 1 / 3, np.float32)
    levels = ClassTree.flat(["a", "b", "c"]).levels
    assert select(enlarged(flat, (4, 5)), levels, "leaf")[0].max() == 0
    assert select(enlarged(flat[:1], (8, 9)), ClassTree.flat(["a"]).levels, "leaf")[0].shape == (8, 9)
    kept = flat.copy()
    select(enlarged(flat, (4, 5)), levels, "levels")
    assert np.array_equal(flat, kept), "what was given is not changed"
