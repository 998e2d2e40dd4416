"""YOLO text files: what each variant of folders and lines means, exact return of masks, and what is refused."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from scipy import ndimage

from data.formats.roundtrip import CLASSES, masks, named, through
from helpers import write
from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.findings import Finding
from maskwright.core.sample import Sample
from maskwright.data.convert import convert
from maskwright.data.formats import yolo
from maskwright.data.formats.source import AnnotationSet, WriteOptions
from maskwright.data.opening import detect, load_dataset
from maskwright.errors import DataError

BOX = "0 0.5 0.5 0.4 0.2\n"
TRIANGLE = "1 0 0 1 0 0 1\n"
NAMES = "names: [cat, dog]\n"


def make(folder: Path, files: Mapping[str, str | tuple[int, int] | bytes]) -> Path:
    """Files by path: a text, bytes, or the (width, height) of an image."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, tuple):
            write(path, np.zeros((content[1], content[0], 3), np.uint8))
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def one(folder: Path, text: str, size: tuple[int, int] = (10, 10), yaml: str = NAMES) -> AnnotationSet:
    """What a single text file is read as."""
    return yolo.read(make(folder, {"data.yaml": yaml, "images/a.png": size, "labels/a.txt": text}), None, None)


def codes(notes: list[Finding] | tuple[Finding, ...]) -> dict[str, int]:
    return {finding.code: finding.evidence["count"] for finding in notes}


@given(masks())
@settings(max_examples=40)
def test_polygons_return_exactly(mask: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found, dropped = through("yolo_seg", Path(folder) / "out", {"a": mask})
    assert np.array_equal(found["a"], named(mask, CLASSES)) and dropped == []


@given(masks(side=9))
@settings(max_examples=15)
def test_polygons_return_exactly_without_a_background_class(mask: np.ndarray) -> None:
    classes = ClassTree.flat(["sky", "no", "1e3", "  : #"])
    with tempfile.TemporaryDirectory() as folder:
        found, _ = through("yolo_seg", Path(folder) / "out", {"a": mask}, classes)
    assert np.array_equal(found["a"], named(mask, classes))


@pytest.mark.parametrize("shape", [(2, 20000), (19997, 1)])
def test_polygons_return_exactly_in_wide_images(
    shape: tuple[int, int], tmp_path: Path, rng: np.random.Generator
) -> None:
    mask = rng.choice(np.array([0, 1, 2], np.uint8), shape, p=[0.94, 0.04, 0.02])
    found, _ = through("yolo_seg", tmp_path / "out", {"a": mask})
    assert np.array_equal(found["a"], named(mask, CLASSES))


def test_tolerance_keeps_the_shape_and_saves_points(tmp_path: Path) -> None:
    rows, columns = np.indices((120, 160))
    mask = (
        (((rows - 60) / 50) ** 2 + ((columns - 80) / 70) ** 2 < 1)
        & (((rows - 60) / 20) ** 2 + ((columns - 80) / 20) ** 2 > 1)
    ).astype(np.uint8)
    found, _ = through("yolo_seg", tmp_path / "out", {"a": mask}, options=WriteOptions(tolerance=1.5))
    cat = found["a"] == "cat"
    assert (cat & (mask == 1)).sum() / (cat | (mask == 1)).sum() > 0.95
    assert len((tmp_path / "out/labels/train/a.txt").read_text().split()) < 150


def test_boxes_are_those_of_the_components(tmp_path: Path, rng: np.random.Generator) -> None:
    mask = (rng.random((30, 40)) < 0.15).astype(np.uint8)
    mask[:3, :4], mask[20:, 30:] = IGNORE, 3
    writer = yolo.BoxWriter(tmp_path, CLASSES, WriteOptions())
    said = writer.add(Sample("a", write(tmp_path / "images/a.png", np.zeros((30, 40), np.uint8))), mask)
    writer.finish()
    wanted, filled = set(), 0
    for name, index in (("cat", 1), ("a b/c", 3), ("ignore", IGNORE)):
        labels, _ = ndimage.label(mask == index, np.ones((3, 3)))
        for number, (y, x) in enumerate(ndimage.find_objects(labels), 1):
            wanted.add((name, x.start, y.start, x.stop, y.stop))
            filled += bool((labels[y, x] == number).all())
    marks = yolo.read(tmp_path, None, None).items[0].marks
    assert {(mark.label, *mark.shape.rings[0].min(0), *mark.shape.rings[0].max(0)) for mark in marks} == wanted
    assert all(mark.weak for mark in marks)
    assert said == [f"the outlines of {len(wanted) - filled} regions: only boxes are written"]


def test_a_filled_box_returns_and_says_nothing(tmp_path: Path) -> None:
    mask = np.zeros((9, 11), np.uint8)
    mask[2:5, 3:9] = 2
    found, dropped = through("yolo", tmp_path / "out", {"a/b": mask, "c": mask * 0})
    assert np.array_equal(found["a/b"], named(mask, CLASSES)) and (found["c"] == "background").all() and not dropped


def test_a_dataset_with_and_without_splits_returns_with_both(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = ["image,mask,split"]
    for name, split in (("a", "train"), ("b c", "val"), ("ü", ""), ("d", "fold 1"), ("images/e", "train")):
        write(tmp_path / f"in/images/{name}.png", rng.integers(0, 255, (6, 7, 3), np.uint8))
        write(tmp_path / f"in/masks/{name}.png", rng.integers(0, 3, (6, 7), np.uint8))
        rows.append(f"{name}.png,{name}.png,{split}")
    make(tmp_path, {"in/labels.csv": "\n".join(rows)})
    assert convert(tmp_path / "in", tmp_path / "out", to="yolo_seg", progress=False).exact
    found = {sample.name: sample.split for sample in load_dataset(tmp_path / "out").samples}
    assert found == {"train/a": "train", "val/b c": "val", "ü": None, "fold 1/d": "fold 1", "train/images/e": "train"}


def test_two_samples_at_one_place_are_refused(tmp_path: Path) -> None:
    writer = yolo.PolygonWriter(tmp_path, CLASSES, WriteOptions())
    writer.add(Sample("x", Path("x.png"), split="train"), np.zeros((2, 2), np.uint8))
    with pytest.raises(DataError, match="rename"):
        writer.add(Sample("train/x", Path("x.jpg")), np.zeros((2, 2), np.uint8))


# Name -> files, and what is read: sample -> (split, labels of its regions; None: not labelled).
IMG = (10, 10)
VARIANTS: dict[str, tuple[dict[str, str | tuple[int, int] | bytes], dict[str, tuple[str | None, list[str] | None]]]] = {
    "ultralytics": (
        {
            "data.yaml": "path: ../datasets/x\ntrain: images/train\nval: images/val\ntest:\nnames:\n  0: cat\n  1: dog\n",
            "images/train/a.png": IMG,
            "labels/train/a.txt": BOX + TRIANGLE,
            "images/val/b.png": IMG,
            "labels/val/b.txt": "",
            "images/val/c.png": IMG,
        },
        {"train/a": ("train", ["cat", "dog"]), "val/b": ("val", []), "val/c": ("val", None)},
    ),
    "roboflow": (
        {
            "data.yaml": "train: ../train/images\nval: ../valid/images\nnc: 2\n" + NAMES + "roboflow:\n  license: x\n",
            "train/images/a.png": IMG,
            "train/labels/a.txt": BOX,
            "valid/images/a.png": IMG,
            "valid/labels/a.txt": BOX,
        },
        {"train/a": ("train", ["cat"]), "val/a": ("val", ["cat"])},
    ),
    "roboflow without its yaml": (
        {
            "train/images/a.png": IMG,
            "train/labels/a.txt": BOX,
            "valid/images/a.png": IMG,
            "valid/labels/a.txt": BOX,
            "classes.txt": "cat\ndog\n",
        },
        {"train/a": ("train", ["cat"]), "val/a": ("val", ["cat"])},
    ),
    "lists and several folders": (
        {
            "coco.yml": "path: /home/me/coco\ntrain: [part1/images, part2/images]\nval: val.txt\n" + NAMES,
            "part1/images/a.png": IMG,
            "part1/labels/a.txt": BOX,
            "part2/images/a.png": IMG,
            "part2/labels/a.txt": BOX,
            "val.txt": "./part3/images/d/a.png\n\nC:\\me\\coco\\part3\\images\\e.png\n",
            "part3/images/d/a.png": IMG,
            "part3/labels/d/a.txt": TRIANGLE,
            "part3/images/e.png": IMG,
        },
        {
            "train/part1/a": ("train", ["cat"]),
            "train/part2/a": ("train", ["cat"]),
            "val/part3/d/a": ("val", ["dog"]),
            "val/part3/e": ("val", None),
        },
    ),
    "darknet": (
        {
            "obj.data": "classes = 2\ntrain = data/train.txt\nvalid=data/valid.txt\nnames = data/obj.names\n",
            "obj.names": "cat\ndog\n",
            "train.txt": "data/obj_train_data/a.png\n",
            "obj_train_data/a.png": IMG,
            "obj_train_data/a.txt": BOX,
            "valid.txt": "data/obj_valid_data/d/a.png",
            "obj_valid_data/d/a.png": IMG,
        },
        {"train/a": ("train", ["cat"]), "val/d/a": ("val", None)},
    ),
    "roboflow darknet": (
        {
            "train/a.png": IMG,
            "train/a.txt": TRIANGLE,
            "train/_darknet.labels": "cat\ndog",
            "test/b.png": IMG,
            "test/b.txt": "",
        },
        {"train/a": ("train", ["dog"]), "test/b": ("test", [])},
    ),
    "labelImg": (
        {
            "a.png": IMG,
            "a.txt": BOX,
            "b.v2.png": IMG,
            "b.v2.txt": BOX,
            "classes.txt": "cat\r\ndog\r\n",
            "predefined/logo.png": IMG,
        },
        {"a": (None, ["cat"]), "b.v2": (None, ["cat"])},
    ),
    "label studio": (
        {
            "images/a.png": IMG,
            "labels/a.txt": BOX,
            "classes.txt": "\ufeffcat\ndog",
            "notes.json": "{}",
            "images/sub/a.png": IMG,
            "labels/sub/a.txt": TRIANGLE,
        },
        {"a": (None, ["cat"]), "sub/a": (None, ["dog"])},
    ),
    "capitals": (
        {"Images/Train/a.png": IMG, "Labels/Train/a.txt": BOX, "obj.names": "cat\ndog"},
        {"train/a": ("train", ["cat"])},
    ),
    "no names": (
        {"images/a.png": IMG, "labels/a.txt": "7 .5 .5 .2 .2\n" + TRIANGLE},
        {"a": (None, ["class_7", "class_1"])},
    ),
    "names of ids with gaps": (
        {"data.yaml": "names: {3: no, 7: 1.5}\n", "images/a.png": IMG, "labels/a.txt": "3 .5 .5 .2 .2\n7 0 0 1 0 1 1"},
        {"a": (None, ["no", "1.5"])},
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_folders(variant: str, tmp_path: Path) -> None:
    files, wanted = VARIANTS[variant]
    dataset = load_dataset(make(tmp_path, files))
    ids = {leaf.id: leaf.name for leaf in dataset.classes.leaves}
    found = {s.name: (s.split, [ids[r.id] for r in s.drawing.regions] if s.drawing else None) for s in dataset.samples}
    assert found == wanted
    assert {"cat", "dog"} <= set(dataset.classes.names) or variant.startswith("n")
    for sample in dataset.samples:
        if sample.labelled:
            assert dataset.read(sample)[1].shape == (10, 10)


def test_named_folders_of_images_and_text_files(tmp_path: Path) -> None:
    make(
        tmp_path,
        {
            "photos_a/x/1.png": IMG,
            "export/x/1.txt": BOX,
            "export/2.txt": TRIANGLE,
            "photos_a/2.png": IMG,
            "obj.names": "cat\ndog",
            "other/3.png": IMG,
        },
    )
    source = yolo.read(tmp_path, "export", "photos_a")
    assert {item.name: [mark.label for mark in item.marks] for item in source.items} == {
        "photos_a/x/1": ["cat"],
        "photos_a/2": ["dog"],
    }
    make(tmp_path, {"sub/my.yaml": NAMES + "train: ../photos_a\n", "photos_a/x/1.txt": BOX})
    source = yolo.read(tmp_path, "sub/my.yaml", None)
    assert {item.name: len(item.marks) for item in source.items} == {"train/photos_a/x/1": 1, "train/photos_a/2": 0}


# Lines -> (x0, y0, x1, y1, weak) of what is read in an image of 20 x 10, and the codes of the notes.
LINES: dict[str, tuple[tuple[float, float, float, float, bool] | None, list[str]]] = {
    "0 0.5 0.5 0.4 0.2": ((6, 4, 14, 6, True), []),
    "\t0  0.5 0.5 0.4 0.2  ": ((6, 4, 14, 6, True), []),
    "0.0 5e-1 .5 0.4 0.2": ((6, 4, 14, 6, True), []),
    "0 0.5 0.5 0.4 0.2 0.87": ((6, 4, 14, 6, True), ["annotation.dropped"]),
    "0 0 0 1 0 1 1": ((0, 0, 20, 10, False), []),
    "0 0 0 1 0 1 1 0 1": ((0, 0, 20, 10, False), []),
    "0 0 0 1 0 1 1 0 1 0.5": ((0, 0, 20, 10, False), ["annotation.dropped"]),
    "9 0 0 1 0 1 1": ((0, 0, 20, 10, False), ["annotation.renamed"]),
    "0 -0.2 0 1 0 1 1": ((-4, 0, 20, 10, False), ["annotation.clipped"]),
    "0 0.9 0.5 0.4 1": ((14, 0, 22, 10, True), ["annotation.clipped"]),
    "0 0.9 0.5 0.2000001 1": ((16, 0, 20, 10, True), []),
    "0 0.5 0.5 0.4 -0.2": (None, ["annotation.invalid"]),
    "nan 0.5 0.5 0.4 0.2": (None, ["annotation.invalid"]),
    "0 1e999 0.5 0.4 0.2": (None, ["annotation.invalid"]),
    "1e40 0.5 0.5 0.4 0.2": (None, ["annotation.invalid"]),
    "0 0.5 0.5 0.4 0.2 # note": (None, ["annotation.invalid"]),
    "0 0.5 0.5 0.4 0.\0": (None, ["annotation.invalid"]),
    "0 .1 .1 .1 .2 .1 .3": (None, ["annotation.invalid"]),
    "٣ .1 .1 .1 .2": (None, ["annotation.invalid"]),
    "{'a': 1}": (None, ["annotation.invalid"]),
}


@pytest.mark.parametrize("line", LINES)
def test_lines(line: str, tmp_path: Path) -> None:
    wanted, noted = LINES[line]
    source = one(tmp_path, f"\n{line}\r\n\n", (20, 10))
    marks = source.items[0].marks
    assert [note.code for note in source.notes] == noted
    assert all(note.sample == "a" and note.evidence["count"] == 1 for note in source.notes)
    assert len(marks) == (wanted is not None)
    if wanted:
        ring = marks[0].shape.rings[0]
        assert np.allclose([*ring.min(0), *ring.max(0)], wanted[:4], atol=1e-5) and marks[0].weak is wanted[4]


def test_keypoints_are_dropped_where_the_yaml_tells(tmp_path: Path) -> None:
    line = "0 0.5 0.5 0.4 0.2 " + "0.5 0.5 2 " * 3
    source = one(tmp_path, line + "\n" + line, yaml=NAMES + "kpt_shape: [3, 3]\n")
    assert [mark.weak for mark in source.items[0].marks] == [True, True]
    assert codes(source.notes) == {"annotation.dropped": 2}
    assert "kept" in source.notes[0].message and detect(tmp_path).file.layout == "yolo"


def test_one_note_for_many_lines(tmp_path: Path) -> None:
    files: dict[str, str | tuple[int, int] | bytes] = {"obj.names": "cat"}
    for name in "abcde":
        files |= {f"images/{name}.png": IMG, f"labels/{name}.txt": "x\n0 9 9 9 9\n" + 3 * BOX.replace("0", "1", 1)}
    notes = yolo.read(make(tmp_path, files), None, None).notes
    assert [(note.code, note.sample, note.evidence["count"]) for note in notes] == [
        ("annotation.invalid", None, 5),
        ("annotation.invalid", None, 5),
        ("annotation.renamed", None, 15),
    ]
    assert "(a, b, c, …)" in notes[0].message


def test_sizes_are_those_of_upright_images(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    make(tmp_path, {"labels/a.txt": "0 0.25 0.5 0.5 1\n"})
    write(tmp_path / "images/a.jpg", Image.new("RGB", (30, 10)), exif=exif)
    dataset = load_dataset(tmp_path)
    mask = dataset.read(dataset.samples[0])[1]
    assert mask.shape == (30, 10) and (mask[:, :5] == 1).all() and (mask[:, 5:] == 0).all()


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    make(
        tmp_path,
        {
            "data.yaml": "train: train.txt\nval: gone\nnc: 5\nnames: [cat, dog, cat]\n",
            "train.txt": "images/a.png\nimages/a.png\nimages/b.png\n../c/d.png\nimages\n",
            "images/a.png": IMG,
            "labels/a.txt": BOX,
            "labels/b.txt": BOX,
        },
    )
    source = yolo.read(tmp_path, None, None)
    assert {item.name: (len(item.marks), item.labelled) for item in source.items} == {
        "train/a": (1, True),
        "train/b": (0, False),
        "train/c/d": (0, False),
    }
    assert [(note.code, note.evidence["count"], note.evidence["where"]) for note in source.notes] == [
        ("annotation.renamed", 1, ["cat"]),
        ("annotation.conflict", 1, ["data.yaml"]),
        ("annotation.no_image", 2, ["train/b", "train/c/d"]),
        ("annotation.no_image", 2, ["train: images", "val: gone"]),
        ("annotation.duplicate", 1, ["train/a"]),
    ]


def test_text_files_without_an_image_and_images_that_share_one(tmp_path: Path) -> None:
    make(
        tmp_path,
        {
            "images/a.png": IMG,
            "images/a.jpg": IMG,
            "labels/a.txt": BOX,
            "labels/b.txt": TRIANGLE,
            "README.txt": "1 2 3\n",
            "labels/classes.txt": "cat\ndog\n",
            "images/bad.png": b"x",
            "labels/bad.txt": BOX,
        },
    )
    source = yolo.read(tmp_path, None, None)
    assert [label.name for label in source.labels] == ["cat", "dog"]
    assert [(note.code, note.evidence["where"]) for note in source.notes] == [
        ("annotation.invalid", ["bad"]),
        ("annotation.no_image", ["labels/b.txt"]),
        ("annotation.duplicate", ["a"]),
    ]
    assert [(item.name, item.image.suffix, item.labelled) for item in source.items] == [
        ("a", ".jpg", True),
        ("bad", ".png", False),
    ]


LONG = "/".join(["x" * 300] * 50)
# Name -> files beside a good image and text file, and what the error says; None where a note is enough.
HOSTILE: dict[str, tuple[dict[str, str | bytes], str | None]] = {
    "names nested": ({"data.yaml": "names: [[a], {b: c}]"}, "names: expected"),
    "split nested": ({"data.yaml": NAMES + "train: [[images]]\n"}, "is no path"),
    "split absolute": ({"data.yaml": NAMES + "train: /etc\nval: images\n"}, None),
    "split above": ({"data.yaml": NAMES + "train: ../../..\n"}, None),
    "path a list": ({"data.yaml": NAMES + "path: [1]\ntrain: images\n"}, None),
    "kpt_shape huge": ({"data.yaml": NAMES + "kpt_shape: [999999999999999, .nan]\n"}, None),
    "list odd": ({"data.yaml": NAMES + "train: l.txt\n", "l.txt": f"images/a.png\n\0\n{LONG}\n..\n/\nC:\n.\n"}, None),
    "obj.data garbage": ({"obj.data": "train\n= =\nnames = \ntrain = /etc/passwd\n"}, None),
    "names binary": ({"obj.names": b"\xff\xff"}, "obj.names.*UTF-8"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_or_noted(case: str, tmp_path: Path) -> None:
    files, message = HOSTILE[case]
    make(tmp_path, {"images/a.png": IMG, "labels/a.txt": BOX} | files)
    if message is None:
        dataset = load_dataset(tmp_path, format="yolo")
        assert all(sample.image.resolve().is_relative_to(tmp_path.resolve()) for sample in dataset.samples)
        assert "a" in {sample.name.rpartition("/")[2] for sample in dataset.samples}
    else:
        with pytest.raises(DataError, match=message) as error:
            yolo.read(tmp_path, None, None)
        assert "\n" not in str(error.value)
    yolo.detect_boxes(tmp_path)


@pytest.mark.parametrize("link", ["images/b.png", "labels/a.txt", "obj.names", "images", "labels"])
def test_links_to_the_outside_are_refused(link: str, tmp_path: Path) -> None:
    make(tmp_path / "out", {"b.png": IMG, "a.txt": BOX, "obj.names": "cat", "images/a.png": IMG, "labels/a.txt": BOX})
    make(
        tmp_path / "in",
        {"images/a.png": IMG, "labels/a.txt": BOX, "obj.names": "cat", "data.yaml": "train: images\nnc: 1\n"},
    )
    path = tmp_path / "in" / link
    if path.is_dir():
        (path / ("a.png" if link == "images" else "a.txt")).unlink()
        path.rmdir()
    path.unlink(missing_ok=True)
    path.symlink_to(tmp_path / "out" / (link if link in ("images", "labels") else path.name))
    with pytest.raises(DataError, match="symbolic link"):
        yolo.read(tmp_path / "in", None, None)


@pytest.mark.parametrize("path", ["../x", "/etc", "C:/x", "a\0b"])
def test_named_folders_stay_inside(path: str, tmp_path: Path) -> None:
    for named_paths in ((path, None), (None, path)):
        with pytest.raises(DataError, match="only paths inside"):
            yolo.read(tmp_path, *named_paths)


def test_no_images_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 text file with regions \(labels/a.txt for one\) and no images"):
        yolo.read(make(tmp_path, {"labels/a.txt": BOX}), None, None)
    with pytest.raises(DataError, match="no such folder"):
        yolo.read(tmp_path / "gone", None, None)


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"images/a.png": IMG, "labels/a.txt": BOX}, "yolo"),
        ({"images/a.png": IMG, "labels/a.txt": "", "labels/b.txt": BOX, "labels/c.txt": TRIANGLE}, "yolo_seg"),
        ({"images/a.png": IMG, "labels/a.txt": "0 " + "0.123456 0.5 " * 900}, "yolo_seg"),
        ({"images/a.png": IMG, "data.yaml": "train: images\n" + NAMES}, "yolo"),
        ({"images/a.png": IMG, "notes.txt": "0 12 15 100 200\n", "x.txt": "some words"}, "flat"),
        ({"images/a.png": IMG, "labels/a.txt": BOX, "masks/a.png": IMG}, "flat"),
    ],
)
def test_detection(files: dict[str, str | tuple[int, int] | bytes], wanted: str, tmp_path: Path) -> None:
    assert detect(make(tmp_path, files)).file.layout == wanted


@pytest.fixture
def real() -> Path:
    folder = os.environ.get("MASKWRIGHT_REAL_DATA")
    if not folder:
        pytest.skip("MASKWRIGHT_REAL_DATA is not set: the real exports were not read")
    return Path(folder)


@pytest.mark.parametrize(
    ("variant", "names"), [("labels", ["train/1", "val/1"]), ("annotations", ["1"]), ("strict", ["train/1"])]
)
def test_real_exports(variant: str, names: list[str], real: Path) -> None:
    dataset: Dataset = load_dataset(real / "exports/yolo" / variant)
    assert [sample.name for sample in dataset.samples] == names
    assert dataset.classes.names == ["background", *(f"label_{i}" for i in range(10))]
    # Boxes (0, 2) to (4, 4) and, smaller and on top, (3, 3) to (5, 6).
    wanted = np.zeros((10, 15), np.uint8)
    wanted[2:4, 0:4], wanted[3:6, 3:5] = 3, 5
    for sample in dataset.samples:
        assert np.array_equal(dataset.read(sample)[1], wanted) and sample.provenance == "box"
    assert {note.code for note in dataset.notes} == ({"annotation.renamed"} if variant == "strict" else set())


def test_real_boxes(real: Path) -> None:
    dataset = load_dataset(real / "cracks_boxes")
    assert len(dataset.samples) == 150 and dataset.classes.names == ["background", "crack"] and not dataset.notes
    assert sum(len(sample.drawing.regions) for sample in dataset.samples) == 216
    # h1_MAX_0006_5m_11_10: 0 0.666016 0.392578 0.667969 0.167969 -> (85, 79) to (256, 122).
    wanted = np.zeros((256, 256), bool)
    for line in (real / "cracks_boxes/labels/h1_MAX_0006_5m_11_10.txt").read_text().splitlines():
        cx, cy, w, h = (256 * float(value) for value in line.split()[1:])
        wanted[round(cy - h / 2) : round(cy + h / 2), round(cx - w / 2) : round(cx + w / 2)] = True
    assert wanted[79:122, 85:256].all()
    assert np.array_equal(dataset.read(dataset.samples[0])[1] == 1, wanted)
