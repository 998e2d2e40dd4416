"""VGG Image Annotator: its versions, shapes against formulas, and which attribute is the class."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.formats.roundtrip import drawn, named
from helpers import write
from maskwright.data.formats import via
from maskwright.data.opening import detect, load_dataset
from maskwright.errors import DataError

HEIGHT, WIDTH = 30, 40
ROWS, COLUMNS = np.indices((HEIGHT, WIDTH)) + 0.5
SQUARE = {"name": "polygon", "all_points_x": [10, 30, 30, 10], "all_points_y": [6, 6, 24, 24]}
IN_SQUARE = (COLUMNS > 10) & (COLUMNS < 30) & (ROWS > 6) & (ROWS < 24)
X, Y = COLUMNS - 20, ROWS - 15
COSINE, SINE = np.cos(0.5), np.sin(0.5)


def region(shape: Any = SQUARE, **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": shape, "region_attributes": attributes or {"class": "cat"}}


def image(*regions: Any, name: str = "a.png") -> dict[str, Any]:
    return {"filename": name, "size": 9, "regions": list(regions), "file_attributes": {}}


def make(folder: Path, data: Any, images: tuple[str, ...] = ("a.png",), file: str = "via_region_data.json") -> Path:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(data))
    for name in images:
        write(folder / name, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return folder


def drawn_of(folder: Path, name: str) -> np.ndarray:
    """Class names (H, W) of a sample."""
    dataset = load_dataset(folder)
    return named(dataset.read(dataset[name])[1], dataset.classes)


FILES: dict[str, Any] = {
    "version 1": {"a.png9": image() | {"fileref": "", "base64_img_data": "", "regions": {"0": region()}}},
    "version 2": {"a.png9": image(region())},
    "project of version 2": {
        "_via_settings": {"ui": {}, "core": {}, "project": {"name": "x"}},
        "_via_img_metadata": {"a.png9": image(region())},
        "_via_attributes": {
            "region": {"class": {"type": "dropdown", "options": {"dog": "a dog", "cat": ""}}},
            "file": {},
        },
    },
    "project of version 3": {
        "project": {"pid": "x", "data_format_version": "3.1.1", "vid_list": ["1"]},
        "config": {},
        "attribute": {"1": {"aname": "kind", "type": 4, "options": {"0": "dog", "1": "cat"}}},
        "file": {"1": {"fid": 1, "fname": "a.png", "type": 2, "loc": 1, "src": ""}},
        "view": {"1": {"fid_list": [1]}},
        "metadata": {
            "1_x": {"vid": "1", "flg": 0, "z": [], "xy": [7, 10, 6, 30, 6, 30, 24, 10, 24], "av": {"1": "1"}},
            "1_y": {"vid": "1", "flg": 0, "z": [], "xy": [1, 5, 5], "av": {"1": "0"}},
        },
    },
}


@pytest.mark.parametrize("case", FILES)
def test_versions(case: str, tmp_path: Path) -> None:
    make(tmp_path, FILES[case], file="any name.json")
    assert np.array_equal(drawn(tmp_path) == "cat", IN_SQUARE)
    assert detect(tmp_path).reasons["layout"] == "any name.json holds regions as VIA does"
    options = ["dog"] if "project" in case else []
    assert load_dataset(tmp_path).classes.names == ["background", *options, "cat"]


@pytest.mark.parametrize("first", ["filename", "#filename"])
def test_a_table_where_there_is_no_json(first: str, tmp_path: Path) -> None:
    make(tmp_path, FILES["version 2"], images=("a.png", "b.png"))
    with (tmp_path / "t.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        names = [
            "file_size",
            "file_attributes",
            "region_count",
            "region_id",
            "region_shape_attributes",
            "region_attributes",
        ]
        rows.writerow([first, *names])
        rows.writerow(["a.png", 9, "{}", 2, 0, json.dumps(SQUARE), json.dumps({"class": "dog"})])
        rows.writerow(["a.png", 9, "{}", 2, 1, json.dumps({"name": "point", "cx": 1, "cy": 1}), '{"class":"cat"}'])
        rows.writerow(["b.png", 9, "{}", 0, 0, "{}", "{}"])
    assert "dog" not in drawn_of(tmp_path, "a")  # the JSON file counts
    (tmp_path / "via_region_data.json").unlink()
    assert np.array_equal(drawn_of(tmp_path, "a") == "dog", IN_SQUARE)
    assert detect(tmp_path).reasons["layout"] == "t.csv holds regions as VIA does"
    dataset = load_dataset(tmp_path)
    assert not dataset["b"].labelled
    assert [note.code for note in dataset.notes] == ["annotation.dropped", "annotation.dropped"]
    (tmp_path / "t.csv").write_text(f"{first},region_shape_attributes\na.png,{{\n")
    with pytest.raises(DataError, match="not readable as VIA's table"):
        load_dataset(tmp_path)


SHAPES: dict[str, tuple[dict[str, Any], np.ndarray, int]] = {
    "rect": ({"name": "rect", "x": 10, "y": 6, "width": 20, "height": 18}, IN_SQUARE, 0),
    "circle": ({"name": "circle", "cx": 20, "cy": 15, "r": 9}, X**2 + Y**2 < 81, 6),
    "ellipse": ({"name": "ellipse", "cx": 20, "cy": 15, "rx": 12, "ry": 6}, (X / 12) ** 2 + (Y / 6) ** 2 < 1, 6),
    "ellipse turned": (
        {"name": "ellipse", "cx": 20, "cy": 15, "rx": 12, "ry": 6, "theta": 0.5},
        ((X * COSINE + Y * SINE) / 12) ** 2 + ((-X * SINE + Y * COSINE) / 6) ** 2 < 1,
        6,
    ),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shapes(case: str, tmp_path: Path) -> None:
    shape, pixels, near = SHAPES[case]
    found = drawn(make(tmp_path, {"a": image(region(shape))})) == "cat"
    # Points on an arc lie within a twentieth of a pixel of it.
    assert np.count_nonzero(found != pixels) <= near
    assert load_dataset(tmp_path)[0].provenance == ("box" if case == "rect" else "hand")


@pytest.mark.parametrize("number", [2, 3, 4])
def test_shapes_of_version_3(number: int, tmp_path: Path) -> None:
    project = json.loads(json.dumps(FILES["project of version 3"]))
    values = {2: [10, 6, 20, 18], 3: [20, 15, 9], 4: [20, 15, 12, 6]}[number]
    project["metadata"]["1_x"]["xy"] = [number, *values]
    shape = {2: "rect", 3: "circle", 4: "ellipse"}[number]
    assert np.count_nonzero((drawn(make(tmp_path, project)) == "cat") != SHAPES[shape][1]) <= 6


def test_moments_of_a_video_and_lines_are_left_out(tmp_path: Path) -> None:
    project = json.loads(json.dumps(FILES["project of version 3"]))
    project["metadata"]["1_z"] = {"vid": "1", "z": [1.5], "xy": [2, 1, 1, 5, 5], "av": {}}
    assert [note.message for note in load_dataset(make(tmp_path, project)).notes] == [
        "1 region is of a kind that marks no area here, and is left out (point)",
        "1 region is of a moment of a video, and left out (a)",
    ]


# Attributes of two regions, and the class of the first; None: refused.
ATTRIBUTES: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "any name": ({"tissue": "cat"}, {"tissue": "dog"}, "cat"),
    "number": ({"id": 3}, {"id": 4}, "3"),
    "ticks": ({"what": {"cat": True, "dog": False}}, {"what": {"dog": True}}, "cat"),
    "several, one of them called so": ({"age": "2", "Class": "cat"}, {"age": "1", "Class": "dog"}, "cat"),
    "several, the others empty": ({"age": "", "x": "cat"}, {"age": "", "x": "dog"}, "cat"),
    "none": ({"x": ""}, {"x": ""}, "region"),
    "several": ({"age": "2", "tissue": "cat"}, {"age": "1", "tissue": "dog"}, None),
}


@pytest.mark.parametrize("case", ATTRIBUTES)
def test_which_attribute_is_the_class(case: str, tmp_path: Path) -> None:
    first, second, label = ATTRIBUTES[case]
    corner = {"name": "rect", "x": 0, "y": 0, "width": 2, "height": 2}
    make(tmp_path, {"a": image(region(SQUARE, **first), region(corner, **second))})
    if label is None:
        with pytest.raises(DataError, match=r"several attributes \('age' \(2\), 'tissue' \(2\)\).*`class` in VIA"):
            load_dataset(tmp_path)
    else:
        assert np.array_equal(drawn(tmp_path)[5:] == label, IN_SQUARE[5:])


def test_images_without_regions_are_not_labelled_and_folders_are_splits(tmp_path: Path) -> None:
    make(tmp_path, {"a": image(region()), "b": image(name="b.png")}, ("train/a.png", "train/b.png"), "train/x.json")
    make(tmp_path, {"a": image(region())}, ("val/a.png", "val/c.png"), "val/x.json")
    dataset = load_dataset(tmp_path)
    assert {sample.name: (sample.split, sample.labelled) for sample in dataset.samples} == {
        "train/a": ("train", True),
        "train/b": ("train", False),
        "val/a": ("val", True),
        "val/c": ("val", False),
    }
    assert [note.message for note in dataset.notes] == [
        "1 image has not one region, and is taken as not labelled (train/b)"
    ]


def test_two_files_of_the_same_images(tmp_path: Path) -> None:
    make(tmp_path, {"a": image(region())}, file="1.json")
    make(tmp_path, FILES["project of version 2"], file="2.json")
    source = via.read(tmp_path, None, None)
    assert [note.code for note in source.notes] == ["annotation.duplicate"] and len(source.items[0].marks) == 1
    assert [note.code for note in via.read(tmp_path, "2.json", None).notes] == []
