"""Aperio ImageScope: layers, types of regions, and regions that take pixels away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.formats.roundtrip import drawn
from helpers import write
from maskwright.data.opening import detect, load_dataset

HEIGHT, WIDTH = 30, 40
ROWS, COLUMNS = np.indices((HEIGHT, WIDTH)) + 0.5


def inside(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return (left < COLUMNS) & (right > COLUMNS) & (top < ROWS) & (bottom > ROWS)


def region(*box: float, kind: int = 0, negative: int = 0) -> str:
    left, top, right, bottom = box
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in (corners if kind < 2 else corners[::2]))
    return (
        f'<Region Id="1" Type="{kind}" NegativeROA="{negative}"><Attributes/><Vertices>{vertices}</Vertices></Region>'
    )


def layer(*regions: str, name: str | None = "tumour") -> str:
    said = "" if name is None else f' Name="{name}"'
    return f'<Annotation Id="1"{said} LineColor="65280"><Attributes/><Regions>{"".join(regions)}</Regions></Annotation>'


def make(folder: Path, *layers: str, xml: str = "Annotations/a b.xml", image: str = "Tissue Images/a b.tif") -> Path:
    (folder / xml).parent.mkdir(parents=True, exist_ok=True)
    (folder / xml).write_text(
        f'<?xml version="1.0"?>\n<Annotations MicronsPerPixel="0.252">{"".join(layers)}</Annotations>'
    )
    write(folder / image, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return folder


def test_layers_are_classes_and_later_ones_lie_on_top(tmp_path: Path) -> None:
    make(tmp_path, layer(region(5, 5, 25, 20)), layer(region(10, 10, 30, 25), name="stroma"))
    found = drawn(tmp_path)
    assert np.array_equal(found == "stroma", inside(10, 10, 30, 25))
    assert np.array_equal(found == "tumour", inside(5, 5, 25, 20) & ~inside(10, 10, 30, 25))
    assert detect(tmp_path).reasons["layout"] == "Annotations/a b.xml holds regions as ImageScope does"
    assert [(sample.name, sample.split) for sample in load_dataset(tmp_path).samples] == [("Tissue Images/a b", None)]


def test_layers_without_a_name_are_one_class(tmp_path: Path) -> None:
    make(tmp_path, layer(region(5, 5, 25, 20), name=None), layer(region(10, 10, 30, 25), name=""))
    assert np.array_equal(drawn(tmp_path) == "region", inside(5, 5, 25, 20) | inside(10, 10, 30, 25))


def test_layers_that_are_named_by_an_attribute(tmp_path: Path) -> None:
    layers = [
        layer(region(*box), name="").replace(
            "<Attributes/>", f'<Attributes><Attribute Name="{name}" Value=""/></Attributes>', 1
        )
        for name, box in {"Epithelial": (1, 1, 5, 5), "Description": (6, 6, 9, 9)}.items()
    ]
    assert {*drawn(make(tmp_path, layers[0])).flat} == {"background", "Epithelial"}
    assert {*drawn(make(tmp_path, layers[1])).flat} == {"background", "region"}


# Regions that take away, and what is left of two boxes of the layer.
WHOLE = inside(2, 2, 20, 20) | inside(15, 15, 35, 28)
TAKEN: dict[str, tuple[list[tuple[float, ...]], np.ndarray]] = {
    "inside": ([(5, 5, 10, 10)], WHOLE & ~inside(5, 5, 10, 10)),
    "across the edge": ([(0, 5, 10, 10)], WHOLE & ~inside(0, 5, 10, 10)),
    "across both": ([(10, 10, 25, 25)], WHOLE & ~inside(10, 10, 25, 25)),
    "crossing each other": ([(5, 5, 12, 12), (8, 8, 15, 15)], WHOLE & ~inside(5, 5, 12, 12) & ~inside(8, 8, 15, 15)),
    "outside": ([(36, 1, 39, 4)], WHOLE),
}


@pytest.mark.parametrize("case", TAKEN)
def test_negative_regions_take_pixels_away_from_their_layer(case: str, tmp_path: Path) -> None:
    boxes, left = TAKEN[case]
    other = layer(region(0, 0, 40, 30), name="tissue")
    holes = [region(*box, negative=1) for box in boxes]
    make(tmp_path, other, layer(region(2, 2, 20, 20), *holes, region(15, 15, 35, 28)))
    found = drawn(tmp_path)
    assert np.array_equal(found == "tumour", left) and np.array_equal(found == "tissue", ~left)
    assert not load_dataset(tmp_path).notes


def test_nothing_is_left_of_a_region(tmp_path: Path) -> None:
    make(tmp_path, layer(region(5, 5, 9, 9), region(4, 4, 10, 10, negative=1)))
    assert (drawn(tmp_path) == "background").all()
    assert [note.code for note in load_dataset(tmp_path).notes] == ["annotation.dropped", "annotation.conflict"]


def test_types(tmp_path: Path) -> None:
    make(tmp_path, layer(region(4, 4, 24, 16, kind=2), region(1, 1, 3, 3, kind=3), region(1, 1, 3, 3, kind=4)))
    ellipse = ((COLUMNS - 14) / 10) ** 2 + ((ROWS - 10) / 6) ** 2 < 1
    # Points on an arc lie within a twentieth of a pixel of it.
    assert np.count_nonzero((drawn(tmp_path) == "tumour") != ellipse) <= 6
    assert [note.message for note in load_dataset(tmp_path).notes] == [
        "2 arrows and rulers cover no pixels; left out (Tissue Images/a b (2))"
    ]
    make(tmp_path, layer(region(4, 4, 24, 16, kind=1)))
    assert (
        np.array_equal(drawn(tmp_path) == "tumour", inside(4, 4, 24, 16))
        and load_dataset(tmp_path)[0].provenance == "box"
    )


def test_attributes_are_told_and_folders_are_splits(tmp_path: Path) -> None:
    said = '<Attributes><Attribute Id="0" Name="Grade" Value="3"/><Attribute Name="Empty" Value=""/></Attributes>'
    for split in ("train", "test"):
        make(
            tmp_path,
            layer(region(5, 5, 25, 20)).replace("<Attributes/>", said, 1),
            xml=f"{split}/xml/a.xml",
            image=f"{split}/images/a.png",
        )
    dataset = load_dataset(tmp_path)
    assert {sample.name: sample.split for sample in dataset.samples} == {"train/a": "train", "test/a": "test"}
    assert [note.message for note in dataset.notes] == ["2 attributes say what no mask can hold (Grade (2))"]


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    make(tmp_path, layer(region(5, 5, 25, 20), region(6, 6, 9, 9, negative=1)), image="else/b.png")
    codes: list[Any] = [note.code for note in load_dataset(tmp_path, format="imagescope").notes]
    assert codes == ["annotation.no_image", "annotation.invalid"]
