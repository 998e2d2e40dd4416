from __future__ import annotations

import base64
import html
import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from pages import check_promises, read, table
from reported_run import CLASSES, HOSTILE, write_dataset

from helpers import write
from maskwright.base.storage import jsonable
from maskwright.core.findings import Finding, Severity
from maskwright.data.auditing import AuditResult, audit
from maskwright.data.auditing.objects import FLAWS
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError
from maskwright.reporting.audit_report import audit_report, write_audit

MAPS = 3  # of the classes that occur


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> AuditResult:
    """A dataset with an unreadable image, a missing mask, unknown ids and a class that never occurs."""
    root = tmp_path_factory.mktemp("audited")
    write_dataset(root, {"train": 20, "val": 4, "test": 6})
    (root / "img/train/train_01.png").write_bytes(b"nothing")
    (root / "labels/train/train_02.png").unlink()
    write(root / "labels/val/val_01.png", np.full((60, 80), 77, np.uint8))
    return audit(root, progress=False)


@pytest.fixture
def page(result, tmp_path):
    return read(audit_report(result, tmp_path / "audit.html"))


def test_the_page_keeps_its_promises(page):
    check_promises(page)
    assert HOSTILE in page.text and "a<b>&'" in page.text


def test_every_finding_is_told_with_its_fix(page, result):
    text = re.sub(r"\s+", " ", page.text)
    assert len(result.findings) >= 4
    for finding in result.findings:
        assert finding.code in text
        assert finding.message.replace("`", "") in text and finding.fix.replace("`", "") in text
        assert (finding.sample or "") in text


def test_the_summary_counts_by_severity(page, result):
    for severity in Severity:
        number = sum(finding.severity is severity for finding in result.findings)
        assert f'<b><data value="{number}">{number}</data></b>{severity.label} finding' in page.source


def test_the_statistics_are_those_of_the_audit(page, result):
    rows = table(
        page,
        "class",
        "train18 masks",
        "val3 masks",
        "test6 masks",
        "all27 masks",
        "weight byinverse frequency",
        "weight bymedian frequency",
        "weight byeffective number",
    )
    total = result.statistics.to_dict()["total"]
    for index, name in enumerate(CLASSES):
        cells = rows[index]
        assert cells[0][0] == name
        assert cells[4][1] == [repr(total["classes"][index]["share"]), str(total["classes"][index]["images"])]
        weights = [float(values[index]) for values in result.statistics.class_weights.values()]
        seen = result.statistics.training.class_pixels[index]  # nothing can be told of the weight of a class without
        assert (
            cells[5:] == [("–", [])] * 3
            if not seen
            else [values for _, values in cells[5:]] == [[repr(weight)] for weight in weights]
        )
    mean, std = result.statistics.splits["train"].mean_std
    assert table(page, "split", "red", "green", "blue")[0][1][1] == [repr(mean[0]), repr(std[0])]
    assert table(page, "split", "images", "width", "height")[0][1][0] == "19"


def test_objects_are_those_of_the_audit(page, result):
    rows = table(page, "class", "objects", "per image", "pixels: least", "median", "largest", "tiny objects")
    for cells, row in zip(rows, result.statistics.to_dict()["total"]["objects"], strict=True):
        sizes = [row["pixels"].get(key) for key in ("min", "median", "max")]
        assert [values for _, values in cells[1:2] + cells[3:]] == [
            [] if value is None else [str(value)] for value in (row["objects"], *sizes, *(row[kind] for kind in FLAWS))
        ]
    assert rows[3][2][0] == "–"  # of a class that never occurs


def test_every_class_that_occurs_has_a_map(page, result):
    maps = re.findall(r'<img src="(data:image/webp[^"]+)" width="192" height="192" alt="([^"]+)"', page.source)
    assert len(maps) == 3 and f"Occurs nowhere: {CLASSES[3]}." in page.text
    assert [html.unescape(told).split(": most frequent at the ")[0] for _, told in maps] == CLASSES[:3]
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(maps[2][0].partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)
    share = result.statistics.heat_maps[2]
    row, column = np.unravel_index(np.nanargmax(share), share.shape)
    lightness = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)[3::6, 3::6]
    assert lightness[row, column] == lightness.max()  # the brightest place is the most frequent
    darker = np.argsort(lightness.reshape(-1), kind="stable")
    assert (np.diff(np.nan_to_num(share).reshape(-1)[darker][lightness.reshape(-1)[darker] != 128]) >= -0.02).all()


def test_findings_about_flaws_tell_where_the_worst_are(result, tmp_path):
    worst = [{"sample": "train/b", "count": 7, "class": "<i>", "region": [3, 4, 1, 1]}]
    finding = Finding(
        "mask.specks",
        Severity.INFO,
        "masks with specks",
        "remove them",
        evidence={"samples": ["train/b", "train/a"], "worst": worst},
    )
    note = Finding("format.unheard_of", Severity.WARNING, "something was left out", "look", evidence={})
    page = read(audit_report(replace(result, findings=[note, finding]), tmp_path / "a.html"))
    check_promises(page)
    assert "train/b: 7, <i> at x 3, y 4" in page.text and page.text.count("train/a") >= 1
    assert "format.unheard_of" in page.text


def test_findings_of_one_code_and_two_severities_stand_apart(result, tmp_path):
    findings = [
        Finding("annotation.dropped", severity, f"{severity.label}: left out", "look", evidence={})
        for severity in (Severity.INFO, Severity.WARNING, Severity.INFO)
    ]
    page = read(audit_report(replace(result, findings=findings), tmp_path / "a.html"))
    assert re.findall(r'severity (\w+)">\w+</span>annotation\.dropped(?: × <data value="(\d)">)?', page.source) == [
        ("warning", ""),
        ("info", "2"),
    ]


def test_the_contact_sheet_shows_at_most_24_samples_and_says_why_not(page):
    assert page.source.count('<img src="data:image/webp') == 22 + MAPS
    assert page.source.count("<figcaption><strong>") == 24 + 3  # and the maps of the classes that occur
    assert "no mask" in page.text and "not a readable image" in page.text


def test_findings_that_say_the_same_are_one_row_of_at_most_50_names(result, tmp_path):
    many = [
        Finding("mask.missing", Severity.WARNING, "the image has no mask", "draw it", f"train/{i:03d}")
        for i in range(70)
    ]
    listed = Finding(
        "mask.palette",
        Severity.INFO,
        "masks with a palette: 60 of 90",
        "nothing to do",
        evidence={"samples": [f"val/{i:03d}" for i in range(60)]},
    )
    different = [
        Finding("mask.size", Severity.ERROR, f"it is {i} pixels off", f"draw {i}", f"test/{i:03d}") for i in range(55)
    ]
    changed = replace(result, findings=[listed, *many, *different])
    page = read(audit_report(changed, tmp_path / "many.html"))
    assert table(page, "where", "what", "what to do")[0][0][0] == "test/000"  # errors first
    assert len(table(page, "where", "what", "what to do")) == 50
    assert "and 5 more; the JSON" in page.text
    assert "train/049" in page.text and "train/050" not in page.text and "and 20 more" in page.text
    assert "val/049" in page.text and "val/050" not in page.text and "and 10 more" in page.text
    assert page.source.count("<details open>") == 2  # not the one that is only information


def test_a_clean_dataset(tmp_path):
    write_dataset(tmp_path / "data", {"train": 3, "val": 2, "test": 2}, CLASSES[:3], "plain")
    found = audit(tmp_path / "data", progress=False)
    page = read(audit_report(replace(found, findings=[]), tmp_path / "audit.html"))
    assert "Nothing was found" in page.text and page.source.count("<img ") == 7 + 1 + 3


def test_a_tree_has_the_shares_of_each_level(tmp_path):
    write_dataset(tmp_path / "data", {"train": 3, "val": 2}, CLASSES[:3], "plain")
    file = tmp_path / "data/dataset.yaml"
    description = yaml.safe_load(file.read_text())
    first, *others = description["classes"]
    file.write_text(yaml.safe_dump(description | {"classes": [first, {"name": HOSTILE + "s", "children": others}]}))
    found = audit(tmp_path / "data", progress=False)
    page = read(audit_report(found, tmp_path / "audit.html"))
    check_promises(page)
    rows = next(rows for rows in page.tables if rows[-1][0][0] == HOSTILE + "s")
    assert [cell[0] for cell in rows[0]] == ["class", "train", "val", "all"]
    assert rows[2][1][1] == [repr(float(found.statistics.splits["train"].shares[1:].sum()))]


def test_pictures_come_from_the_dataset_that_is_given_or_are_left_out(result, tmp_path):
    moved = replace(result, root=Path("/nowhere"))
    page = read(audit_report(moved, tmp_path / "a.html"))
    assert "There are no pictures" in page.text and page.source.count("<img ") == 1 + MAPS
    page = read(audit_report(moved, tmp_path / "b.html", dataset=load_dataset(result.root)))
    assert page.source.count("<img ") == 22 + 1 + MAPS
    write_dataset(tmp_path / "other", {"train": 2, "test": 1}, ["x", "y", "z"])
    page = read(audit_report(replace(result, root=tmp_path / "other"), tmp_path / "c.html"))
    assert "not those that were audited" in page.text


def test_nothing_is_overwritten(result, tmp_path):
    file = audit_report(result, tmp_path / "audit.html")
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        audit_report(result, file)
    assert file.read_bytes() == before


def test_the_folder_holds_the_page_and_all_of_the_data(result, tmp_path):
    page = write_audit(result, tmp_path / "out")
    assert page == tmp_path / "out/index.html" and HOSTILE in read(page).text
    assert json.loads((tmp_path / "out/audit.json").read_text()) == jsonable(
        result.to_dict() | {"data": str(result.root.resolve())}
    )
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["audit.json", "index.html", "out"]
    with pytest.raises(ConfigError, match="never overwritten"):
        write_audit(result, tmp_path / "out")
