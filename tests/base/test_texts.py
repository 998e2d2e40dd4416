from __future__ import annotations

from maskwright.base.texts import table


def test_columns_are_aligned_and_empty_ones_left_out():
    rows = [["name", "unused", "n"], ["a", "", "12"], ["longer", "", "3"], ["(end)"]]
    assert table(rows) == ["  name     n", "  a       12", "  longer   3", "  (end)"]
    assert table([["name", "n"]]) == []
