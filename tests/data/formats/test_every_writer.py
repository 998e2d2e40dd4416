"""What every writer of the table owes: the masks come back, by class name, or it says what was dropped."""

from __future__ import annotations

import numpy as np
import pytest

from data.formats.roundtrip import CLASSES, named, through
from maskwright.data.formats import FORMATS

# Boxes, and compression that changes values: the shapes or the edges are lost, and the rows say so.
LOSSY = ("jpeg", "yolo")


@pytest.mark.parametrize("name", [name for name, row in FORMATS.items() if row.write])
def test_masks_come_back(tmp_path, name: str) -> None:
    masks = {}
    for index, side in enumerate((16, 23)):
        mask = np.zeros((side, 20), np.uint8)
        mask[2:9, 3:11], mask[9:14, 11:19] = 1 + index, 3
        masks[f"image_{index}"] = mask
    found, dropped = through(name, tmp_path / "out", masks)
    assert found.keys() == masks.keys()
    for key, mask in masks.items():
        assert found[key].shape == mask.shape
        same = float((found[key] == named(mask, CLASSES)).mean())
        assert same == 1 or (name in LOSSY and same > 0.9), dropped


@pytest.mark.parametrize("name", LOSSY)
def test_what_is_lossy_says_so(name: str) -> None:
    assert "los" in FORMATS[name].meaning
