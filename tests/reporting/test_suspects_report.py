"""The sheet of suspects: its tables, its cards, hostile names, and files that are gone or broken."""

from __future__ import annotations

import base64
import re
import shutil
import weakref
from dataclasses import replace

import cv2
import numpy as np
import pytest
from pages import check_promises, read, table
from reported_run import HOSTILE, SIZE, write_dataset

from helpers import write
from maskwright.base.storage import atomic_write_bytes
from maskwright.core.dataset import Dataset
from maskwright.core.masks import mask_png
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError
from maskwright.labels.suspecting.folds import write_probabilities
from maskwright.labels.suspecting.planting import KINDS
from maskwright.labels.suspecting.results import FIXES
from maskwright.reporting.suspects_report import write_sheet
from suspected import LABEL_SETS, SELF_TEST, suspected

VIEWS = ["image", "label", "prediction", "difference", "proposal", "trust in the label"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A result with a suspect in 8 of 9 samples, its dataset, and its folder."""
    root = tmp_path_factory.mktemp("suspected")
    dataset = write_dataset(root / "data", {"train": 7, "test": 2})
    folder, classes = root / "work", dataset.classes
    for sample in dataset.samples:
        label = dataset.read_mask(sample)
        small = cv2.resize(np.where(label == 255, 0, label), (40, 30), interpolation=cv2.INTER_NEAREST)
        write_probabilities(folder, sample.name, np.float32(small == np.arange(len(classes))[:, None, None]))
        proposal = np.where(label == 1, 0, label).astype(np.uint8)
        atomic_write_bytes(folder / "proposals" / f"{sample.name}.png", mask_png(proposal, classes))
        write(folder / "trust" / f"{sample.name}.png", np.full((30, 40), 255, np.uint8))
    names = [sample.name for sample in dataset.samples]
    return suspected(names[:8], names[8:], classes, dataset.root, folder), dataset, folder


@pytest.fixture
def own(made, tmp_path):
    """A copy of it that may be damaged."""
    shutil.copytree(made[2].parent, tmp_path / "own")
    return made[0], load_dataset(tmp_path / "own/data"), tmp_path / "own/work"


def page_of(made, tmp_path, **changed):
    result, dataset, folder = made
    return read(write_sheet(replace(result, **changed), dataset, folder, tmp_path / "index.html"))


def captions(page):
    """What stands below each view, by card."""
    return [
        re.findall(r'<div class="view"><img [^>]*><span>(.*?)</span>', card)
        for card in page.source.split("<article")[1:]
    ]


def test_the_page_keeps_what_every_page_promises(made, tmp_path):
    page = page_of(made, tmp_path, self_test=SELF_TEST, label_sets=LABEL_SETS)
    check_promises(page)
    assert HOSTILE in page.text and "a<b>&'" in page.text and "b <i>" in page.text
    assert "<script" not in page.source.lower()


def test_every_kind_is_shown_with_what_it_means(made, tmp_path):
    page = page_of(made, tmp_path)
    rows = table(page, "kind of error", "suspect regions", "samples", "wrong pixels", "what it means")
    assert {row[0][0]: row[4][0] for row in rows} == {
        kind.replace("_", " "): meaning for kind, meaning in KINDS.items()
    }
    assert [value for _, values in rows[0][1:4] for value in values] == ["1", "1", "1000"]
    for kind in KINDS:
        assert FIXES[kind][1:] in page.text
    assert "8of 9 samples suspect" in page.text


def test_a_card_shows_all_pictures_and_close_ups_of_its_regions(made, tmp_path):
    result, page = made[0], page_of(made, tmp_path)
    assert captions(page) == [VIEWS] * 8
    first = page.source.split("<article")[1]
    assert first.count("<img ") == len(VIEWS) + 1 and ">1</span> missing</strong>" in first
    assert f"background → {result.classes.names[-1]}" in page.text and "or missing" in page.source.split("<article")[2]
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    name = result.samples[0].sample
    assert f"{name}: close-up of region 1, with the outlines of the label and of the proposal" in alts
    assert f"{name}: trust in the label, 100 % on average" in alts


def picture(page, alt):
    uri = next(attributes["src"] for tag, attributes in page.tags if tag == "img" and attributes["alt"].startswith(alt))
    data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB).astype(int)


def test_a_close_up_has_both_outlines(own, tmp_path):
    result, dataset, folder = own
    name = result.samples[0].sample
    write(next(s.image for s in dataset.samples if s.name == name), np.full((*SIZE, 3), 128, np.uint8))
    for kind, left in (("label", 20), ("proposal", 35)):
        mask = np.zeros(SIZE, np.uint8)
        mask[22:33, left : left + 5] = 1
        file = (
            next(s.mask for s in dataset.samples if s.name == name)
            if kind == "label"
            else folder / f"proposals/{name}.png"
        )
        file.write_bytes(mask_png(mask, dataset.classes))
    near = picture(page_of(own, tmp_path), f"{name}: close-up of region 1")
    middle = near.shape[1] // 2
    orange, blue = (np.abs(near - colour).max(2) < 70 for colour in ((230, 159, 0), (86, 180, 233)))
    assert orange[:, :middle].any() and blue[:, middle:].any()
    assert not orange[:, middle:].any() and not blue[:, :middle].any()


def test_padding_is_no_prediction(own, tmp_path):
    result, _, folder = own
    name = result.samples[0].sample
    padded = np.zeros((4, 40, 40), np.float32)
    padded[0, :30], padded[1, 30:] = 1, 1
    write_probabilities(folder, name, padded)
    told = {
        keep: next(
            a["alt"]
            for _, a in read(write_sheet(replace(result, keep_ratio=keep), *own[1:], tmp_path / f"{keep}.html")).tags
            if (a.get("alt") or "").startswith(f"{name}: the prediction")
        )
        for keep in (True, False)
    }
    assert told == {
        True: f"{name}: the prediction; background 100.0 %",
        False: f"{name}: the prediction; background 75.0 %, {HOSTILE} 25.0 %",
    }


def test_what_is_gone_or_broken_is_named_in_its_place(own, tmp_path):
    result, dataset, folder = own
    names = [row.sample for row in result.samples]
    (folder / f"proposals/{names[0]}.png").unlink()
    (folder / f"probabilities/{names[1]}.png").write_bytes(b"no picture")
    (folder / f"trust/{names[2]}.png").write_bytes(b"no picture")
    write(folder / f"proposals/{names[3]}.png", np.zeros((5, 7), np.uint8))
    write(folder / f"proposals/{names[4]}.png", np.full(SIZE, 99, np.uint8))
    next(sample.image for sample in dataset.samples if sample.name == names[5]).write_bytes(b"no picture")
    left = replace(dataset, samples=tuple(sample for sample in dataset.samples if sample.name != names[6]))
    page = read(write_sheet(result, left, folder, tmp_path / "index.html"))
    check_promises(page)
    without = [
        ["proposal"],
        ["prediction", "difference"],
        ["trust in the label"],
        ["proposal"],
        ["proposal"],
        VIEWS,
        VIEWS,
        [],
    ]
    assert captions(page) == [[view for view in VIEWS if view not in gone] for gone in without]
    problems = [
        line.strip() for line in page.text.splitlines() if "ot all pictures: " in line or "No pictures: " in line
    ]
    assert len(problems) == 7
    for problem, said in zip(
        problems,
        (
            "no such file",
            "holds no probabilities",
            "not a readable image",
            "is 7x5 but",
            "unknown class ids",
            "not a readable image",
            "is not in this dataset",
        ),
        strict=True,
    ):
        assert said in problem


def test_without_a_suspect_there_is_a_page(made, tmp_path):
    result, _, _ = made
    clean = [replace(row, suspects=0) for row in result.samples]
    page = page_of(made, tmp_path, suspects=[], samples=clean, notes=[], folds=[])
    check_promises(page)
    assert (
        "0of 9 samples suspect" in page.text and "No label looks wrong" in page.text and "<article" not in page.source
    )


def test_the_self_test_is_shown_or_asked_for(made, tmp_path):
    page = page_of(made, tmp_path, self_test=SELF_TEST)
    rows = table(page, "kind", "planted", "found", "average precision")
    assert [[value for _, values in row[1:] for value in values] for row in rows] == [
        [str(row["planted"]), repr(row["recalled"]), repr(row["average_precision"])]
        for row in SELF_TEST["kinds"].values()
    ]
    assert "Average precision 0.875, compared with 0.625 by softmin." in page.text and "Lad and Mueller" in page.text
    assert page.source.index('id="test"') < page.source.index('id="worst"')
    result, dataset, folder = made
    page = read(write_sheet(result, dataset, folder, tmp_path / "untested.html"))
    assert "It has not been tested" in page.text and "Lad and Mueller" not in page.text


def test_a_self_test_may_have_measured_less(made, tmp_path):
    empty = {name: {} if isinstance(value, dict) else value for name, value in SELF_TEST.items()}
    for place, less in enumerate(({}, empty, {"kinds": {"missing": {}}, "baselines": {"softmin": {}}})):
        (tmp_path / f"{place}").mkdir()
        check_promises(page_of(made, tmp_path / f"{place}", samples=[], suspects=[], self_test=less))


def test_folds_and_other_labels_are_tables(made, tmp_path):
    page = page_of(made, tmp_path, label_sets=LABEL_SETS)
    rows = table(page, "fold", "training images", "iterations", "mIoU on the other images")
    assert [cell[1] for cell in rows[1][1:]] == [["21"], ["100"], ["0.5"]]
    (row,) = table(page, "labels", "samples", "agreement")
    assert row[0][0] == "hurried" and [value for _, values in row[1:] for value in values] == [
        "50",
        "0.8125",
        "11",
        "31",
        "8",
    ]
    assert table(page, "sample", "agreement", "preferred")[0][0][0] == "b <i>"


def test_pictures_of_30_samples_and_6_regions_each_and_200_rows_of_the_rest(made, tmp_path):
    many = suspected([f"s{place:03d}" for place in range(240)])
    first = [replace(many.suspects[0], region=(place, 0, 5, 5)) for place in range(9)]
    page = page_of(made, tmp_path, samples=many.samples, suspects=[*first, *many.suspects[1:]])
    assert page.source.count("<article") == 30 and page.source.split("<article")[1].count("<li>") == 6
    assert "and 3 more suspect regions, in the table below" in page.text
    rows = table(page, "sample", "split", "score", "kind of error")
    assert [row[0][0] for row in rows[:4]] == ["s000"] * 3 + ["s030"] and len(rows) == 200
    assert "and 13 more; suspects.json" in page.text


def test_one_sample_is_in_memory_at_a_time(made, tmp_path, monkeypatch):
    held, most = [], []

    def watched(self, sample, reading=Dataset.read):
        most.append(sum(one() is not None for one in held))
        pair = reading(self, sample)
        held.extend(map(weakref.ref, pair))
        return pair

    monkeypatch.setattr(Dataset, "read", watched)
    page_of(made, tmp_path)
    assert len(held) == 16 and set(most) == {0}


def test_nothing_is_overwritten(made, tmp_path):
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(ConfigError, match="never overwritten"):
        page_of(made, tmp_path, samples=[], suspects=[])
