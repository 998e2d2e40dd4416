"""Names in one form of Unicode in the annotations and in another in the folder, as files from macOS have them."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers import write
from maskwright.data.formats.by_name import found_as, split_in
from maskwright.data.opening import load_dataset

NAMES = ("Straße_Übung_é1", "ガラス2")
SQUARE = [2, 1, 6, 1, 6, 5, 2, 5]
PICTURE = np.zeros((8, 10, 3), np.uint8)


def _coco(folder: Path, name: str, form: Callable[[str], str]) -> None:
    data = {
        "images": [{"id": 1, "file_name": form(f"{name}.png"), "height": 8, "width": 10}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [SQUARE]}],
        "categories": [{"id": 1, "name": "a"}],
    }
    (folder / "annotations.json").write_text(json.dumps(data))


def _labelme(folder: Path, name: str, form: Callable[[str], str]) -> None:
    points = [SQUARE[i : i + 2] for i in range(0, 8, 2)]
    data = {"shapes": [{"label": "a", "points": points}], "imagePath": form(f"images/{name}.png")}
    (folder / "a.json").write_text(json.dumps(data | {"imageHeight": 8, "imageWidth": 10}))


def _yolo(folder: Path, name: str, form: Callable[[str], str]) -> None:
    (folder / "labels").mkdir()
    (folder / "labels" / form(f"{name}.txt")).write_text("0 0.2 0.125 0.6 0.125 0.6 0.625 0.2 0.625\n")
    (folder / "data.yaml").write_text("names: [a]\n")


def _yolo_list(folder: Path, name: str, form: Callable[[str], str]) -> None:
    _yolo(folder, name, form)
    (folder / "data.yaml").write_text("names: [a]\ntrain: train.txt\n")
    (folder / "train.txt").write_text(form(f"images/{name}.png\n"))


def _cvat(folder: Path, name: str, form: Callable[[str], str]) -> None:
    (folder / "annotations.xml").write_text(
        f'<annotations><version>1.1</version><image id="0" name="{form(name)}.png" width="10" height="8">'
        '<polygon label="a" points="2,1;6,1;6,5;2,5" z_order="0"/></image></annotations>'
    )


WAYS = {"coco": _coco, "labelme": _labelme, "yolo_seg": _yolo, "list": _yolo_list, "cvat_images": _cvat}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stored", ["NFD", "NFC"])
def test_the_same_name_in_two_forms(tmp_path: Path, way: str, name: str, stored: str) -> None:
    for said in ("NFC", "NFD"):
        folder = tmp_path / said
        write(folder / "images" / f"{unicodedata.normalize(stored, name)}.png", PICTURE)
        WAYS[way](folder, name, lambda text, said=said: unicodedata.normalize(said, text))
        dataset = load_dataset(folder, way if way != "list" else "yolo_seg")
        (sample,) = dataset.samples
        image, mask = dataset.read(sample)
        assert image.shape == (8, 10, 3) and np.argwhere(mask == 1).tolist() == [
            [row, column] for row in range(1, 5) for column in range(2, 6)
        ]
        told = [note for note in dataset.notes if note.code == "annotation.renamed"]
        assert bool(told) is (said != stored and way != "cvat_images")
        assert {note.code for note in dataset.notes} <= {"annotation.renamed"}
        assert all("form of Unicode" in note.message for note in told)


def test_a_file_found_in_a_folder_of_another_form(tmp_path: Path) -> None:
    nfd, nfc = (unicodedata.normalize(form, "é") for form in ("NFD", "NFC"))
    write(tmp_path / nfd / f"{nfd}.png", PICTURE)
    assert found_as(tmp_path / nfc / f"{nfc}.png") == tmp_path / nfd / f"{nfd}.png"
    assert found_as(tmp_path / nfd / f"{nfd}.png") == tmp_path / nfd / f"{nfd}.png"
    assert found_as(tmp_path / nfc / "b.png") is None and found_as(tmp_path / "b.png") is None
    assert found_as(Path("é\0")) is None and found_as(Path("é" * 5000)) is None
    assert found_as(tmp_path / nfd / f"{nfd}.png" / "é") is None


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("train_v2", "train"),
        ("stage1_train", "train"),
        ("Valid", "val"),
        ("TESTING-2", "test"),
        ("train_val", None),
        ("training_testing", None),
        ("trainset", None),
        ("", None),
        ("images", None),
    ],
)
def test_the_split_that_a_word_names(text: str, split: str | None) -> None:
    assert split_in(text) == split
