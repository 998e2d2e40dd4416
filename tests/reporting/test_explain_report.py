"""The page of an explanation: its numbers, its pictures, hostile names, and what lies beside it."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from pages import check_promises, read, table
from PIL import Image

from helpers import fingerprint
from maskwright.core.palette import separation
from maskwright.errors import ConfigError
from maskwright.evaluation.explaining import explain
from maskwright.evaluation.explaining.kinds import NAMES
from maskwright.reporting.error_pictures import LOOKS, draw_kinds
from maskwright.reporting.explain_report import write_explanation
from scenes import distorted, evaluated, write_data

HOSTILE = "<script>alert(1)</script>"
CLASSES = [
    {"id": 0, "name": "ground"},
    {"name": "plant & co", "children": [{"id": 7, "name": HOSTILE}, {"id": 200, "name": "tree"}]},
    {"id": 9, "name": "stone"},
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    root = write_data(folder / "data", 11, CLASSES)
    result = explain(evaluated(folder / "run", root, distorted), top=2)
    return result, write_explanation(result, folder / "out")


def test_the_page_keeps_what_every_page_promises(made):
    page = read(made[1])
    check_promises(page)
    assert HOSTILE in page.text and "<script" not in page.source.lower()
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    worst = made[0].worst[0]
    assert any(alt.startswith(f"{worst.sample}: wrong pixels by kind: ") for alt in alts)


def test_every_number_of_the_kinds_is_that_of_the_result(made):
    result, page = made[0], read(made[1])
    rows = table(page, "kind", "wrong pixels", "share of them", "images", "mIoU gained if fixed")
    assert [row[0][0].strip() for row in rows[:-1]] == [kind.name.replace("_", " ") for kind in result.by_worth]
    for row, kind in zip(rows, result.by_worth, strict=False):
        assert row[1][1][0] == str(kind.pixels) and row[2][1] == [str(kind.share)] and row[3][1] == [str(kind.images)]
        assert [float(row[i][1][0]) for i in (4, 6)] == [kind.worth[name].value for name in ("mIoU", "mDice")]
        assert [float(value) for value in row[5][1]] == [kind.worth["mIoU"].low, kind.worth["mIoU"].high]
    assert round(sum(float(row[2][0].split()[0]) for row in rows[:-1]), 1) == 100.0
    assert float(rows[-1][4][1][0]) == 1 - result.scores.mIoU
    by_class = table(page, "class", "IoU")
    for place, row in enumerate(by_class):
        lost = [kind.lost[place] for kind in result.by_worth]
        assert [int(cell[1][-2]) for cell in row[2 : 2 + len(lost)]] == lost
    within = next(row for row in table(page, "level") if row[0][0].startswith("1: ground, plant & co"))
    assert [int(cell[1][0]) for cell in within[1:]] == [kind.related[0] for kind in result.by_worth]


def test_slices_stand_on_the_page(made):
    result, page = made[0], read(made[1])
    for axis in {one.axis for one in result.slices}:
        rows = table(page, axis, "images")
        assert [row[0][0] for row in rows] == [one.name for one in result.slices if one.axis == axis]


def test_json_and_overlays_lie_beside_the_page(made):
    result, out = made[0], made[1].parent
    assert json.loads((out / "explain.json").read_text())["wrong_pixels"] == result.wrong
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*.jpg"))
    assert len(files) == 4 and files[0].startswith("overlays/best/01-")
    with Image.open(out / files[0]) as picture:
        assert picture.height > 3 * 130 and picture.width >= 200
    with pytest.raises(ConfigError, match="never overwritten"):
        write_explanation(result, out)


def test_what_is_gone_since_has_no_picture(made, tmp_path):
    result = made[0]
    copy = shutil.copytree(result.folder.parents[1], tmp_path / "run")
    again = explain(copy, top=1)
    (again.folder / "predictions" / f"{again.worst[0].sample}.png").unlink()
    before = fingerprint(copy)
    page = read(write_explanation(again, tmp_path / "out"))
    assert "No pictures:" in page.text and again.worst[0].sample in page.text
    assert fingerprint(copy) == before


def test_a_perfect_evaluation_has_a_page(tmp_path):
    root = write_data(tmp_path / "data", 1)
    run = evaluated(tmp_path / "run", root, lambda _, image, truth: np.where(truth == 255, 0, truth))
    page = read(write_explanation(explain(run), tmp_path / "out"))
    check_promises(page)
    assert "No counted pixel is wrong" in page.text


def test_kinds_are_told_apart_by_colour_and_without():
    assert separation([look.colour for look in LOOKS.values()]) > 12  # as the colours of classes must be, for all eyes
    tile = np.zeros((36, 36, 3), np.uint8)
    dark = [draw_kinds(tile, np.full((36, 36), code, np.uint8)).any(-1) for code in range(1, len(NAMES) + 1)]
    assert not any((one == other).all() for place, one in enumerate(dark) for other in dark[:place])
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    kinds = np.zeros((20, 20), np.uint8)
    kinds[5:9] = 1
    drawn = draw_kinds(image, kinds)
    assert (drawn[5:9] == LOOKS["boundary"].colour).all() and (drawn[:5, :, 0] == drawn[:5, :, 1]).all()
    assert cv2.cvtColor(drawn, cv2.COLOR_RGB2GRAY).shape == (20, 20)
