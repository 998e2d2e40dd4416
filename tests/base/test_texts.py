from __future__ import annotations

from maskwright.base.texts import counted, table


def test_columns_are_aligned_and_empty_ones_left_out():
    rows = [["name", "unused", "n"], ["a", "", "12"], ["longer", "", "3"], ["(end)"]]
    assert table(rows) == ["  name     n", "  a       12", "  longer   3", "  (end)"]
    assert table([["name", "n"]]) == []


def test_a_text_agrees_with_its_number() -> None:
    text = "entr{y cannot be used and is|ies cannot be used and are} left out {samples}"
    assert counted(1, text) == "1 entry cannot be used and is left out {samples}"
    assert counted(0, text) == "0 entries cannot be used and are left out {samples}"
    assert counted(1200, "image{|s} {is|are} missing") == "1,200 images are missing"
