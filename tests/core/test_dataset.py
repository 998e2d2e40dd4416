"""dataset.yaml, listing and pairing, labels.csv, and the content version."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers import FOLDERS, fingerprint, make_dataset, write
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import FILE_NAME
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "data", images=8, size=(20, 24), describe=True)


def edit(folder: Path, old: str, new: str) -> Path:
    path = folder / FILE_NAME
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize("layout", FOLDERS)
def test_samples_splits_and_pixels(tmp_path: Path, layout: str) -> None:
    dataset = load_dataset(make_dataset(tmp_path / "data", images=8, layout=layout, describe=True))
    assert dataset.name == "data" and len(dataset.samples) == 8 and dataset.orphans == ()
    assert [sample.name for sample in dataset.samples] == sorted(sample.name for sample in dataset.samples)
    counts = {split: len(samples) for split, samples in dataset.splits.items()}
    assert counts == ({"": 8} if layout == "flat" else {"train": 4, "val": 2, "test": 2})
    for sample in dataset.samples:
        image, mask = dataset.read(sample)
        assert image.shape == (48, 64, 3) and mask.shape == (48, 64)
        assert image.dtype == mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 1, 2}


def test_opening_decodes_nothing(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        path.write_bytes(b"broken")
    assert len(load_dataset(folder).samples) == 8


def test_the_file_itself_and_a_relative_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_dataset(folder / FILE_NAME).samples == load_dataset(folder).samples
    monkeypatch.chdir(folder)
    dataset = load_dataset(".")
    assert dataset.name == "data"
    dataset.read(dataset.samples[0])


def test_root_elsewhere(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "views").mkdir()
    shutil.move(folder / FILE_NAME, tmp_path / "views" / FILE_NAME)
    edit(tmp_path / "views", 'root: "."', 'root: "../data"')
    dataset = load_dataset(tmp_path / "views")
    dataset.read(dataset.samples[0])
    assert dataset.name == "views"


def test_nested_folders_and_mask_endings(tmp_path: Path) -> None:
    pixels, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    endings = ["", "_mask", "_seg", "_label", "_labels", "_gt", "-mask", "_segmentation"]
    for number, ending in enumerate(endings):
        write(tmp_path / f"images/a/b{number % 2}/im{number}.jpg", pixels)
        write(tmp_path / f"masks/a/b{number % 2}/im{number}{ending}.png", mask)
    write(tmp_path / "masks/nothing.png", mask)
    dataset = load_dataset(tmp_path)
    assert sorted(sample.name for sample in dataset.samples) == sorted(f"a/b{n % 2}/im{n}" for n in range(len(endings)))
    assert all(sample.mask is not None for sample in dataset.samples)
    assert [path.name for path in dataset.orphans] == ["nothing.png"]


def test_the_plain_name_goes_before_an_ending(tmp_path: Path) -> None:
    write(tmp_path / "images/a.png", np.zeros((8, 8, 3), np.uint8))
    for name in ("a.png", "a_mask.png"):
        write(tmp_path / "masks" / name, np.zeros((8, 8), np.uint8))
    dataset = load_dataset(tmp_path)
    assert dataset.samples[0].mask == tmp_path / "masks/a.png"
    assert [path.name for path in dataset.orphans] == ["a_mask.png"]


def test_the_ignore_id_is_read_as_ignore(folder: Path) -> None:
    edit(folder, "ignore: 255", "ignore: 2")
    text = (folder / FILE_NAME).read_text().splitlines(keepends=True)
    (folder / FILE_NAME).write_text("".join(line for line in text if "id: 2" not in line))
    dataset = load_dataset(folder)
    assert {int(v) for sample in dataset.samples for v in np.unique(dataset.read_mask(sample))} == {0, 1, IGNORE}


class TestFile:
    @pytest.mark.parametrize(
        ("old", "new", "where", "what"),
        [
            ("layout: split_folders", "layout: split_folder", ":3:1", "did you mean 'split_folders'?"),
            ("folder: ", "foldr: ", ":5:3", "did you mean 'folder'?"),
            ("{id: 1,", "{id: x,", ":", "classes.1.id: input should be a valid integer"),
            ("{id: 1,", "{id: 0,", ": ", "id 0 is given to two classes"),
            ("{id: 1,", "{id: -1,", ":", "greater than or equal to 0"),
            ("{id: 1,", "{", ": ", "needs either an id"),
            ("ignore: 255", "ignore: 1", ": ", "id 1 is both a class and the ignore id"),
            ("ignore: 255", "ignore: no", ":", "ignore: input should be a valid integer (given 'no')"),
            ("encoding: index", "encoding: levels", ": ", "masks.levels"),
            ("encoding: index", "encoding: index\n  levels: {0: 0}", ": ", "masks.levels"),
            ("encoding: index", "encoding: levels\n  levels: {a: 0}", ": ", "masks.levels"),
            ("encoding: index", "encoding: levels\n  levels: {0: 0, 255: 7}", ": ", "[7] are no class ids"),
            ("encoding: index", "encoding: index\n  encoding: colour", ":", "'encoding' is given twice"),
            ('colour: "#000000"', "colour: black", ":", "classes.0.colour"),
        ],
    )
    def test_faults(self, folder: Path, old: str, new: str, where: str, what: str) -> None:
        path = edit(folder, old, new)
        with pytest.raises(ConfigError) as raised:
            load_dataset(folder)
        assert any(line.startswith(f"{path}{where}") and what in line for line in raised.value.problems), raised

    def test_every_fault_at_once(self, folder: Path) -> None:
        edit(folder, "layout: split_folders", "layout: x")
        edit(folder, "ignore: 255", "ignored: 255")
        edit(folder, "{id: 2,", "{id: 2.5,")
        with pytest.raises(ConfigError) as raised:
            load_dataset(folder)
        assert len(raised.value.problems) == 3

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('folder: "img"', 'folder: "../data/img"'),
            ('folder: "img"', 'folder: "/etc"'),
            ('folder: "labels"', 'folder: "C:/labels"'),
            ('val: "val"', 'val: "../train"'),
        ],
    )
    def test_paths_stay_inside(self, folder: Path, old: str, new: str) -> None:
        edit(folder, old, new)
        with pytest.raises(DataError, match="only paths inside"):
            load_dataset(folder)


class TestTable:
    def make(self, folder: Path, table: str | bytes) -> Path:
        make_dataset(folder, images=4, size=(20, 24), layout="table")
        (folder / "labels.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
        return folder

    def test_columns(self, tmp_path: Path) -> None:
        rows = (
            "\ufeffsplit,image,mask,status,provenance,remark\r\n"
            "train,000.png,000.png,,,good\r\ntrain,images/001.png,masks/001.png,suspect,box,\r\n"
            "val, 002.png ,,exclude,model,x\r\n,003.png,003.png\r\n"
        )
        dataset = load_dataset(self.make(tmp_path, rows))
        found = [(s.name, s.split, s.status, s.provenance, s.mask is not None) for s in dataset.samples]
        assert found == [
            ("000", "train", "keep", "hand", True),
            ("002", "val", "exclude", "model", False),
            ("003", None, "keep", "hand", True),
            ("images/001", "train", "suspect", "box", True),
        ]
        assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 2, "": 1}
        for sample in dataset.samples:
            if sample.mask:
                dataset.read(sample)

    def test_backslashes(self, tmp_path: Path) -> None:
        self.make(tmp_path, "image,mask\nsub\\a.png,sub\\a.png\n")
        for kind in ("images", "masks"):
            (tmp_path / kind / "sub").mkdir()
            shutil.copy(tmp_path / kind / "000.png", tmp_path / kind / "sub/a.png")
        dataset = load_dataset(tmp_path)
        assert [sample.name for sample in dataset.samples] == ["sub/a"]
        dataset.read(dataset.samples[0])

    @pytest.mark.parametrize(
        ("table", "what"),
        [
            ("", r"labels\.csv:1: needs the columns"),
            ("image,mask,status\n000.png,000.png,kept\n", r"labels\.csv:2: status 'kept' is not known"),
            ("image,mask,provenance\n000.png,000.png,robot\n", r"labels\.csv:2: provenance 'robot'"),
            ("image,mask\n000.png,000.png\n,001.png\n", r"labels\.csv:3: names no image"),
            ("image,mask\n.,001.png\n", r"labels\.csv:2: names no image"),
            ("image,mask\n../x.png,000.png\n", r"labels\.csv:2: the path .* parent folder"),
            ("image,mask\n000.png,/etc/passwd\n", r"labels\.csv:2: the path"),
            ("image,mask\n000.png,000.png\n000.png,001.png\n", "same name"),
            ("image,mask\n", "no images found"),
            ("image,mask\ngone.png,000.png\n", r"gone\.png: no such file"),
            (b"image,mask\n\xff.png,000.png\n", "cannot be read as a UTF-8 table"),
            ("image,mask\n" + "a" * 200_000 + ",b\n", "cannot be read as a UTF-8 table"),
        ],
    )
    def test_faults(self, tmp_path: Path, table: str | bytes, what: str) -> None:
        before = fingerprint(self.make(tmp_path, table))
        with pytest.raises(DataError, match=what) as raised:
            dataset = load_dataset(tmp_path)
            dataset.read(dataset.samples[0])
        assert "\n" not in str(raised.value)
        assert fingerprint(tmp_path) == before


class TestVersion:
    def test_stable(self, folder: Path, tmp_path: Path) -> None:
        version = load_dataset(folder).version()
        assert len(version) == 32 and load_dataset(folder).version() == version
        copy = shutil.copytree(folder, tmp_path / "elsewhere" / "copy")
        assert load_dataset(copy).version() == version  # neither place nor name of the folder counts
        (folder / "notes.txt").write_text("x")
        assert load_dataset(folder).version() == version

    @pytest.mark.parametrize(
        "change",
        [
            "image byte",
            "mask byte",
            "class name",
            "class id",
            "encoding",
            "exif",
            "ignore",
            "remove",
            "rename",
            "split",
        ],
    )
    def test_changes_with(self, folder: Path, change: str) -> None:
        version = load_dataset(folder).version()
        image, mask = folder / "img/train/000.png", folder / "labels/train/000.png"
        if change.endswith("byte"):
            path = image if change == "image byte" else mask
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(bytes(content))
        elif change == "remove":
            mask.unlink()
        elif change in ("rename", "split"):
            for path in (image, mask):
                path.rename(path.with_name("x.png") if change == "rename" else path.parents[1] / "val" / path.name)
        else:
            edit(
                folder,
                *{
                    "class name": ("class_1", "cat"),
                    "class id": ("id: 2", "id: 3"),
                    "encoding": ("index", "colour"),
                    "exif": ("exif: apply", "exif: ignore"),
                    "ignore": ("ignore: 255", "ignore: 254"),
                }[change],
            )
        assert load_dataset(folder).version() != version

    @pytest.mark.parametrize("cell", ["val,keep,hand", "train,suspect,hand", "train,keep,box", ",keep,hand"])
    def test_changes_with_the_table(self, tmp_path: Path, cell: str) -> None:
        make_dataset(tmp_path, images=2, size=(20, 24), layout="table")
        table, versions = tmp_path / "labels.csv", set()
        for value in ("train,keep,hand", cell):
            table.write_text(f"image,mask,split,status,provenance\n000.png,000.png,{value}\n001.png,001.png,val,,\n")
            versions.add(load_dataset(tmp_path).version())
        assert len(versions) == 2

    def test_a_file_that_is_gone_is_named(self, folder: Path) -> None:
        dataset = load_dataset(folder)
        (folder / "img/train/000.png").unlink()
        with pytest.raises(DataError, match=r"000\.png: cannot be read"):
            dataset.version()


def test_a_dataset_is_a_sequence_of_its_samples(folder: Path) -> None:
    dataset = load_dataset(folder)
    assert len(dataset) == len(dataset.samples)
    assert [*dataset] == [*dataset.samples]
    assert dataset[0] is dataset.samples[0]
    assert dataset[-1] is dataset.samples[-1]
    assert dataset[:2] == dataset.samples[:2]
    assert dataset[dataset.samples[1].name] is dataset.samples[1]
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_a_wrong_name_gets_the_near_one(folder: Path) -> None:
    dataset = load_dataset(folder)
    name = dataset.samples[0].name
    with pytest.raises(KeyError, match=f"did you mean '{name}'"):
        dataset[name + "x"]


def test_a_dataset_of_many_samples_prints_one_short_line(tmp_path: Path) -> None:
    dataset = load_dataset(make_dataset(tmp_path, 4))
    many = replace(dataset, samples=tuple(replace(dataset[0], name=f"train/{i}") for i in range(5000)))
    for text in (repr(many), str(many), many._repr_html_()):
        assert len(text) < 1000
        assert "\n" not in text
        assert "5000" in text.replace(",", "")
    assert repr(dataset).startswith(f"Dataset(name={dataset.name!r}, samples={len(dataset)}, ")


def test_a_dataset_as_a_table(folder: Path) -> None:
    dataset = load_dataset(folder)
    samples = (replace(dataset[0], mask=None, status="exclude"), *dataset.samples[1:])
    frame = replace(dataset, samples=samples).to_pandas()
    assert [*frame.columns] == ["name", "split", "status", "provenance", "image", "mask"]
    assert [*frame["name"]] == [sample.name for sample in samples]
    assert [*frame["image"]] == [str(sample.image) for sample in samples]
    assert frame["status"][0] == "exclude"
    assert frame["mask"].isna()[0]
    assert not frame["mask"].isna()[1]
