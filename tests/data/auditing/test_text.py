"""The text for a terminal stays within a screen, and the document has the agreed keys."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from helpers import make_dataset
from maskwright.base.storage import dump_json
from maskwright.core.classes import ClassTree
from maskwright.core.findings import Finding
from maskwright.data.auditing import CHECKS, AuditResult, audit
from maskwright.data.auditing.statistics import Statistics


def test_a_clean_dataset_in_a_few_lines(tmp_path: Path) -> None:
    text = audit(make_dataset(tmp_path / "pets", describe=True, seed=1), progress=False).human()
    lines = text.splitlines()
    assert lines[0].startswith("pets: 12 images, 3 classes, dataset fingerprint ")
    assert lines[2].split() == ["train", "6", "6", "0.00%", "48", "64"]
    assert lines[5].split() == ["all", "3", "splits", "12", "12", "0.00%", "48", "64"]
    assert lines[-1] == "no findings"
    assert "background" in text


def test_big_data_stay_within_a_screen() -> None:
    classes = ClassTree.flat([f"class_{i}" for i in range(150)])
    splits = ["train", "val", "test", *(f"fold{i}" for i in range(20))]
    statistics = Statistics(classes, splits)
    for i in range(200):
        pixels = np.arange(151, dtype=np.int64) + 1
        statistics.add(splits[i % 23], (100 + i, 200), np.ones((2, 3), np.int64), pixels)
    findings = [
        Finding(code, row.severity, "a message", "a fix", f"train/{i:05d}", "train")
        for code, row in CHECKS.items()
        for i in range(5000)
    ]
    text = AuditResult("big", Path("big"), classes, None, 5000, 3, findings, statistics).human()
    assert text.splitlines()[0] == "big: 5,000 images and 3 excluded, 150 classes, dataset fingerprint unknown"
    assert len(text.splitlines()) <= 42
    assert max(map(len, text.splitlines())) < 1000
    assert "  error    mask.none x 5000: train/00000: a message; also train/00001, train/00002 and 4,997 more" in text
    for code in CHECKS:
        assert f"{code} x 5000" in text
    assert "(142 in between)" in text


def test_findings_about_many_samples_name_three(tmp_path: Path) -> None:
    finding = Finding(
        "mask.palette",
        CHECKS["mask.palette"].severity,
        "masks with a palette: 5 of 9",
        "nothing to do",
        evidence={"samples": list("abcde")},
    )
    classes = ClassTree.flat(["a"])
    result = AuditResult("x", tmp_path, classes, None, 9, 0, [finding], Statistics(classes, [""]))
    assert "mask.palette: masks with a palette: 5 of 9 (a, b, c and 2 more)" in result.human()
    assert "(none)" in result.human()


def test_the_document_has_the_agreed_keys(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "data", describe=True, seed=1)
    (folder / "labels/train/000.png").unlink()
    (folder / "labels/val/002.png").write_bytes(b"")
    document = json.loads(dump_json(audit(folder, progress=False).to_dict()))
    assert set(document) == {"dataset", "findings", "summary", "statistics", "fixed"}
    assert [finding["code"] for finding in document["findings"]] == ["mask.unreadable", "mask.missing"]
    for finding in document["findings"]:
        assert set(finding) == {"code", "severity", "sample", "split", "message", "fix", "region", "evidence"}
    assert document["findings"][0]["severity"] == "error"
    assert document["summary"] == {
        "findings": 2,
        "by_severity": {"error": 1, "warning": 1, "info": 0},
        "by_code": {"mask.unreadable": 1, "mask.missing": 1},
    }
    assert document["dataset"]["samples"] == 12
    assert set(document["statistics"]) == {"splits", "total", "class_weights", "heat_maps"}
    assert set(document["statistics"]["class_weights"]) == {"inverse_frequency", "median_frequency", "effective_number"}
    assert set(document["statistics"]["total"]["objects"][0]) == {
        "id",
        "name",
        "objects",
        "pixels",
        "specks",
        "slivers",
        "pinholes",
    }
