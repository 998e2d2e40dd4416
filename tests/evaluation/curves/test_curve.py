"""Curves as an object: a table of pandas, and one short line."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from evaluation.curves.logs import own
from maskwright.errors import SetupError
from maskwright.evaluation.curves.curve import Curves
from maskwright.evaluation.curves.finding import read_curves


def test_curves_are_a_table(tmp_path):
    (curves,) = read_curves(own(tmp_path / "run"))
    table = curves.to_pandas()
    assert table.index.name == "iteration" and table.index.tolist() == [10, 20] and table.index.dtype == "int64"
    assert list(table.columns) == list(curves.series)
    assert table["val_mIoU"].tolist() == [0.5, 0.4] and table.loc[20, "loss"] == 0.5
    assert all(kind == "float64" for kind in table.dtypes)


def test_gaps_are_nan_and_shares_of_an_epoch_stay(tmp_path):
    series = {"loss": ((0.5, 2.0), (1.5, 1.0)), "val_mIoU": ((1.0, None), (1.5, 0.3))}
    table = Curves("a", "lightning", Path("a"), "epoch", series).to_pandas()
    assert table.index.tolist() == [0.5, 1.0, 1.5]
    assert [math.isnan(value) for value in table["loss"]] == [False, True, False]
    assert [math.isnan(value) for value in table["val_mIoU"]] == [True, True, False]
    empty = Curves("a", "lightning", Path("a"), "epoch", {}).to_pandas()
    assert len(empty) == 0 and empty.index.name == "epoch"


def test_without_pandas_the_extra_is_named(tmp_path, monkeypatch):
    (curves,) = read_curves(own(tmp_path / "run"))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SetupError, match=r"maskwright\[pandas\]"):
        curves.to_pandas()


def test_a_short_line(tmp_path):
    (curves,) = read_curves(own(tmp_path / "run"))
    assert "UNet" in repr(curves) and "best_val_mIoU=0.5" in repr(curves) and len(repr(curves)) < 200
    assert "<table>" in curves._repr_html_() and "val_mIoU" in curves._repr_html_()
