"""Supervisely: bitmaps and outlines as its own SDK draws them, splits, names, old projects."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.formats.roundtrip import drawn
from helpers import encoded, write
from maskwright.data.formats import supervisely
from maskwright.data.opening import detect, load_dataset
from maskwright.errors import DataError

HEIGHT, WIDTH = 10, 14


def thing(kind: str, label: str = "cat", **fields: Any) -> dict[str, Any]:
    return {"classTitle": label, "geometryType": kind, "tags": [], **fields}


def outline(*exterior: list[float], interior: Any = (), kind: str = "polygon", label: str = "cat") -> dict[str, Any]:
    return thing(kind, label, points={"exterior": list(exterior), "interior": list(interior)})


def bitmap(picture: bytes, left: int = 0, top: int = 0, label: str = "cat", pack: bool = True) -> dict[str, Any]:
    data = base64.b64encode(zlib.compress(picture) if pack else picture).decode()
    return thing("bitmap", label, bitmap={"data": data, "origin": [left, top]})


def make(folder: Path, *things: Any, place: str = "ds", name: str = "a.png", **more: Any) -> Path:
    write(folder / place / "img" / name, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    data = {"size": {"height": HEIGHT, "width": WIDTH}, "tags": [], "objects": list(things)} | more
    path = folder / place / "ann" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return folder


def lines(mask: np.ndarray) -> list[str]:
    return ["".join(".#"[int(on)] for on in row) for row in mask]


# What supervisely 6.74.51 writes and draws: JSON of a figure, and its pixels.
OF_THE_TOOL: dict[str, tuple[dict[str, Any], list[str]]] = {
    "polygon whose interiors cross each other and its edge": (
        outline([1, 1], [11, 2], [9, 8], [2, 7], interior=[[[4, 3], [7, 3], [6, 6]], [[6, 5], [13, 6], [13, 2]]]),
        [
            "..............",
            ".######.......",
            ".###########..",
            ".###....##....",
            ".####.........",
            "..###.........",
            "..####.###....",
            "..########....",
            "......####....",
            "..............",
        ],
    ),
    "rectangle": (outline([3, 2], [6, 5], kind="rectangle"), ["." * 14] * 2 + ["...####......."] * 4 + ["." * 14] * 4),
    "bitmap": (
        thing(
            "bitmap",
            bitmap={
                "origin": [3, 2],
                "data": "eJzrDPBz5+WS4mJgYOD19HAJAtJMIMzIDCQ9KuanAym2AJ8QVyD9////pTfn3wWyGEuC/IIZHJ7dSANyeDxdHEMq5iQXJFgAZVoYG"
                "bnqJwQAxRk8Xf1c1jklNAEAOlYYOQ==",
            },
        ),
        ["." * 14] * 2 + ["....#.........", "...##........."] + ["." * 14] * 6,
    ),
}


@pytest.mark.parametrize("case", OF_THE_TOOL)
def test_figures_as_the_tool_draws_them(case: str, tmp_path: Path) -> None:
    figure, pixels = OF_THE_TOOL[case]
    assert lines(drawn(make(tmp_path, figure)) == "cat") == pixels


BITS = np.array([[1, 0, 1], [0, 1, 1]], bool)
PALETTE = Image.fromarray(BITS.astype(np.uint8))
PALETTE.putpalette([0, 0, 0, 255, 255, 255])
RGBA = np.zeros((2, 3, 4), np.uint8)
RGBA[BITS] = 9, 0, 0, 200
RGBA[~BITS] = 0, 0, 0, 0
PICTURES = {
    "bits": (encoded(Image.fromarray(BITS), "PNG"), True),
    "grey": (encoded(BITS.astype(np.uint8) * 7, "PNG"), True),
    "palette with transparency": (encoded(PALETTE, "PNG", transparency=0), True),
    "alpha": (encoded(RGBA, "PNG"), True),
    "not compressed": (encoded(RGBA, "PNG"), False),
}


@pytest.mark.parametrize("case", PICTURES)
def test_bitmaps(case: str, tmp_path: Path) -> None:
    picture, pack = PICTURES[case]
    wanted = np.zeros((HEIGHT, WIDTH), bool)
    wanted[4:6, 5:8] = BITS
    assert np.array_equal(drawn(make(tmp_path, bitmap(picture, 5, 4, pack=pack))) == "cat", wanted)


def test_a_bitmap_reaches_outside(tmp_path: Path) -> None:
    make(tmp_path, bitmap(PICTURES["bits"][0], -1, HEIGHT - 1))
    assert lines(drawn(tmp_path) == "cat")[-1] == ".#" + "." * 12
    assert [note.code for note in load_dataset(tmp_path).notes] == ["annotation.clipped"]


def test_a_polygon_reaches_outside(tmp_path: Path) -> None:
    make(tmp_path, outline([-3, 8], [2, 8], [2, 20], [-3, 20]))
    assert lines(drawn(tmp_path) == "cat") == ["." * 14] * 8 + ["###" + "." * 11] * 2
    assert [note.code for note in load_dataset(tmp_path).notes] == ["annotation.clipped"]


def test_a_bitmap_that_grows_without_end_is_left_out(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(200 << 20), 9)
    data = base64.b64encode(bomb).decode()
    source = supervisely.read(make(tmp_path, thing("bitmap", bitmap={"data": data, "origin": [0, 0]})), None, None)
    assert [note.code for note in source.notes] == ["annotation.invalid", "annotation.conflict"]


def test_later_objects_lie_on_top_and_many_parts_are_one(tmp_path: Path) -> None:
    parts = [{"exterior": [[0, 0], [2, 0], [2, 2]]}, {"exterior": [[8, 8], [9, 8], [9, 9]], "interior": []}]
    make(tmp_path, thing("polygon", parts=parts), outline([1, 0], [2, 1], kind="rectangle", label="dog"))
    assert lines(drawn(tmp_path) == "dog") == ["." * 14] * 10  # boxes lie below outlines
    found = drawn(tmp_path)
    assert {*zip(*(side.tolist() for side in np.nonzero(found == "cat")), strict=True)} == {
        *[(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)],
        *[(8, 8), (8, 9), (9, 9)],
    }


def test_classes_splits_and_names(tmp_path: Path) -> None:
    make(tmp_path, outline([1, 1], [3, 1], [3, 3]), place="train")
    make(tmp_path, outline([1, 1], [3, 1], [3, 3], label="dog"), place="valid/datasets/night")
    make(tmp_path, place="street", name="b.jpg")
    write(tmp_path / "street/img/new.png", np.zeros((3, 3, 3), np.uint8))
    write(tmp_path / "street/masks_machine/b.png", np.zeros((3, 3), np.uint8))
    classes = [
        {"title": "dog", "shape": "any", "color": "#102030"},
        {"title": "bird", "color": "red"},
        {"title": "cat"},
    ]
    (tmp_path / "meta.json").write_text(json.dumps({"classes": classes, "tags": []}))
    dataset = load_dataset(tmp_path)
    assert dataset.classes.names == ["background", "dog", "bird", "cat"] and dataset.classes.leaves[1].colour == (
        16,
        32,
        48,
    )
    assert {sample.name: (sample.split, sample.labelled) for sample in dataset.samples} == {
        "train/a": ("train", True),
        "val/datasets/night/a": ("val", True),
        "street/b": (None, True),
        "street/new": (None, False),
    }
    assert [note.message for note in dataset.notes] == [
        "1 annotated image has no region that can be used, and is taken as background (street/b)"
    ]


def test_old_projects_leave_the_kind_to_the_class_and_the_ending_out(tmp_path: Path) -> None:
    old = {"classTitle": "box", "bitmap": None, "points": {"exterior": [[3, 2], [6, 5]], "interior": []}}
    make(tmp_path, old)
    (tmp_path / "ds/ann/a.png.json").rename(tmp_path / "ds/ann/a.json")
    (tmp_path / "meta.json").write_text(json.dumps({"classes": [{"title": "box", "shape": "rectangle"}]}))
    assert lines(drawn(tmp_path) == "box") == OF_THE_TOOL["rectangle"][1]
    assert load_dataset(tmp_path)[0].provenance == "box"


def test_what_has_no_area_is_told_by_its_kind(tmp_path: Path) -> None:
    make(tmp_path, outline([1, 1], [3, 1], [3, 3]), thing("point"), thing("line"), thing("line"), outline([1, 1]))
    assert [note.message for note in load_dataset(tmp_path).notes] == [
        "3 regions are of kinds that mark no area here, and are left out (point, line (2))",
        "1 region has too few points, no area, or what is no number; left out (ds/a)",
    ]


def test_detection_by_content(tmp_path: Path) -> None:
    make(tmp_path, outline([1, 1], [3, 1], [3, 3]), place="project/ds")
    found = detect(tmp_path)
    assert found.file.layout == "supervisely"
    assert found.reasons["layout"] == "project/ds/ann/a.png.json holds objects as Supervisely does"
    (tmp_path / "project/ds/ann").rename(tmp_path / "project/ds/other")
    assert supervisely.detect(tmp_path) is None
    with pytest.raises(DataError, match="no list of objects"):
        supervisely.read(make(tmp_path, objects={"a": 1}), None, None)
