from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.reporting.svg import Series, bar, interval_strip, line_chart, shortened, standalone, ticks

finite = st.floats(-1e6, 1e6, allow_nan=False)


def chart(*series: Series, **options) -> ElementTree.Element:
    drawn = line_chart("k", "A <title>", series, x_label="iterations", y_label="loss (no unit)", **options)
    return ElementTree.fromstring(drawn)


def path(found: ElementTree.Element, kind: str) -> str:
    return next(e.get("d", "") for e in found.iter("path") if e.get("class") == kind)


def numbers(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"-?\d+\.?\d*", text)]


@given(finite, finite)
def test_ticks_enclose_the_values_in_equal_round_steps(one, other):
    low, high = min(one, other), max(one, other)
    found = ticks(low, high)
    slack = 1e-6 * max(1.0, high - low)
    assert found[0] <= low + slack and found[-1] >= high - slack
    assert 2 <= len(found) <= 12
    step = found[1] - found[0]
    assert all(b - a == pytest.approx(step, rel=1e-3, abs=1e-9) for a, b in pairwise(found))


def test_ticks_are_round():
    assert ticks(0, 40, 4) == [0, 10, 20, 30, 40]
    assert ticks(1.08, 1.47) == [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]
    assert ticks(0.28, 0.69)[0] == 0.2
    assert len(ticks(0.5, 0.5)) > 1


def test_points_lie_where_their_values_say():
    found = chart(Series("a", [(0, 0.0), (50, 5.0), (100, 10.0)], "red"))
    x0, y0, x1, y1, x2, y2 = numbers(path(found, "line"))
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.2) and y1 == pytest.approx((y0 + y2) / 2, abs=0.2)
    assert x0 < x2 and y0 > y2  # upwards is smaller
    axis = {e.text: float(e.get("y", "0")) for e in found.iter("text") if e.get("text-anchor") == "end"}
    assert axis["0"] == pytest.approx(y0 + 4, abs=0.2) and axis["10"] == pytest.approx(y2 + 4, abs=0.2)


def test_undefined_values_are_gaps():
    found = chart(Series("a", [(0, 1.0), (1, None), (2, 3.0), (3, 4.0)], "red"))
    assert re.sub(r"[-\d. ]", "", path(found, "line")) == "MML"
    assert line_chart("k", "t", [Series("a", [(0, None)], "red")], x_label="x", y_label="y") == ""
    assert line_chart("k", "t", [], x_label="x", y_label="y") == ""


def test_names_never_touch_and_stay_inside():
    found = chart(*(Series(f"class {i}", [(0, 0.5), (10, 0.5 + i / 1000)], "#000000") for i in range(12)))
    heights = sorted(float(e.get("y", "0")) for e in found.iter("text") if e.get("class") == "name")
    assert len(heights) == 12
    assert min(b - a for a, b in pairwise(heights)) >= 14.9
    assert heights[0] > 40 and heights[-1] < 235


def test_lines_differ_in_more_than_colour():
    found = chart(*(Series(str(i), [(0, i), (1, i + 0.5)], "red") for i in range(4)))
    dashes = [e.get("stroke-dasharray") for e in found.iter("g") if "stroke-dasharray" in e.attrib]
    markers = {e.get("d") for e in found.iter("path") if e.get("class") == "dot"}
    assert len(set(dashes)) == 4 and len(markers) == 4


def test_it_is_described_and_marked_and_escaped():
    found = chart(Series("<b>", [(0, 2.0), (40, 1.0)], "red"), mark=(30, "best: 30"))
    assert found.get("role") == "img" and found.get("aria-labelledby") == "k-t k-d"
    assert found.find("title").text == "A <title>"
    assert found.find("desc").text == "loss (no unit), first to last value. <b>: 2 to 1."
    texts = [e.text for e in found.iter("text")]
    assert {"best: 30", "iterations", "loss (no unit)", "<b>"} <= set(texts)


def test_one_point_and_constant_lines():
    assert any(e.get("class") == "dot" for e in chart(Series("a", [(5, 0.25)], "red")).iter("path"))
    chart(Series("a", [(0, 0.0), (5, 0.0)], "red"))
    chart(Series("a", [(0, 1.0)], "red"))


def test_names_that_are_cut_stay_apart():
    assert shortened(["a", "x" * 9, "run-of-unet-1", "run-of-unet-2"], 8) == ["a", "xxxxxxx…", "…-unet-1", "…-unet-2"]


def test_one_that_stands_alone_has_its_heading_and_caption_inside():
    drawn = line_chart("k", "t", [Series("a", [(0, 1.0), (1, 2.0)], "red")], x_label="x", y_label="y")
    found = ElementTree.fromstring(standalone(drawn, "A & <b>", "word " * 40))
    _, top, _, height = map(float, found.get("viewBox").split())
    texts = [(e.text, float(e.get("y"))) for e in found.iter("{http://www.w3.org/2000/svg}text")]
    assert dict(texts)["A & <b>"] > top and max(y for _, y in texts) < top + height
    assert len([text for text, _ in texts if text.startswith("word")]) == 4


def test_many_points_have_no_markers():
    found = chart(Series("a", [(i, i % 7) for i in range(500)], "red"))
    assert not [e for e in found.iter("path") if e.get("class") == "dot"]


def test_a_bar_is_as_long_as_its_share():
    widths = [rect.get("width") for rect in ElementTree.fromstring(bar(0.25)).iter("rect")]
    assert widths == ["100", "25.0"]
    assert bar(None) == bar(float("nan")) == ""


def test_the_strip_places_value_interval_and_baselines_on_one_scale():
    found = ElementTree.fromstring(interval_strip(0.5, 0.25, 0.75, [0.0, 1.0]))
    assert found.find("circle").get("cx") == "110.0"
    assert path(found, "whisker").startswith("M59.0 12H161.0")
    baselines = [numbers(e.get("d", ""))[0] for e in found.iter("path") if e.get("class") == "baseline"]
    assert baselines == [8.0, 212.0]
    assert "whisker" not in interval_strip(0.5, None, None, [])
