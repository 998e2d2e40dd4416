"""LabelMe JSON: what its shapes mean, exact return of masks, where images are found, and what is refused."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image, ImageDraw

from data.formats.roundtrip import CLASSES, masks, named, through
from helpers import encoded, write
from maskwright.core.classes import ClassTree
from maskwright.core.sample import Sample
from maskwright.data.convert import convert
from maskwright.data.formats import labelme
from maskwright.data.formats.source import AnnotationSet, WriteOptions
from maskwright.data.opening import detect, load_dataset
from maskwright.errors import DataError

SQUARE = [[2, 1], [6, 1], [6, 4], [2, 4]]


def shape(label: Any = "cat", points: Any = SQUARE, **others: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": "polygon", "group_id": None, "flags": {}} | others


def document(*shapes: Any, **others: Any) -> dict[str, Any]:
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": "a.png",
        "imageData": None,
        "imageHeight": 8,
        "imageWidth": 10,
    } | others


def make(folder: Path, *shapes: Any, file: str = "a.json", image: str | None = "a.png", **others: Any) -> Path:
    """An image of 10 x 8 and its JSON file."""
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(document(*shapes, **others)))
    if image:
        write(folder / image, np.zeros((8, 10, 3), np.uint8))
    return folder


def one(folder: Path, *shapes: Any, **others: Any) -> AnnotationSet:
    return labelme.read(make(folder, *shapes, **others), None, None)


def drawn(folder: Path) -> np.ndarray:
    """(8, 10) class names of the only sample."""
    dataset = load_dataset(folder, format="labelme")
    return named(dataset.read(dataset.samples[0])[1], dataset.classes)


def png(mask: np.ndarray | Image.Image, form: str = "PNG") -> str:
    return base64.b64encode(encoded(mask, form)).decode()


@given(masks())
@settings(max_examples=40)
def test_masks_return_exactly(mask: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found, dropped = through("labelme", Path(folder) / "out", {"a": mask})
    assert np.array_equal(found["a"], named(mask, CLASSES)) and dropped == []


@given(masks(side=8))
@settings(max_examples=15)
def test_masks_return_exactly_with_other_names(mask: np.ndarray) -> None:
    for classes in (ClassTree.flat(["sky", "no", "1", "ä"]), ClassTree.flat(["a", "bg", "b", "c"])):
        with tempfile.TemporaryDirectory() as folder:
            found, _ = through("labelme", Path(folder) / "out", {"a": mask}, classes)
        assert np.array_equal(found["a"], named(mask, classes))


def test_tolerance_keeps_the_shape_and_saves_points(tmp_path: Path) -> None:
    picture = Image.new("L", (160, 120))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((10, 10, 150, 110), fill=1)
    pen.ellipse((60, 40, 100, 80), fill=2)
    mask = np.array(picture)
    found, _ = through("labelme", tmp_path / "out", {"a": mask}, options=WriteOptions(tolerance=1.5))
    for index, name in ((1, "cat"), (2, "dog")):
        both = (found["a"] == name) & (mask == index)
        assert both.sum() / ((found["a"] == name) | (mask == index)).sum() > 0.93
    shapes = json.loads((tmp_path / "out/train/a.json").read_text())["shapes"]
    assert sum(len(item["points"]) for item in shapes) < 80


def test_written_files_are_as_labelme_writes_them(tmp_path: Path) -> None:
    mask = np.ones((8, 10), np.uint8)
    mask[2:5, 3:6], mask[3, 4], mask[0, 9] = 0, 255, 2
    found, _ = through("labelme", tmp_path / "out", {"d/ü a": mask}, split="val")
    assert np.array_equal(found["d/ü a"], named(mask, CLASSES))
    data = json.loads((tmp_path / "out/val/d/ü a.json").read_text("utf-8"))
    assert [item["label"] for item in data["shapes"]] == ["cat", "_background_", "dog", "__ignore__"]
    assert data["shapes"][1]["points"] == [[3, 2], [6, 2], [6, 5], [3, 5]]
    assert {key: data[key] for key in data if key != "shapes"} == {
        "version": "5.5.0",
        "flags": {},
        "imagePath": "ü a.png",
        "imageData": None,
        "imageHeight": 8,
        "imageWidth": 10,
    }
    assert (tmp_path / "out/labels.txt").read_text().splitlines() == [
        "__ignore__",
        "_background_",
        "cat",
        "dog",
        "a b/c",
    ]


def test_a_dataset_returns_with_its_splits(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = ["image,mask,split"]
    for name, split in (("a", "train"), ("sub/a", "val"), ("b.v2", "")):
        write(tmp_path / f"in/images/{name}.png", rng.integers(0, 255, (6, 7, 3), np.uint8))
        write(tmp_path / f"in/masks/{name}.png", rng.integers(0, 3, (6, 7), np.uint8))
        rows.append(f"{name}.png,{name}.png,{split}")
    (tmp_path / "in/labels.csv").write_text("\n".join(rows))
    assert convert(tmp_path / "in", tmp_path / "out", to="labelme", progress=False).exact
    found = {sample.name: sample.split for sample in load_dataset(tmp_path / "out").samples}
    assert found == {"train/a": "train", "val/sub/a": "val", "b.v2": None}


def test_two_samples_at_one_place_are_refused(tmp_path: Path) -> None:
    writer = labelme.LabelMeWriter(tmp_path, CLASSES, WriteOptions())
    writer.add(Sample("x", Path("x.png"), split="train"), np.zeros((2, 2), np.uint8))
    with pytest.raises(DataError, match="rename"):
        writer.add(Sample("train/x", Path("x.jpg")), np.zeros((2, 2), np.uint8))


BITS = np.array([[1, 0, 1], [0, 1, 1]], bool)
ROWS, COLUMNS = np.indices((8, 10)) + 0.5
IN_SQUARE = (ROWS > 1) & (ROWS < 4) & (COLUMNS > 2) & (COLUMNS < 6)
IN_BITS = np.zeros((8, 10), bool)
IN_BITS[3:5, 1:4] = BITS
OUT_OF_BITS = np.zeros((8, 10), bool)
OUT_OF_BITS[0, :2] = BITS[1, 1:]
MASK = {"shape_type": "mask", "points": [[1, 3], [3, 4]]}
# Name -> a shape, the pixels it covers, whether it is weak, and the codes of the notes.
SHAPES: dict[str, tuple[dict[str, Any], np.ndarray, bool, list[str]]] = {
    "polygon": (shape(), IN_SQUARE, False, []),
    "polygon of version 3": (
        {"label": "cat", "points": SQUARE, "line_color": [1, 2], "fill_color": None},
        IN_SQUARE,
        False,
        [],
    ),
    "type is null": (shape(shape_type=None), IN_SQUARE, False, []),
    "label is a number": (shape(5), IN_SQUARE, False, []),
    "rectangle": (shape(points=[[2, 4], [6, 1]], shape_type="rectangle"), IN_SQUARE, True, []),
    "rectangle of four points": (shape(shape_type="rectangle"), IN_SQUARE, True, []),
    "turned rectangle": (shape(shape_type="rotation", direction=1.2), IN_SQUARE, True, []),
    "circle": (
        shape(points=[[5, 4], [5, 7]], shape_type="circle"),
        (ROWS - 4) ** 2 + (COLUMNS - 5) ** 2 < 8.9,
        False,
        [],
    ),
    "mask of bits": (shape(mask=png(Image.fromarray(BITS)), **MASK), IN_BITS, False, []),
    "mask of 0 and 1": (shape(mask=png(BITS.astype(np.uint8)), **MASK), IN_BITS, False, []),
    "mask of 0 and 255": (shape(mask=png(BITS.astype(np.uint8) * 255), **MASK), IN_BITS, False, []),
    "mask with fractions": (
        shape(mask=png(BITS.astype(np.uint8)), shape_type="mask", points=[[1.2, 2.9], [3.2, 3.9]]),
        IN_BITS,
        False,
        [],
    ),
    "mask outside": (
        shape(mask=png(Image.fromarray(BITS)), shape_type="mask", points=[[-1, -1], [1, 0]]),
        OUT_OF_BITS,
        False,
        ["annotation.clipped"],
    ),
    "polygon outside": (
        shape(points=[[-5, -5], [50, -5], [50, 50], [-5, 50]]),
        np.ones((8, 10), bool),
        False,
        ["annotation.clipped"],
    ),
    "far": (
        shape(points=[[-1e11, -1e11], [1e11, -1e11], [1e11, 1e11], [-1e11, 1e11]]),
        np.ones((8, 10), bool),
        False,
        ["annotation.clipped"],
    ),
    "huge circle": (
        shape(points=[[5, 4], [5e10, 7]], shape_type="circle"),
        np.ones((8, 10), bool),
        False,
        ["annotation.clipped"],
    ),
    "extras": (
        shape(group_id=3, flags={"a": True}, description="x", score=0.5, difficult=False),
        IN_SQUARE,
        False,
        ["annotation.dropped"],
    ),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shapes(case: str, tmp_path: Path) -> None:
    given_shape, pixels, weak, noted = SHAPES[case]
    source = one(tmp_path, given_shape)
    assert [mark.weak for mark in source.items[0].marks] == [weak]
    assert [note.code for note in source.notes] == noted
    assert np.array_equal(drawn(tmp_path) != "background", pixels)


def test_later_shapes_lie_on_top_and_names_have_roles(tmp_path: Path) -> None:
    make(
        tmp_path,
        shape(points=[[0, 0], [10, 0], [10, 8], [0, 8]]),
        shape("dog"),
        shape("_background_", [[2, 1], [4, 1], [4, 4], [2, 4]]),
        shape("__ignore__", [[0, 7], [10, 7], [10, 8], [0, 8]]),
    )
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ndog\nbird\ncat\n")
    wanted = np.full((8, 10), "background")
    wanted[:], wanted[1:4, 2:6] = "cat", "dog"
    wanted[1:4, 2:4], wanted[7] = "background", "ignore"
    assert np.array_equal(drawn(tmp_path), wanted)
    assert load_dataset(tmp_path).classes.names == ["background", "dog", "bird", "cat"]


# A shape -> the code of the note that says why it is left out.
BAD: dict[str, tuple[Any, str]] = {
    "point": (shape(points=[[1, 1]], shape_type="point"), "annotation.dropped"),
    "linestrip": (shape(shape_type="linestrip"), "annotation.dropped"),
    "null": (None, "annotation.invalid"),
    "empty label": (shape(" "), "annotation.invalid"),
    "label a list": (shape(["cat"]), "annotation.invalid"),
    "type a list": (shape(shape_type=["polygon"]), "annotation.invalid"),
    "empty points": (shape(points=[]), "annotation.invalid"),
    "points flat": (shape(points=[0, 0, 5, 5, 5, 0]), "annotation.invalid"),
    "points are true": (shape(points=[[True, True]] * 3), "annotation.invalid"),
    "beyond": (shape(points=[[0, 0], [5, 10**300], [5, 0]]), "annotation.invalid"),
    "circle of three": (shape(points=[[0, 0], [5, 5], [5, 0]], shape_type="circle"), "annotation.invalid"),
    "rectangle of one": (shape(points=[[0, 0]], shape_type="rectangle"), "annotation.invalid"),
    "mask without": (shape(**MASK), "annotation.invalid"),
    "mask no base64": (shape(mask="abc", **MASK), "annotation.invalid"),
    "mask a number": (shape(mask=7, **MASK), "annotation.invalid"),
    "mask truncated": (shape(mask=png(np.eye(3, dtype=np.uint8)[:2])[:60], **MASK), "annotation.invalid"),
    "mask JPEG": (shape(mask=png(np.ones((2, 3), np.uint8), "JPEG"), **MASK), "annotation.invalid"),
    "mask in colour": (shape(mask=png(np.ones((2, 3, 3), np.uint8)), **MASK), "annotation.invalid"),
    "mask empty": (shape(mask=png(np.zeros((2, 3), np.uint8)), **MASK), "annotation.invalid"),
    "mask box backwards": (shape(mask=png(BITS), shape_type="mask", points=[[3, 4], [1, 3]]), "annotation.invalid"),
    "mask box huge": (
        shape(mask=png(BITS), shape_type="mask", points=[[0, 0], [10**6 - 1, 10**6 - 1]]),
        "annotation.invalid",
    ),
    "mask of one point": (shape(mask=png(BITS), shape_type="mask", points=[[1, 1]]), "annotation.invalid"),
}


@pytest.mark.parametrize("case", BAD)
def test_shapes_that_are_left_out(case: str, tmp_path: Path) -> None:
    bad, code = BAD[case]
    source = one(tmp_path, bad, shape("dog"), bad)
    assert [mark.label for mark in source.items[0].marks] == ["dog"]
    assert [(note.code, note.sample, note.evidence["count"]) for note in source.notes] == [(code, "a", 2)]
    assert (drawn(tmp_path) == "dog").sum() == IN_SQUARE.sum()


def test_extras_are_counted_by_kind(tmp_path: Path) -> None:
    make(tmp_path, shape(group_id=1, flags={"a": False}), shape(group_id=0, description="x"), flags={"night": True})
    make(tmp_path, shape(group_id=2), file="b.json", image="b.png", imagePath="b.png")
    (note,) = labelme.read(tmp_path, None, None).notes
    assert (note.code, note.sample, note.evidence) == (
        "annotation.dropped",
        None,
        {"count": 5, "where": ["group_id", "flags of images", "description"]},
    )
    assert "(group_id (3), flags of images, description)" in note.message


# imagePath, where the image is -> whether a note says so (None: no note, and found).
PLACES: dict[str, tuple[str | None, str, str | None]] = {
    "beside": ("a.png", "ann/a.png", None),
    "above": ("..\\pictures\\a.png", "pictures/a.png", None),
    "below": ("./x/a.png", "ann/x/a.png", None),
    "windows": ("C:\\Users\\me\\a.png", "ann/a.png", "annotation.renamed"),
    "absolute": ("/home/me/other.png", "ann/a.png", "annotation.renamed"),
    "outside": ("../../../../etc/a.png", "ann/a.png", "annotation.renamed"),
    "renamed": ("old.png", "ann/a.JPG", "annotation.renamed"),
    "missing key": (None, "ann/a.png", None),
    "the JSON file itself": ("a.json", "ann/a.png", "annotation.renamed"),
    "a JSON file that is there in another case": ("A.JSON", "ann/a.png", "annotation.renamed"),
    "another folder": ("a.png", "else/a.png", "annotation.renamed"),
    "another folder, by the name of the JSON file": ("a.json", "else/a.png", "annotation.renamed"),
    "another folder, by its own name": ("../photos/b.png", "else/b.png", "annotation.renamed"),
    "another form of Unicode": ("../photos/\u00fc.png", "else/u\u0308.png", "annotation.renamed"),
    "gone": ("a.png", "else/z.png", "annotation.no_image"),
    "passwd": ("../../../../../etc/passwd", "else/z.png", "annotation.no_image"),
    "long": ("x" * 5000 + "/" + "y" * 5000, "else/z.png", "annotation.no_image"),
    "deep": ("x/" * 5000 + "a.png", "else/z.png", "annotation.no_image"),
    "NUL": ("a\0.png", "else/z.png", "annotation.no_image"),
    "half a character": ("\ud800.png", "else/z.png", "annotation.no_image"),
}


@pytest.mark.parametrize("case", PLACES)
def test_where_images_are(case: str, tmp_path: Path) -> None:
    path, place, code = PLACES[case]
    make(tmp_path, shape(), file="ann/a.json", image=place, imagePath=path)
    source = labelme.read(tmp_path, None, None)
    (item,) = source.items
    assert [note.code for note in source.notes] == ([code] if code else [])
    assert item.image.is_relative_to(tmp_path) and ".." not in item.image.parts and str(item.image).encode()
    assert len(item.marks) == 1 and item.image.exists() == (code != "annotation.no_image")
    if item.image.exists():
        assert item.image == tmp_path / place
    dataset = load_dataset(tmp_path)
    assert dataset.read_mask(dataset.samples[0]).sum() == IN_SQUARE.sum()


def test_an_image_elsewhere_is_taken_only_where_there_is_no_doubt(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        make(tmp_path, shape(), file=f"json/train/{name}.json", image=None, imagePath=f"{name}.png")
    write(tmp_path / "one/a.png", np.zeros((8, 10, 3), np.uint8))
    write(tmp_path / "two/a.png", np.zeros((8, 10, 3), np.uint8))
    write(tmp_path / "pictures/train/b.png", np.zeros((8, 10, 3), np.uint8))  # in a folder of the same name
    write(tmp_path / "pictures/val/b.png", np.zeros((8, 10, 3), np.uint8))
    make(tmp_path, shape("dog"), file="other/c.json", image="other/c.png", imagePath="c.png")  # of its own JSON file
    source = labelme.read(tmp_path, None, None)
    found = {item.name: item.image.relative_to(tmp_path).as_posix() for item in source.items if item.labelled}
    assert found == {
        "json/train/a": "json/train/a.png",
        "json/train/b": "pictures/train/b.png",
        "json/train/c": "json/train/c.png",
        "other/c": "other/c.png",
    }
    assert [(note.code, note.evidence["where"]) for note in source.notes] == [
        ("annotation.renamed", ["json/train/b"]),
        ("annotation.no_image", ["json/train/a", "json/train/c"]),
    ]


def test_named_folders_and_unlabelled_images(tmp_path: Path) -> None:
    make(tmp_path, shape(), file="json/train/a.json", image="photos/a.png")
    make(tmp_path, shape(), file="json/b.json", image="photos/x/b.png", imagePath="../photos/x/b.png")
    make(tmp_path, shape(), file="other/c.json", image="other/c.png", imagePath="c.png")
    write(tmp_path / "photos/x/new.png", np.zeros((3, 3), np.uint8))
    source = labelme.read(tmp_path, "json", "photos")
    assert {item.name: (item.split, item.labelled) for item in source.items} == {
        "json/b": (None, True),
        "json/train/a": (None, True),
        "photos/x/new": (None, False),
    }
    (tmp_path / "json").rename(tmp_path / "annotations")
    assert {item.name: item.split for item in labelme.read(tmp_path, None, "photos").items} == {
        "annotations/b": None,
        "train/annotations/a": "train",
        "other/c": None,
        "photos/x/new": None,
    }
    only = labelme.read(tmp_path, "other/c.json", None)
    assert [item.name for item in only.items] == ["other/c"]


def test_second_files_for_an_image_and_other_json_files(tmp_path: Path) -> None:
    make(tmp_path, shape())
    make(tmp_path, shape("dog"), file="a_copy.json")
    for name, text in (("package.json", '{"name": 1}'), ("list.json", "[]"), (".hidden.json", "{")):
        (tmp_path / name).write_text(text)
    source = labelme.read(tmp_path, None, None)
    assert [(item.name, [mark.label for mark in item.marks]) for item in source.items] == [("a", ["cat"])]
    assert [(note.code, note.sample, note.evidence["where"]) for note in source.notes] == [
        ("annotation.dropped", None, ["list.json", "package.json"]),
        ("annotation.duplicate", "a_copy", ["a_copy"]),
    ]


@pytest.mark.parametrize(
    ("size", "noted"),
    [
        ({"imageHeight": None, "imageWidth": None}, False),
        ({"imageHeight": 8.0, "imageWidth": 10}, False),
        ({"imageHeight": 10**9, "imageWidth": 10**9}, True),
        ({"imageHeight": -8, "imageWidth": 10}, True),
        ({"imageHeight": "8", "imageWidth": "10"}, True),
        ({"imageHeight": float("nan"), "imageWidth": 10}, True),
        ({"imageHeight": 8, "imageWidth": None}, True),
        ({"imageHeight": [8], "imageWidth": {}}, True),
    ],
)
def test_sizes_that_are_none(size: dict[str, Any], noted: bool, tmp_path: Path) -> None:
    notes = one(tmp_path, shape(), **size).notes
    assert [note.code for note in notes] == ["annotation.conflict"] * noted
    assert drawn(tmp_path).shape == (8, 10)


def test_a_size_that_is_not_the_images_is_an_error_when_read(tmp_path: Path) -> None:
    dataset = load_dataset(make(tmp_path, shape(), imageHeight=80, imageWidth=100))
    with pytest.raises(DataError, match="is 100x80 but the image"):
        dataset.read(dataset.samples[0])


@pytest.mark.parametrize("content", [b'{"shapes": [' + b"9" * 5000 + b"]}", b'{"shapes": "cat"}'])
def test_broken_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (make(tmp_path, shape()) / "a.json").write_bytes(content)
    with pytest.raises(DataError, match="not readable as JSON|`shapes` is no list") as error:
        labelme.read(tmp_path, None, None)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_files_beyond_any_size_are_refused(tmp_path: Path) -> None:
    with (make(tmp_path, shape()) / "a.json").open("r+b") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(DataError, match="larger than"):
        labelme.read(tmp_path, None, None)
    assert labelme.detect(tmp_path)


def test_odd_labels_make_a_dataset_that_can_be_described(tmp_path: Path) -> None:
    make(tmp_path, shape("\ud800 \0 ä\n"), shape("'\": #"), shape(float("nan")))
    assert load_dataset(tmp_path).classes.names == ["background", "? _ ä", "'\": #", "nan"]


def test_detection(tmp_path: Path) -> None:
    assert labelme.detect(tmp_path) is None
    (tmp_path / "x.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    assert labelme.detect(tmp_path) is None
    (tmp_path / "x.json").unlink()
    image = base64.b64encode(bytes(90_000)).decode()
    many = [shape(points=[[i, i] for i in range(900)]) for _ in range(9)]
    make(tmp_path, *many, file="d/e/f.json", imageData=image, version="3.16.7")
    assert labelme.detect(tmp_path) == "d/e/f.json holds shapes as LabelMe does"
    assert detect(tmp_path).file.layout == "labelme"


@pytest.fixture
def real() -> Path:
    folder = os.environ.get("MASKWRIGHT_REAL_DATA")
    if not folder:
        pytest.skip("MASKWRIGHT_REAL_DATA is not set: the real exports were not read")
    return Path(folder) / "exports/labelme"


def test_real_exports(real: Path) -> None:
    dataset = load_dataset(real)
    assert [sample.name for sample in dataset.samples] == [
        f"data_annotated/2011_{n}" for n in ("000003", "000006", "000025")
    ]
    assert dataset.classes.names[0] == "background" and dataset.classes.names[-1] == "tv/monitor"
    assert len(dataset.classes.names) == 21
    assert [len(sample.drawing.regions) for sample in dataset.samples] == [5, 10, 3]
    for sample in dataset.samples:
        # Filled by Pillow, which also draws the outline: half a pixel more on each side.
        data = json.loads((real / f"{sample.name}.json").read_text())
        picture = Image.new("L", (data["imageWidth"], data["imageHeight"]))
        ids = {"__ignore__": 255} | {name: index for index, name in enumerate(dataset.classes.names)}
        for item in data["shapes"]:
            ImageDraw.Draw(picture).polygon([tuple(point) for point in item["points"]], fill=ids[item["label"]])
        assert (dataset.read(sample)[1] == np.array(picture)).mean() > 0.99
    assert [note.code for note in dataset.notes] == ["annotation.clipped"]
