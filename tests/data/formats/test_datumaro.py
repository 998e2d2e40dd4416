"""Datumaro's JSON: masks against pycocotools, shapes, order, subsets, names of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from data.formats.roundtrip import drawn
from helpers import write
from maskwright.data.formats import datumaro
from maskwright.data.opening import detect, load_dataset

HEIGHT, WIDTH = 30, 40
ROWS, COLUMNS = np.indices((HEIGHT, WIDTH)) + 0.5
POINTS = [10, 6, 30, 6, 30, 24, 10, 24]
IN_SQUARE = (COLUMNS > 10) & (COLUMNS < 30) & (ROWS > 6) & (ROWS < 24)
LABELS = ("cat", "dog", "bird")


def one(kind: str = "polygon", label: Any = 0, order: Any = 0, **fields: Any) -> dict[str, Any]:
    shape = {"points": POINTS} if kind == "polygon" else {}
    return {"id": 0, "type": kind, "label_id": label, "z_order": order, "group": 0, "attributes": {}, **shape, **fields}


def item(*annotations: Any, name: str = "a.png", **more: Any) -> dict[str, Any]:
    return {
        "id": name.rpartition(".")[0],
        "annotations": list(annotations),
        "image": {"path": name, "size": [HEIGHT, WIDTH]},
    } | more


def make(folder: Path, *items: Any, subset: str = "default", images: tuple[str, ...] = (), **categories: Any) -> Path:
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    labels = [{"name": name, "parent": "", "attributes": []} for name in LABELS]
    data = {
        "info": {},
        "categories": {"label": {"labels": labels, "attributes": []}} | categories,
        "items": list(items),
    }
    (folder / f"annotations/{subset}.json").write_text(json.dumps(data))
    for name in images or (f"images/{subset}/a.png",):
        write(folder / name, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return folder


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools itself
def test_masks_are_what_pycocotools_packs(tmp_path: Path, rng: np.random.Generator) -> None:
    for number in range(20):
        mask = rng.random((HEIGHT, WIDTH)) < rng.random() / 2
        mask[rng.integers(HEIGHT) :] = number % 2
        packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        rle = {"counts": packed["counts"].decode("ascii"), "size": [*packed["size"]]}
        folder = make(tmp_path / str(number), item(one("mask", rle=rle)))
        assert np.array_equal(drawn(folder) == "cat", mask)


BOX = {"bbox": [10, 6, 20, 18]}
SHAPES: dict[str, tuple[dict[str, Any], np.ndarray, int, bool]] = {
    "polygon": (one(), IN_SQUARE, 0, False),
    "bbox": (one("bbox", **BOX), IN_SQUARE, 0, True),
    "rotated_bbox": (one("rotated_bbox", bbox=[20, 15, 18, 20, 90]), IN_SQUARE, 0, True),
    "ellipse": (
        one("ellipse", points=[10, 6, 30, 24]),
        ((COLUMNS - 20) / 10) ** 2 + ((ROWS - 15) / 9) ** 2 < 1,
        6,
        False,
    ),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shapes(case: str, tmp_path: Path) -> None:
    shape, pixels, near, weak = SHAPES[case]
    found = drawn(make(tmp_path, item(shape))) == "cat"
    # Points on an arc lie within a twentieth of a pixel of it.
    assert np.count_nonzero(found != pixels) <= near
    assert load_dataset(tmp_path)[0].provenance == ("box" if weak else "hand")


def test_order_and_colours(tmp_path: Path) -> None:
    whole = [0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]
    colours = {"mask": {"colormap": [{"label_id": 1, "r": 9, "g": 8, "b": 7}, {"label_id": "x", "r": 1}]}}
    make(tmp_path, item(one(order=2), one(label=1, points=whole, order=1), one(label=2, points=whole)), **colours)
    assert np.array_equal(drawn(tmp_path) == "cat", IN_SQUARE) and np.array_equal(drawn(tmp_path) == "dog", ~IN_SQUARE)
    leaves = load_dataset(tmp_path).classes.leaves
    assert [leaf.name for leaf in leaves] == ["background", *LABELS] and leaves[2].colour == (9, 8, 7)


def test_subsets_are_splits(tmp_path: Path) -> None:
    make(tmp_path, item(one()), subset="Train", images=("images/Train/a.png",))
    make(tmp_path, item(one(), name="x/a.png"), subset="validation", images=("images/validation/x/a.png",))
    make(tmp_path, item(one(), name="a.png"), subset="night", images=("images/night/a.png",))
    make(tmp_path, item(name="b.png"), images=("images/default/b.png", "images/default/c.png"))
    dataset = load_dataset(tmp_path)
    assert {sample.name: (sample.split, sample.labelled) for sample in dataset.samples} == {
        "train/a": ("train", True),
        "val/x/a": ("val", True),
        "night/a": ("night", True),
        "default/b": (None, True),
        "default/c": (None, False),
    }


# What an item says of its image.
NAMES: dict[str, dict[str, Any]] = {
    "image": {"image": {"path": "a.png", "size": [HEIGHT, WIDTH]}},
    "media": {"media": {"path": "a.png"}},
    "absolute": {"media": {"path": "/home/me/a.png"}},
    "only an id": {"image": None},
}


@pytest.mark.parametrize("case", NAMES)
def test_where_images_are(case: str, tmp_path: Path) -> None:
    data = item(one())
    data.pop("image")
    assert np.array_equal(drawn(make(tmp_path, data | NAMES[case])) == "cat", IN_SQUARE)


def test_what_a_mask_cannot_hold_is_told(tmp_path: Path) -> None:
    make(tmp_path, item(one("label"), one("points"), one(attributes={"occluded": False, "age": 3}), one("mask")))
    assert [note.message for note in load_dataset(tmp_path).notes] == [
        "1 region is of a kind that marks no area here, and is left out (points)",
        "2 attributes say what no mask can hold (label, age)",
        "1 mask is damaged or of another size than the image; left out (default/a)",
    ]


def test_detection_by_content(tmp_path: Path) -> None:
    make(tmp_path / "x", item(one()))
    (tmp_path / "x/annotations/default.json").rename(tmp_path / "x/labels.json")
    assert detect(tmp_path).file.layout == "datumaro"
    (tmp_path / "x/labels.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert datumaro.detect(tmp_path) is None
