"""V7's Darwin: polygons and layers of masks, both versions, names of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.formats.roundtrip import drawn
from helpers import write
from maskwright.data.formats import darwin
from maskwright.data.opening import detect, load_dataset

HEIGHT, WIDTH = 8, 10
SQUARE = [{"x": 2, "y": 1}, {"x": 6, "y": 1}, {"x": 6, "y": 5}, {"x": 2, "y": 5}]
HOLE = [{"x": 3, "y": 2}, {"x": 5, "y": 2}, {"x": 5, "y": 4}, {"x": 3, "y": 4}]
IN_SQUARE, IN_HOLE = np.zeros((2, HEIGHT, WIDTH), bool)
IN_SQUARE[1:5, 2:6], IN_HOLE[2:4, 3:5] = True, True


def new(*annotations: Any, path: str = "/", name: str = "a.png") -> dict[str, Any]:
    slot = {"type": "image", "slot_name": "0", "width": WIDTH, "height": HEIGHT, "source_files": [{"file_name": name}]}
    item = {"name": name, "path": path, "source_info": {}, "slots": [slot]}
    return {"version": "2.0", "schema_ref": "x", "item": item, "annotations": list(annotations)}


def old(*annotations: Any) -> dict[str, Any]:
    image = {"width": WIDTH, "height": HEIGHT, "original_filename": "a.png", "filename": "x_7.png", "workview_url": "x"}
    return {"dataset": "d", "image": image, "annotations": list(annotations)}


def one(name: str = "cat", **fields: Any) -> dict[str, Any]:
    return {"id": "1", "name": name, "slot_names": ["0"], **fields}


def make(folder: Path, data: dict[str, Any], image: str = "images/a.png") -> Path:
    path = folder / "releases/latest/annotations" / (image.replace("/", "_") + ".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    write(folder / image, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return folder


BOX = {"x": 2, "y": 1, "w": 4, "h": 4}
SHAPES: dict[str, tuple[dict[str, Any], np.ndarray, bool]] = {
    "2.0": (new(one(polygon={"paths": [SQUARE]}, bounding_box=BOX)), IN_SQUARE, False),
    "2.0 with a hole": (new(one(polygon={"paths": [SQUARE, HOLE]}, bounding_box=BOX)), IN_SQUARE & ~IN_HOLE, False),
    "2.0, a box": (new(one(bounding_box=BOX)), IN_SQUARE, True),
    "1.0": (old(one(polygon={"path": SQUARE}, bounding_box=BOX)), IN_SQUARE, False),
    "1.0 with a hole": (old(one(complex_polygon={"path": [SQUARE, HOLE]})), IN_SQUARE & ~IN_HOLE, False),
    "1.0 with more paths": (
        old(one(polygon={"path": SQUARE, "additional_paths": [HOLE]})),
        IN_SQUARE & ~IN_HOLE,
        False,
    ),
    "1.0, a box": (old(one(bounding_box=BOX)), IN_SQUARE, True),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shapes(case: str, tmp_path: Path) -> None:
    data, pixels, weak = SHAPES[case]
    assert np.array_equal(drawn(make(tmp_path, data)) == "cat", pixels)
    assert load_dataset(tmp_path)[0].provenance == ("box" if weak else "hand")


@st.composite
def layers(draw: st.DrawFn) -> list[int]:
    """Values of a layer with their counts, which fill an image."""
    total = HEIGHT * WIDTH
    cuts = [0, *sorted(draw(st.lists(st.integers(0, total), max_size=12))), total]
    values = draw(st.lists(st.integers(0, 3), min_size=len(cuts) - 1, max_size=len(cuts) - 1))
    found = []
    for value, start, end in zip(values, cuts[:-1], cuts[1:], strict=True):
        found += [value, end - start]
    return found


@given(layers())
@settings(max_examples=60)
def test_layers_are_what_a_slow_decoder_finds(dense: list[int]) -> None:
    # As `rle_decode` of darwin-py: each value as often as it says, along the rows.
    values = [value for value, count in zip(dense[::2], dense[1::2], strict=True) for _ in range(count)]
    wanted = np.array(values).reshape(HEIGHT, WIDTH)
    for value in (1, 2, 3):
        found = darwin._mask(dense, value, (HEIGHT, WIDTH))
        mask = np.zeros((HEIGHT, WIDTH), bool)
        if found is not None:
            inside, top, left = found.window(HEIGHT, WIDTH)
            mask[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
        assert np.array_equal(mask, wanted == value)


def layer(dense: list[int], **ids: int) -> dict[str, Any]:
    fields = {"dense_rle": dense, "mask_annotation_ids_mapping": ids, "total_pixels": HEIGHT * WIDTH}
    return one("__raster_layer__", raster_layer=fields)


def test_masks_of_a_layer_lie_below_polygons(tmp_path: Path) -> None:
    dense = [1, 10, 0, 5, 2, 25, 0, 40]
    polygon = one("bird", polygon={"paths": [HOLE]})
    masks = [one("cat", mask={}) | {"id": "a"}, one("dog", mask={}) | {"id": "b"}]
    found = drawn(make(tmp_path, new(polygon, *masks, layer(dense, a=1, b=2))))
    wanted = np.full((HEIGHT, WIDTH), "background")
    wanted[0], wanted[1, 5:], wanted[2:4], wanted[IN_HOLE] = "cat", "dog", "dog", "bird"
    assert np.array_equal(found, wanted)


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    others = [
        one(tag={}),
        one(ellipse={}),
        one(keypoint={"x": 1, "y": 1}),
        one(mask={}),
        one(frames={}),
        one(attributes=["x"], polygon={"paths": [SQUARE]}),
    ]
    make(tmp_path, new(*others, one(polygon={"paths": [SQUARE]}) | {"slot_names": ["1"]}))
    assert [note.message for note in load_dataset(tmp_path).notes] == [
        "2 regions are of kinds that mark no area here, and are left out (ellipse, keypoint)",
        "2 attributes say what no mask can hold (tag, attributes)",
        "1 annotation is of a video, and left out (a)",
        "1 annotation is of another slot than the first, and left out (a)",
        "1 mask is named in no layer, or the layer is damaged; left out (a)",
    ]


# The path and name of an item, where the image is, its name and split.
PLACES: dict[str, tuple[str, str, str, str, str | None]] = {
    "flat": ("/", "a.png", "images/a.png", "a", None),
    "folder": ("/train/x", "a.png", "images/train/x/a.png", "train/x/a", "train"),
    "without the folders": ("/train/x", "a.png", "images/a.png", "a", None),
}


@pytest.mark.parametrize("case", PLACES)
def test_where_images_are(case: str, tmp_path: Path) -> None:
    path, name, place, sample, split = PLACES[case]
    make(tmp_path, new(one(polygon={"paths": [SQUARE]}), path=path, name=name), image=place)
    assert [(s.name, s.split, s.labelled) for s in load_dataset(tmp_path).samples] == [(sample, split, True)]
    assert detect(tmp_path).file.layout == "darwin"


def test_the_file_of_an_item_has_the_ending_of_its_source(tmp_path: Path) -> None:
    data = new(one(polygon={"paths": [SQUARE]}), name="a")
    data["item"]["slots"][0]["source_files"] = [{"file_name": "a.png"}]
    assert np.array_equal(drawn(make(tmp_path, data)) == "cat", IN_SQUARE)
