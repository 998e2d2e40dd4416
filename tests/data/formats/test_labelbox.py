"""Labelbox's export: lines or a list, polygons and boxes, masks that are only addresses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.formats.roundtrip import named
from helpers import write
from maskwright.data.opening import detect, load_dataset
from maskwright.errors import DataError

HEIGHT, WIDTH = 8, 10
POINTS = [{"x": 2, "y": 1}, {"x": 6, "y": 1}, {"x": 6, "y": 5}, {"x": 2, "y": 5}]
IN_SQUARE = np.zeros((HEIGHT, WIDTH), bool)
IN_SQUARE[1:5, 2:6] = True
POLYGON = {"name": "cat", "annotation_kind": "ImagePolygon", "classifications": [], "polygon": POINTS}
BOX = {"name": "dog", "bounding_box": {"top": 1, "left": 2, "height": 4, "width": 4}}
MASK = {"name": "cat", "mask": {"url": "https://example.org/mask"}, "composite_mask": {"color_rgb": [1, 2, 3]}}


def label(*objects: Any, created: str = "2025-01-01") -> dict[str, Any]:
    return {
        "label_kind": "Default",
        "label_details": {"created_at": created},
        "annotations": {"objects": list(objects), "classifications": []},
    }


def row(*labels: Any, name: str = "a.png") -> dict[str, Any]:
    return {
        "data_row": {"id": "x", "external_id": name, "row_data": "https://example.org/other.png?x=1"},
        "media_attributes": {"height": HEIGHT, "width": WIDTH, "asset_type": "image"},
        "projects": {"p": {"name": "x", "labels": list(labels), "project_details": {}}},
    }


def make(folder: Path, *rows: Any, file: str = "export.ndjson", images: tuple[str, ...] = ("images/a.png",)) -> Path:
    text = json.dumps(rows) if file.endswith(".json") else "\n\n".join(map(json.dumps, rows)) + "\n"
    (folder / file).write_text(text)
    for name in images:
        write(folder / name, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return folder


def drawn(folder: Path) -> np.ndarray:
    """Class names (H, W) of the first sample."""
    dataset = load_dataset(folder)
    return named(dataset.read(dataset[0])[1], dataset.classes)


@pytest.mark.parametrize("file", ["export.ndjson", "export.json", "a.jsonl"])
def test_polygons(file: str, tmp_path: Path) -> None:
    make(tmp_path, row(label(POLYGON)), row(name="b.png"), file=file, images=("images/a.png", "images/b.png"))
    assert np.array_equal(drawn(tmp_path) == "cat", IN_SQUARE)
    dataset = load_dataset(tmp_path)
    assert [(sample.name, sample.labelled) for sample in dataset.samples] == [("a", True), ("b", False)]
    assert detect(tmp_path).reasons["layout"] == f"{file} holds data rows of Labelbox" and not dataset.notes


def test_a_json_file_of_lines(tmp_path: Path) -> None:
    make(tmp_path, row(label(POLYGON)))
    (tmp_path / "export.ndjson").rename(tmp_path / "export.json")
    assert np.array_equal(drawn(tmp_path) == "cat", IN_SQUARE)


def test_boxes_are_weak(tmp_path: Path) -> None:
    assert np.array_equal(drawn(make(tmp_path, row(label(BOX)))) == "dog", IN_SQUARE)
    assert load_dataset(tmp_path)[0].provenance == "box"


def test_the_label_saved_last_counts(tmp_path: Path) -> None:
    make(tmp_path, row(label(BOX, created="2025-02-01"), label(POLYGON, created="2024-01-01")))
    assert "dog" in drawn(tmp_path)
    assert [note.code for note in load_dataset(tmp_path).notes] == ["annotation.dropped", "annotation.conflict"]


def test_masks_that_are_addresses_are_named_and_nothing_is_fetched(tmp_path: Path) -> None:
    make(tmp_path, row(label(POLYGON, MASK)))
    assert [note.message for note in load_dataset(tmp_path).notes] == [
        "1 mask is only an address on Labelbox's server, from which nothing is fetched; left out (a)"
    ]
    with pytest.raises(DataError, match=r"only addresses on Labelbox's server.*download"):
        load_dataset(make(tmp_path, row(label(MASK))))


def test_images_by_the_end_of_their_address(tmp_path: Path) -> None:
    data = row(label(POLYGON))
    data["data_row"]["external_id"] = "no file"
    dataset = load_dataset(make(tmp_path, data, images=("train/other.png",)))
    assert [(sample.name, sample.split) for sample in dataset.samples] == [("train/other", "train")]


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    make(tmp_path, row(label(POLYGON)))
    with (tmp_path / "export.ndjson").open("a") as stream:
        stream.write('{"data_row"\n')
    with pytest.raises(DataError, match=r"export.ndjson:2: not readable as JSON"):
        load_dataset(tmp_path)
