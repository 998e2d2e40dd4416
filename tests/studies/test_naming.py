"""Names of values: short, readable, safe as paths and told apart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.studies.naming import NAME, labels

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=80)
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "args", "lr"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("key", "values", "names"),
    [
        ("seed", [0, 1], ["seed0", "seed1"]),
        ("optimizer.lr", [1e-3, 0.01], ["lr0.001", "lr0.01"]),
        ("train.ema", [None, 0.99], ["ema-none", "ema0.99"]),
        ("data.keep_ratio", [True, False], ["keep_ratio-true", "keep_ratio-false"]),
        ("data.image_size", [[64, 96], [128, 192]], ["image_size64x96", "image_size128x192"]),
        ("data.root", ["/data/skin", "../steel/"], ["skin", "steel"]),
        ("model", ["SegNet", {"name": "UNet", "args": {"depth": 3}}], ["SegNet", "UNet"]),
        ("model", ["UNet", {"name": "Unet", "encoder": "mit_b0"}], ["UNet", "Unet-encoder-mit_b0"]),
        (
            "loss",
            ["ce", ["ce", "dice"], ["ce", {"name": "dice", "weight": 2.5}]],
            ["ce", "ce+dice", "ce+dice-weight2.5"],
        ),
        (
            "loss",
            [{"name": "tversky", "alpha": 0.3}, {"name": "tversky", "alpha": 0.7}],
            ["tversky-alpha0.3", "tversky-alpha0.7"],
        ),
        ("augment", [[], "HorizontalFlip"], ["augment-none", "HorizontalFlip"]),
        ("x", ["/", "ä"], ["value-1", "value-2"]),
    ],
)
def test_names(key: str, values: list[Any], names: list[str]) -> None:
    assert labels(key, values) == names


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_any_values_get_safe_names(values: list[Any]) -> None:
    found = labels("a.b", values)
    assert len(found) == len(values)
    assert all(NAME.fullmatch(name) and len(name) <= 48 for name in found)
