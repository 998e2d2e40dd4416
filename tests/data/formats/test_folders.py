"""The writers of plain folders: everything comes back, from `dataset.yaml` and `labels.csv` alone."""

import csv
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.formats.roundtrip import CLASSES, masks, named, through
from helpers import write
from maskwright.core.classes import IGNORE, ClassInfo, ClassTree
from maskwright.core.sample import Sample
from maskwright.data.formats import FORMATS
from maskwright.data.formats.maskfiles import with_own_colours
from maskwright.data.formats.source import WriteOptions
from maskwright.data.opening import load_dataset
from maskwright.data.opening import load_dataset as by_description_alone
from maskwright.errors import ConfigError

TREE = ClassTree(
    (
        ClassInfo(3, "background", (9, 9, 9)),
        ClassInfo(1, "hair", (200, 0, 0), ("head",)),
        ClassInfo(700, 'skin: "pale" # 1', (0, 200, 0), ("head", "face")),
        ClassInfo(0, "ägypten", (0, 0, 200), ("head", "face")),
    ),
    ignore=9,
)
WRITERS = ("index", "palette", "colour", "jpeg")


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_masks_come_back_exactly(data) -> None:
    name = data.draw(st.sampled_from(["index", "palette", "colour"]))
    classes = data.draw(st.sampled_from([CLASSES, TREE]))
    drawn = {key: data.draw(masks(classes)) for key in ("a", "Deep/er/b, c", "ü.1")}
    with tempfile.TemporaryDirectory() as folder:
        found, dropped = through(
            name, Path(folder) / "out", drawn, classes, split=data.draw(st.sampled_from(["train", None]))
        )
    assert not dropped and set(found) == set(drawn)
    assert all((found[key] == named(mask, classes)).all() for key, mask in drawn.items())


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("classes", [CLASSES, TREE], ids=["flat", "tree"])
def test_the_description_comes_back(tmp_path, name, classes) -> None:
    through(name, tmp_path / "out", {"a": np.zeros((2, 2), np.uint8)}, classes)
    dataset = load_dataset(tmp_path / "out")
    assert dataset.classes == classes and by_description_alone(tmp_path / "out").classes == classes


@pytest.mark.parametrize("name", WRITERS)
def test_splits_status_and_provenance_survive(tmp_path, name) -> None:
    samples = [
        Sample("train/a", Path("a.JPG"), split="train"),
        Sample("b", Path("b.png"), split="val", status="exclude", provenance="box"),
        Sample("x/c", Path("c.jpg"), status="suspect", provenance="model"),
        Sample("val/b", Path("b2.png"), split="val"),
        Sample("val/B", Path("b3.png"), split="val"),
    ]
    writer = FORMATS[name].write(tmp_path, CLASSES, WriteOptions())
    dropped = []
    for sample in samples:
        write(tmp_path / writer.image_path(sample), np.zeros((2, 2, 3), np.uint8))
        dropped += writer.add(sample, np.zeros((2, 2), np.uint8))
    writer.finish()
    dataset = load_dataset(tmp_path)
    assert [(s.name, s.split, s.status, s.provenance) for s in dataset.samples] == [
        ("train/a", "train", "keep", "hand"),
        ("val/B_3", "val", "keep", "hand"),
        ("val/b", "val", "exclude", "box"),
        ("val/b_2", "val", "keep", "hand"),
        ("x/c", None, "suspect", "model"),
    ]
    assert len(dropped) == 2 and all("called 'val/" in words for words in dropped)
    for sample in dataset.samples:
        assert sample.image.parts[-2] == sample.mask.parts[-2] and sample.image.stem == sample.mask.stem
        assert not dataset.read(sample)[1].any()


def test_files(tmp_path) -> None:
    mask = np.array([[0, 1, 2, IGNORE]], np.uint8)
    classes = ClassTree.flat(["background", "cat", "dog"], ids=[0, 5, 300])
    for name in WRITERS:
        through(name, tmp_path / name, {"a": mask}, classes, split="train" if name != "index" else None)
    assert (tmp_path / "index/images/a.png").is_file() and (tmp_path / "colour/img/train/a.png").is_file()
    with Image.open(tmp_path / "index/labels/a.png") as image:
        assert image.mode.startswith("I;16") and np.asarray(image).tolist() == [[0, 5, 300, 255]]
    with Image.open(tmp_path / "colour/labels/train/a.png") as image:
        assert image.mode == "RGB" and np.asarray(image)[0, 1].tolist() == list(classes.leaves[1].colour)
    with Image.open(tmp_path / "jpeg/labels/train/a.jpg") as image:
        assert image.mode == "L" and image.format == "JPEG"
    with open(tmp_path / "jpeg/labels.csv", newline="") as stream:
        assert list(csv.DictReader(stream)) == [
            {"image": "train/a.png", "mask": "train/a.jpg", "split": "train", "status": "keep", "provenance": "hand"}
        ]


def test_narrow_ids_are_8_bit_and_palettes_hold_the_colours(tmp_path) -> None:
    mask = np.array([[0, 1, 2, 3, IGNORE]], np.uint8)
    for name, mode in (("index", "L"), ("palette", "P")):
        through(name, tmp_path / name, {"a": mask})
        with Image.open(tmp_path / name / "labels/train/a.png") as image:
            assert image.mode == mode and np.asarray(image).tolist() == [[0, 1, 2, 7, 255]]
            if mode == "P":
                assert image.convert("RGB").getpixel((1, 0)) == CLASSES.leaves[1].colour


def test_colours_that_two_classes_share_become_different(tmp_path) -> None:
    classes = ClassTree(tuple(ClassInfo(i, f"c{i}", (7, 7, 7) if i < 3 else (0, 0, 0)) for i in range(4)))
    mask = np.array([[0, 1, 2, 3]], np.uint8)
    found, _ = through("colour", tmp_path / "out", {"a": mask}, classes)
    assert (found["a"] == named(mask, classes)).all()
    colours = [leaf.colour for leaf in load_dataset(tmp_path / "out").classes.leaves]
    assert len({*colours}) == 4 and colours[0] == (7, 7, 7) and colours[3] == (0, 0, 0)


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=254))
@settings(max_examples=25, deadline=None)
def test_own_colours(colours) -> None:
    classes = ClassTree(tuple(ClassInfo(i, str(i), colour) for i, colour in enumerate(colours)))
    own = with_own_colours(classes, (0, 0, 0), (1, 1, 1))
    found = [leaf.colour for leaf in own.leaves]
    assert len({*found, (0, 0, 0), (1, 1, 1)}) == len(found) + 2
    assert (
        tuple(replace(leaf, colour=old.colour) for leaf, old in zip(own.leaves, classes.leaves, strict=True))
        == classes.leaves
    )
    assert all(
        new == old or old in colours[:i] or old in ((0, 0, 0), (1, 1, 1))
        for i, (new, old) in enumerate(zip(found, colours, strict=True))
    )


def test_ignored_pixels_have_a_colour_of_their_own(tmp_path) -> None:
    classes = ClassTree((ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, "cat", (224, 224, 192))))
    mask = np.array([[0, 1, IGNORE]], np.uint8)
    found, dropped = through("colour", tmp_path / "out", {"a": mask}, classes)
    assert not dropped and found["a"].tolist() == [["background", "cat", "ignore"]]
    dataset = load_dataset(tmp_path / "out")
    assert dataset.encoding.ignore_colour == (224, 224, 192) and dataset.classes.leaves[1].colour != (224, 224, 192)
    assert dataset.read_mask(dataset.samples[0]).tolist() == mask.tolist()


@pytest.mark.parametrize(("old", "new"), [("#E0E0C0", "#000000"), ("encoding: colour", "encoding: index")])
def test_an_ignore_colour_that_cannot_be(tmp_path, old, new) -> None:
    through("colour", tmp_path / "out", {"a": np.zeros((2, 2), np.uint8)})
    file = tmp_path / "out/dataset.yaml"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ConfigError, match="ignore_colour"):
        load_dataset(tmp_path / "out")


def blobs(classes: int, size: int = 160) -> np.ndarray:
    """Ellipses, as masks have them."""
    rows, columns = np.indices((size, size))
    mask = np.zeros((size, size), np.uint8)
    rng = np.random.default_rng(3)
    for value in range(1, classes):
        row, column, high, wide = (*rng.uniform(30, size - 30, 2), *rng.uniform(15, 40, 2))
        mask[((rows - row) / high) ** 2 + ((columns - column) / wide) ** 2 < 1] = value
    return mask


@pytest.mark.parametrize(("classes", "quality", "least"), [(2, 95, 1.0), (4, 95, 0.97), (8, 100, 0.9)])
def test_jpeg_masks_are_close_and_say_so(tmp_path, classes, quality, least) -> None:
    tree, mask = ClassTree.flat([f"c{i}" for i in range(classes)], ids=[i * 40 for i in range(classes)]), blobs(classes)
    mask[:4] = IGNORE
    found, dropped = through("jpeg", tmp_path / "out", {"a": mask}, tree, WriteOptions(quality=quality))
    wanted = named(mask, tree)
    ious = [
        ((found["a"] == name) & (wanted == name)).sum() / ((found["a"] == name) | (wanted == name)).sum()
        for name in np.unique(wanted)
    ]
    assert min(ious) >= least
    changed = int((found["a"] != wanted).sum())
    assert dropped == ([f"{changed} px have another class in the JPEG"] if changed else [])
    dataset = load_dataset(tmp_path / "out")
    assert dataset.encoding.kind == "levels" and dataset.read_mask_pixels(dataset.samples[0]).inexact > 0


def test_jpeg_quality_counts(tmp_path) -> None:
    for quality in (40, 95):
        through("jpeg", tmp_path / str(quality), {"a": blobs(4)}, options=WriteOptions(quality=quality))
    sizes = [(tmp_path / str(quality) / "labels/train/a.jpg").stat().st_size for quality in (40, 95)]
    assert sizes[0] < sizes[1]
