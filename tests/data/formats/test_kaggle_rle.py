"""Kaggle's tables of run lengths, held against the decoder of the competitions' own notebooks, written out here."""

from __future__ import annotations

import csv
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.formats.roundtrip import named
from helpers import write
from maskwright.core.dataset import Dataset
from maskwright.data.formats.kaggle_rle import detect, read
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError


def encode(mask: np.ndarray, order: str = "F") -> str:
    """As the notebooks do it: the flat mask with a 0 on both sides, where it changes, from 1."""
    flat = np.concatenate([[0], mask.flatten(order=order), [0]])
    runs = np.where(flat[1:] != flat[:-1])[0] + 1
    runs[1::2] -= runs[::2]
    return " ".join(map(str, runs))


def decode(cell: str, shape: tuple[int, int]) -> np.ndarray:
    """As the notebooks do it."""
    flat = np.zeros(shape[0] * shape[1], np.uint8)
    numbers = [int(text) for text in cell.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        flat[start - 1 : start - 1 + length] = 1
    return flat.reshape(shape, order="F")


def blob(seed: int, shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    row, column = rng.integers(6, shape[0] - 6), rng.integers(6, shape[1] - 6)
    return ((rows - row) ** 2 + (columns - column) ** 2 < 25).astype(np.uint8)


def table(folder: Path, text: str, name: str = "train.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, "utf-8")
    return folder


def pictures(folder: Path, *names: str, shape: tuple[int, int] = (20, 30)) -> None:
    for name in names:
        write(folder / name, np.zeros((*shape, 3), np.uint8))


def of(dataset: Dataset, name: str) -> np.ndarray:
    return named(dataset.read_mask(dataset[name]), dataset.classes)


def notes(dataset: Dataset) -> dict[str, int]:
    return {f"{note.code} {note.severity.label}": note.evidence["count"] for note in dataset.notes}


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_masks_are_those_of_the_notebooks(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape, masks = (height, width), rng.integers(0, 2, (3, height, width), np.uint8)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        pictures(folder, "images/a.png", "images/b.png", shape=shape)
        rows = [f"{name},{encode(mask)}" for name, mask in zip("aab", masks, strict=True)]
        table(folder, "\n".join(["id,rle", *rows, "a,1 1", "b,"]), "masks.csv")
        dataset = load_dataset(folder, "kaggle_rle")
        cells = {"a": [*rows[:2], "a,1 1"], "b": rows[2:]}
        for name, own in cells.items():
            wanted = np.zeros(shape, bool)
            for row in own:
                wanted |= decode(row.partition(",")[2], shape) > 0
            assert ((of(dataset, name) == "foreground") == wanted).all()


def test_a_table_beside_folders_of_splits(tmp_path: Path) -> None:
    pictures(tmp_path, "train_v2/a.jpg", "train_v2/b.jpg", "train_v2/extra.jpg", "test_v2/c.jpg")
    ships = [blob(1), blob(2)]
    rows = [f"a.jpg,{encode(mask)}\n" for mask in ships]
    table(tmp_path, "ImageId,EncodedPixels\n" + "".join(rows) + "b.jpg,\n", "train_ships_v2.csv")
    assert detect(tmp_path) == "train_ships_v2.csv holds run lengths in its column 'EncodedPixels'"
    dataset = load_dataset(tmp_path)
    assert [(s.name, s.split, s.labelled) for s in dataset.samples] == [
        ("test/c", "test", False),
        ("train/a", "train", True),
        ("train/b", "train", True),
        ("train/extra", "train", False),
    ]
    assert ((of(dataset, "train/a") == "foreground") == (ships[0] | ships[1] > 0)).all()
    assert (of(dataset, "train/b") == "background").all() and not dataset.notes
    assert dataset.classes.names == ["background", "foreground"] and dataset.classes.background == 0


@pytest.mark.parametrize(
    ("head", "cells", "file"),
    [
        ("id,rle_mask", "{stem}", "{stem}.png"),
        ("Image;Runs", "{stem}.png", "{stem}.png"),
        ("path\truns", "deep/er/{stem}.png", "x/deep/er/{stem}.png"),
        ("path,runs", r"deep\{stem}.png", "deep/{stem}.png"),
        ("runs,image", None, "{stem}.tif"),
        ("n,image_id,encoded", "7,{stem}", "{stem}.jpg"),
        ('"the image","the runs"', '"{stem}"', "{stem}.png"),
    ],
)
def test_columns_are_told_by_what_is_in_them(tmp_path: Path, head: str, cells: str | None, file: str) -> None:
    masks = {f"s{n}": blob(n) for n in range(3)}
    comma = ";" if ";" in head else "\t" if "\t" in head else ","
    lines = [
        f"{encode(mask)},{stem}" if cells is None else cells.format(stem=stem) + comma + encode(mask)
        for stem, mask in masks.items()
    ]
    pictures(tmp_path, *(file.format(stem=stem) for stem in masks))
    dataset = load_dataset(table(tmp_path, "\n".join([head, *lines]), "some.csv"))
    assert len(dataset) == 3
    for sample, mask in zip(dataset.samples, masks.values(), strict=True):
        assert ((named(dataset.read_mask(sample), dataset.classes) == "foreground") == (mask > 0)).all()


def test_two_columns_make_a_name(tmp_path: Path) -> None:
    rows = ["subject,img,pixels"]
    for subject in (1, 2):
        for number in (1, 12):
            pictures(tmp_path, f"train/{subject}_{number}.tif")
            rows.append(f"{subject},{number},{encode(blob(10 * subject + number))}")
    pictures(tmp_path, "test/1.tif", "test/2.tif")
    dataset = load_dataset(table(tmp_path, "\n".join(rows)))
    assert [s.name for s in dataset.samples if s.labelled] == ["train/1_1", "train/1_12", "train/2_1", "train/2_12"]
    assert ((of(dataset, "train/2_12") == "foreground") == (blob(32) > 0)).all()
    assert {s.split for s in dataset.samples if not s.labelled} == {"test"} and not dataset.notes


@pytest.mark.parametrize(
    "rows",
    [
        [
            "ImageId_ClassId,EncodedPixels",
            "a.jpg_1,{0}",
            "a.jpg_2,{1}",
            "a.jpg_3,",
            "b.jpg_1,",
            "b.jpg_2,",
            "b.jpg_3,{2}",
        ],
        ["ImageId,ClassId,EncodedPixels", "a.jpg,1,{0}", "a.jpg,2,{1}", "b.jpg,3,{2}"],
        ["EncodedPixels,class,id", "{0},1,a", "{1},2,a", "{2},3,b"],
    ],
)
def test_classes(tmp_path: Path, rows: list[str]) -> None:
    masks = blob(1), blob(2), blob(3)
    pictures(tmp_path, "images/a.jpg", "images/b.jpg")
    dataset = load_dataset(table(tmp_path, "\n".join(rows).format(*map(encode, masks))))
    assert dataset.classes.names == ["background", "class_1", "class_2", "class_3"] and dataset.classes.ids == [
        0,
        1,
        2,
        3,
    ]
    wanted = np.where(masks[1], "class_2", np.where(masks[0], "class_1", "background"))
    assert (of(dataset, "train/a") == wanted).all()
    assert ((of(dataset, "train/b") == "class_3") == (masks[2] > 0)).all() and not dataset.notes


def test_class_names_behind_the_image(tmp_path: Path) -> None:
    pictures(tmp_path, "a_b.jpg", "c.jpg")
    text = (
        f"Image_Label,EncodedPixels\na_b.jpg_Fish,{encode(blob(1))}\na_b.jpg_Flower,-1\nc.jpg_Sugar,{encode(blob(2))}\n"
    )
    dataset = load_dataset(table(tmp_path, text, "x.csv"))
    assert dataset.classes.names == ["background", "Fish", "Sugar"]
    assert ((of(dataset, "a_b") == "Fish") == (blob(1) > 0)).all()


def test_heights_and_widths_are_read_and_other_columns_told(tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg", "b.jpg")
    rows = [f"a,{encode(blob(1))},20,30,x", f"b,{encode(blob(2))},30,30,y"]
    dataset = load_dataset(table(tmp_path, "\n".join(["ImageId,EncodedPixels,Height,Width,Note", *rows]), "x.csv"))
    assert notes(dataset) == {"annotation.dropped info": 1} and "x.csv: Note" in dataset.notes[0].message
    dataset.read(dataset["a"])
    with pytest.raises(DataError, match="is 30x30 but the image b.jpg is 30x20"):
        dataset.read(dataset["b"])


def test_run_lengths_that_do_not_fit_are_refused_with_their_line(tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg", "b.jpg")
    text = f"id,rle\na,{encode(blob(1))}\nb,{encode(blob(2))}\nb,590 12\n"
    dataset = load_dataset(table(tmp_path, text, "x.csv"))
    dataset.read(dataset["a"])
    with pytest.raises(DataError, match=r"x\.csv: b: line 4: run lengths reach pixel 601, but .* 30x20 has 600; "):
        dataset.read(dataset["b"])


def test_rows_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg", "b.jpg")
    bad = [
        "1 2 3",
        "5 2 1 2",
        "1 5 3 2",
        "0 4",
        "1 0",
        "1.5 2",
        "a b",
        "-3 4",
        "9" * 30 + " 1",
        "1 99999999999",
        "1 9999999999",
        "٣ 1",
    ]
    lines = (
        [f"a,{encode(blob(n))}" for n in range(50)]
        + [f"b,{cell}" for cell in bad]
        + ["gone,1 2", "a", ",1 2", "a,1 2,3"]
    )
    dataset = load_dataset(table(tmp_path, "\n".join(["id,rle", *lines]), "x.csv"))
    found = {note.code: note for note in dataset.notes if note.evidence["count"] != 3}
    assert found["annotation.invalid"].evidence["count"] == len(bad)
    assert "12 rows hold no run lengths" in found["annotation.invalid"].message
    assert found["annotation.invalid"].evidence["where"][0] == "x.csv:52"
    assert "1 image of a table is not in the folder; left out (gone)" in found["annotation.no_image"].message
    assert (of(dataset, "b") == "background").all()


def test_what_is_no_table_of_run_lengths(tmp_path: Path) -> None:
    pictures(tmp_path, "images/a.jpg", "images/b.jpg")
    for name, text in {
        "boxes.csv": "id,bbox\na,1 2 3 4\nb,10 2 30 4\n",
        "depths.csv": "id,z\na,306\nb,157\n",
        "classes.csv": "name,r,g,b\na,255,255,255\n",
        "corners.csv": "id,points\na,1 2 5 2 5 9 1 9\nb,3 3 4 4 2 1\n",
        "others.csv": f"id,rle\nnot,{encode(blob(1))}\nhere,{encode(blob(2))}\n",
        "empty.csv": "",
        "binary.csv": "\0\n\0,\0",
    }.items():
        table(tmp_path, text, name)
        assert detect(tmp_path) is None, name
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match="no CSV file with a column of images"):
        read(tmp_path, None, None)


def test_the_example_of_a_submission_is_no_label(tmp_path: Path) -> None:
    pictures(tmp_path, "train/a.jpg", "train/b.jpg", "test/c.jpg", "test/d.jpg", "test/e.jpg")
    table(tmp_path, f"id,rle\na,{encode(blob(1))}\nb,{encode(blob(2))}\n")
    table(tmp_path, "id,rle\nc,1 1\nd,1 1\ne,1 1\n", "sample_submission.csv")
    dataset = load_dataset(tmp_path)
    assert {s.split: s.labelled for s in dataset.samples} == {"train": True, "test": False}
    assert [note.message for note in dataset.notes] == [
        "1 table says the same of each image, as examples of submissions do; not read (sample_submission.csv)"
    ]


def test_an_image_in_two_tables(tmp_path: Path) -> None:
    pictures(tmp_path, "train/a.jpg", "train/b.jpg")
    table(tmp_path, f"id,rle\na,{encode(blob(1))}\nb,{encode(blob(2))}\n", "train.csv")
    table(tmp_path, f"id,rle\na,{encode(blob(3))}\n", "train_v2.csv")
    dataset = load_dataset(tmp_path)
    assert notes(dataset) == {"annotation.duplicate warning": 1}
    assert ((of(dataset, "train/a") == "foreground") == (blob(3) > 0)).all()
    assert ((of(dataset, "train/b") == "foreground") == (blob(2) > 0)).all()


def test_a_name_that_fits_two_files_is_none_unless_the_split_tells(tmp_path: Path) -> None:
    pictures(tmp_path, "train/1.png", "test/1.png", "x/2.png", "y/2.png", "x/3.png")
    text = "id,rle\n" + "".join(f"{n},{encode(blob(n))}\n" for n in (1, 2, 3))
    dataset = load_dataset(table(tmp_path, text))
    assert {s.name: s.labelled for s in dataset.samples} == {
        "train/1": True,
        "test/1": False,
        "x/2": False,
        "y/2": False,
        "train/x/3": True,
    }
    assert notes(dataset) == {"annotation.conflict warning": 1}


def test_rows_first_is_told_from_columns_first(tmp_path: Path) -> None:
    masks = {f"m{n}": blob(n, (40, 60)) for n in range(8)}
    pictures(tmp_path, *(f"{name}.png" for name in masks), shape=(40, 60))
    for order in "CF":
        text = "id,rle\n" + "".join(f"{name},{encode(mask, order)}\n" for name, mask in masks.items())
        dataset = load_dataset(table(tmp_path, text, "x.csv"))
        assert ["along the rows" in note.message for note in dataset.notes] == [True] * (order == "C")
        for name, mask in masks.items():
            assert ((of(dataset, name) == "foreground") == (mask > 0)).all()


def test_names_in_another_form_of_unicode(tmp_path: Path) -> None:
    pictures(tmp_path, unicodedata.normalize("NFD", "Übung_é.jpg"), "b.jpg")
    text = unicodedata.normalize("NFC", f"id,rle\nÜbung_é.jpg,{encode(blob(1))}\nb.jpg,{encode(blob(2))}\n")
    dataset = load_dataset(table(tmp_path, text, "x.csv"))
    assert all(sample.labelled for sample in dataset.samples) and len(dataset) == 2


def test_long_cells_and_the_limit_of_the_csv_module(tmp_path: Path) -> None:
    mask = np.indices((400, 402)).sum(0) % 2
    pictures(tmp_path, "a.png", "b.png", shape=mask.shape)
    cell = encode(mask)
    assert len(cell) > csv.field_size_limit()
    dataset = load_dataset(table(tmp_path, f"id,rle\na,{cell}\nb,1 5 9 2 14 2\n", "x.csv"))
    assert ((of(dataset, "a") == "foreground") == (mask > 0)).all()
    assert csv.field_size_limit() == 131072


def test_the_version_is_that_of_the_cells(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    versions = [
        load_dataset(table(tmp_path, f"id,rle\na,{encode(blob(seed))}\nb,\n", "x.csv")).version() for seed in (1, 2, 1)
    ]
    assert versions[0] == versions[2] != versions[1]


def test_paths_of_a_table_lead_nowhere_else(tmp_path: Path) -> None:
    write(tmp_path / "secret.png", np.zeros((20, 30, 3), np.uint8))
    pictures(tmp_path / "data", "a.png")
    text = f"id,rle\na,{encode(blob(1))}\n../secret.png,{encode(blob(2))}\n/etc/passwd,1 2\n"
    dataset = load_dataset(table(tmp_path / "data", text, "x.csv"))
    assert len(dataset) == 1 and notes(dataset) == {"annotation.no_image warning": 2}


def test_files_of_one_name_in_several_folders_are_samples_of_different_names(tmp_path: Path) -> None:
    names = [
        "a.png",
        "images/a.png",
        "photos/a.png",
        "img/a.jpg",
        "train/a.png",
        "stage1_train/a.png",
        "train_v2/images/a.png",
    ]
    pictures(tmp_path, *names, "images/b.png")
    dataset = load_dataset(table(tmp_path, f"id,rle\nb,{encode(blob(1))}\n", "x.csv"), "kaggle_rle")
    assert sorted(sample.image.relative_to(tmp_path).as_posix() for sample in dataset.samples) == sorted(
        [*names, "images/b.png"]
    )
    assert {"a", "images/a.png", "train/a", "b"} <= {sample.name for sample in dataset.samples}
