"""What stands behind the coordinates of YOLO rows: against how Ultralytics writes them, and what stays a corner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import write
from maskwright.core.classes import IGNORE
from maskwright.data.formats import yolo
from maskwright.data.opening import load_dataset

NAMES = "names: [cat, dog]\n"
SQUARE = (0.2, 0.2, 0.5, 0.2, 0.5, 0.5, 0.2, 0.5)


def as_ultralytics(
    number: int, coordinates: tuple[float, ...], conf: float | None = None, id_: int | None = None
) -> str:
    """`Results.save_txt` of Ultralytics 8: `line += (conf,) * save_conf + (() if id is None else (id,))`, each `%g`."""
    line = (number, *coordinates, *([] if conf is None else [conf]), *([] if id_ is None else [id_]))
    return ("%g " * len(line)).rstrip() % line


def make(folder: Path, files: dict[str, list[str]]) -> Path:
    (folder / "labels").mkdir(parents=True)
    (folder / "data.yaml").write_text(NAMES)
    for name, lines in files.items():
        write(folder / f"images/{name}.png", np.zeros((40, 40, 3), np.uint8))
        (folder / f"labels/{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def corners(folder: Path) -> dict[str, list[int]]:
    """How many corners each region has, by image."""
    return {
        item.name: [len(mark.shape.rings[0]) for mark in item.marks] for item in yolo.read(folder, None, None).items
    }


def said(folder: Path) -> list[tuple[str, int]]:
    return [(note.message.split(" (")[0], note.evidence["count"]) for note in yolo.read(folder, None, None).notes]


@pytest.mark.parametrize("coordinates", [SQUARE, (0.3, 0.3, 0.2, 0.2)], ids=["polygons", "boxes"])
@pytest.mark.parametrize("conf", [None, 0.9134, 1.0], ids=["", "conf", "sure"])
@pytest.mark.parametrize("first", [None, 1, 2, 117], ids=["", "from 1", "from 2", "later"])
def test_all_that_predictions_end_with_is_dropped_and_said(tmp_path, coordinates, conf, first) -> None:
    """Two objects in a frame and one in the next, with every combination of a confidence and ids."""
    ids = [None] * 3 if first is None else [first, first + 1, first]
    lines = [as_ultralytics(0, coordinates, conf, id_) for id_ in ids]
    folder = make(tmp_path / "data", {"a": lines[:2], "b": lines[2:]})
    assert corners(folder) == {"a": [4, 4], "b": [4]}
    notes = yolo.read(folder, None, None).notes
    assert sum(note.evidence["count"] for note in notes) == (0 if conf is first is None else 3)
    assert {note.code for note in notes} <= {"annotation.dropped"}
    dataset = load_dataset(folder)
    for sample in dataset.samples:
        assert (dataset.read_mask(sample) == 1).sum() == (144 if coordinates is SQUARE else 64)


def test_one_object_of_the_id_1_is_told_by_several_files(tmp_path) -> None:
    lines = {name: [as_ultralytics(0, SQUARE, conf, 1)] for name, conf in zip("abc", (0.9, 0.71, 1.0), strict=True)}
    assert corners(make(tmp_path / "three", lines)) == {"a": [4], "b": [4], "c": [4]}
    two = make(tmp_path / "two", {name: lines[name] for name in "ab"})
    assert corners(two) == {"a": [5], "b": [5]}
    assert said(two) == [
        ("2 lines end with two numbers that may be a confidence and the track id 1; they are read as a corner", 2)
    ]


def test_corners_at_the_lower_edge_stay(tmp_path) -> None:
    """Of drawn polygons: last corners at y = 1, with and without another one there, and two in a file."""
    base = "0 0 0.6 1 0.6 1 1 0.25 1"
    folder = make(tmp_path / "data", {name: [base] for name in "abcd"})
    assert corners(folder) == {key: [4] for key in "abcd"} and said(folder) == []
    spike = "0 0.2 0.2 0.5 0.2 0.5 0.5 0.4 0.7 0.3 1"
    folder = make(tmp_path / "two", {"a": [spike, spike], "b": [spike, spike]})
    assert corners(folder) == {"a": [5, 5], "b": [5, 5]} and said(folder) == []
    folder = make(tmp_path / "beside", {"a": [spike, as_ultralytics(0, SQUARE)], "b": [as_ultralytics(0, SQUARE)]})
    assert corners(folder) == {"a": [5, 4], "b": [4]}
    assert [count for _, count in said(folder)] == [1]  # it cannot be told, so it is said


def test_triangles_and_pixels_are_not_taken_for_tracks(tmp_path) -> None:
    folder = make(tmp_path / "data", {name: ["1 0 0 1 0 0.5 1"] for name in "abcd"})
    assert corners(folder) == {key: [3] for key in "abcd"} and said(folder) == []
    folder = make(tmp_path / "pixels", {"a": ["0 10 10 30 10 30 30 10 31", as_ultralytics(0, SQUARE)]})
    assert corners(folder) == {"a": [4]} and "far outside" in said(folder)[0][0]


def test_a_row_with_a_number_too_many_among_others_is_said_as_a_fault(tmp_path) -> None:
    folder = make(tmp_path / "data", {"a": [as_ultralytics(0, SQUARE), as_ultralytics(0, SQUARE, 0.4)]})
    assert corners(folder) == {"a": [4, 4]}
    note = yolo.read(folder, None, None).notes[0]
    assert note.code == "annotation.invalid" and "one number more" in note.message and note.evidence["count"] == 1


def test_boxes_among_polygons_are_said(tmp_path) -> None:
    box = as_ultralytics(1, (0.5, 0.5, 0.2, 0.2))
    folder = make(tmp_path / "data", {"a": [as_ultralytics(0, SQUARE), box], "b": [box]})
    note = yolo.read(folder, None, None).notes[0]
    assert note.code == "annotation.conflict" and note.message.startswith("2 boxes stand among polygons")
    assert said(make(tmp_path / "boxes", {"a": [box], "b": [box]})) == []
    dataset = load_dataset(folder)
    assert dataset.notes and IGNORE not in dataset.read_mask(dataset.samples[0])


@pytest.mark.parametrize("first", [1, 30])
def test_a_set_of_tracked_boxes_or_polygons_is_detected(tmp_path, first) -> None:
    lines = [as_ultralytics(0, SQUARE, 0.9, first + k) for k in range(2)]
    assert yolo.detect_polygons(make(tmp_path / "polygons", {"a": lines, "b": lines}))
    boxes = [as_ultralytics(0, (0.3, 0.3, 0.2, 0.2), 0.9, first + 1 + k) for k in range(2)]
    assert yolo.detect_boxes(make(tmp_path / "boxes", {"a": boxes, "b": boxes}))


@pytest.mark.parametrize("yaml", ["", "train: images\n"])
def test_a_picture_among_the_text_files_hides_no_polygons(tmp_path, yaml) -> None:
    folder = make(tmp_path / "data", {name: [as_ultralytics(0, SQUARE)] for name in "abc"})
    (folder / "data.yaml").write_text(yaml + NAMES)
    write(folder / "labels/labels_preview.jpg", np.zeros((50, 60, 3), np.uint8))
    write(folder / "labels.jpg", np.zeros((50, 60, 3), np.uint8))
    assert yolo.detect_polygons(folder)
    source = yolo.read(folder, None, None)
    assert [len(item.marks) for item in source.items] == [1, 1, 1] and source.notes == []
    write(folder / "images/d.png", np.zeros((4, 4, 3), np.uint8))
    dataset = load_dataset(folder, "yolo_seg")
    assert sum(sample.labelled for sample in dataset.samples) == 3
