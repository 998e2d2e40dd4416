"""The picture of a range test: valid SVG that shows the curve over the decades of the rate."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from maskwright.errors import ConfigError
from maskwright.reporting.lr_curve import draw_rates

RATES = [10 ** (exponent / 4) for exponent in range(-24, 4)]


@pytest.mark.parametrize("suggested", [1e-3, None])
def test_a_file_of_its_own(tmp_path: Path, suggested: float | None) -> None:
    losses = [2 - i / 20 for i in range(len(RATES))]
    found = SimpleNamespace(rates=RATES, losses=losses, smoothed=losses[::-1], suggested=suggested)
    path = draw_rates(found, tmp_path / "a.svg")  # type: ignore[arg-type]
    tree = ElementTree.parse(path)
    assert tree.getroot().tag == "{http://www.w3.org/2000/svg}svg"
    texts = ["".join(text.itertext()) for text in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert {"1e-6", "1e-4", "1e-2", "1e0", "batch", "mean", "learning rate"} <= set(texts)
    assert ("1.0e-03" in texts) == (suggested is not None)
    # A thousandth is half way between a millionth and 1: the mark and the ticks are on one scale.
    if suggested:
        ticks = {text.text: float(text.attrib["x"]) for text in tree.iter("{http://www.w3.org/2000/svg}text")}
        mark = re.search(r'class="mark" d="M([0-9.]+)', path.read_text())
        assert mark and float(mark[1]) == pytest.approx((ticks["1e-6"] + ticks["1e0"]) / 2, abs=0.2)
    with pytest.raises(ConfigError, match="already exists"):
        draw_rates(found, path)  # type: ignore[arg-type]
