"""Label Studio: brushes against a decoder of the test, shapes against formulas, which annotation counts, where images are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.formats.roundtrip import drawn, named
from helpers import write
from maskwright.core.dataset import Dataset
from maskwright.data.formats import label_studio
from maskwright.data.formats.label_studio_brush import decode
from maskwright.data.opening import detect, load_dataset
from maskwright.errors import DataError

HEIGHT, WIDTH = 30, 40
ROWS, COLUMNS = np.indices((HEIGHT, WIDTH)) + 0.5


def reference(values: list[int]) -> list[int]:
    """The bytes of packed run lengths, as their documentation says it: one bit after the other."""
    bits = "".join(f"{value:08b}" for value in values)
    position = 0

    def take(size: int) -> int:
        nonlocal position
        position += size
        assert position <= len(bits)
        return int(bits[position - size : position], 2)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    found: list[int] = []
    while len(found) < total:
        repeats = take(1)
        length = take(sizes[take(2)]) + 1
        found += [take(word)] * length if repeats else [take(word) for _ in range(length)]
    assert len(found) == total
    return found


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[int], int, int]:
    """Any valid run lengths of a small image, with its height and width."""
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 7))
    sizes = draw(st.lists(st.integers(1, 16), min_size=4, max_size=4))
    total = height * width * 4
    bits = f"{total:032b}00111" + "".join(f"{size - 1:04b}" for size in sizes)
    left, value = total, st.sampled_from([0, 0, 1, 128, 255])
    while left:
        place = draw(st.integers(0, 3))
        length = draw(st.integers(1, min(left, 1 << sizes[place])))
        repeats = draw(st.booleans())
        left -= length
        bits += f"{repeats:b}{place:02b}{length - 1:0{sizes[place]}b}"
        bits += "".join(f"{draw(value):08b}" for _ in range(1 if repeats else length))
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)], height, width


@given(streams())
@settings(max_examples=300)
def test_brushes_are_what_a_slow_decoder_finds(stream: tuple[list[int], int, int]) -> None:
    values, height, width = stream
    alpha = np.array(reference(values)).reshape(height, width, 4)[..., 3]
    found = decode(values, height, width)
    assert (found is None) == (not alpha.any())
    if found is not None:
        inside, top, left = found.window(height, width)
        mask = np.zeros((height, width), bool)
        mask[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
        assert np.array_equal(mask, alpha > 0)


# What label-studio-sdk 2.1.2 (`converter.brush.encode_rle`) makes of one picture, in white and in a colour.
PICTURE = ["..##...", ".####..", "......#"]
WHITE = [0, 0, 0, 84, 57, 27, 252, 224, 19, 255, 223, 0, 191, 255, 135, 192, 35, 255, 0]
COLOUR = [0, 0, 0, 84, 57, 27, 252, 224, 0, 127, 128, 240, 0, 72, 25, 0, 127, 128, 240, 0, 72, 25, 23, 192, 0, 255, 1]
COLOUR += [224, 0, 144, 50, 0, 255, 1, 224, 0, 144, 50, 0, 255, 1, 224, 0, 144, 50, 0, 255, 1, 224, 0, 144, 50, 39, 0]
COLOUR += [0, 4, 0, 32, 0, 240, 160, 0, 31, 224, 60, 0, 18, 6, 64]


@pytest.mark.parametrize("values", [WHITE, COLOUR])
def test_brushes_of_the_tool_itself(values: list[int]) -> None:
    found = decode(values, 3, 7)
    assert found is not None
    inside, top, left = found.window(3, 7)
    assert (top, left) == (0, 0)
    assert ["".join(".#"[int(on)] for on in row) for row in inside] == PICTURE


def test_rows_without_a_pixel_are_left_out() -> None:
    bits = f"{5 * 2 * 4:032b}00111" + "0010001101111111" + "110" + f"{23:08b}" + f"{0:08b}" + "100011" + f"{9:08b}"
    bits += "110" + f"{11:08b}" + f"{0:08b}"
    bits += "0" * (-len(bits) % 8)
    found = decode([int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)], 5, 2)
    assert found is not None and found.box == (0, 3, 2, 1) and found.counts.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "values",
    [
        None,
        "AAAA",
        [],
        [1, 2],
        [*WHITE, 256],
        [*WHITE[:-1], 1.5],
        [True, *WHITE[1:]],
        WHITE[:-3],
        [0, 0, 0, 80, *WHITE[4:]],
    ],
)
def test_brushes_that_are_refused(values: Any) -> None:
    with pytest.raises(ValueError):
        decode(values, 3, 7)


def region(kind: str = "polygon", label: str = "cat", **value: Any) -> dict[str, Any]:
    return {
        "id": "a",
        "type": f"{kind}labels",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "to_name": "image",
        "value": {f"{kind}labels": [label], **value},
    }


SQUARE = region(points=[[25, 20], [75, 20], [75, 80], [25, 80]])
IN_SQUARE = (COLUMNS > 10) & (COLUMNS < 30) & (ROWS > 6) & (ROWS < 24)


def task(*results: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "annotations": [{"id": 7, "result": list(results)}],
        "data": {"image": "/data/upload/1/a.png"},
    } | more


def make(folder: Path, *tasks: dict[str, Any], images: tuple[str, ...] = ("images/a.png",)) -> Path:
    (folder / "export.json").write_text(json.dumps(tasks))
    for name in images:
        write(folder / name, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return folder


def codes(dataset: Dataset) -> list[str]:
    return [note.code for note in dataset.notes if "found by name" not in note.message]


def turned(left: float, top: float, width: float, height: float, degrees: float) -> np.ndarray:
    """The pixels of a box that turns clockwise around its upper left corner."""
    angle = np.deg2rad(degrees)
    x, y = COLUMNS - left, ROWS - top
    along, down = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    return (along > 0) & (along < width) & (down > 0) & (down < height)


# Name -> a region, and its pixels; percentages of an image that is no square.
SHAPES: dict[str, tuple[dict[str, Any], np.ndarray]] = {
    "polygon": (SQUARE, IN_SQUARE),
    "rectangle": (region("rectangle", x=25, y=20, width=50, height=60, rotation=0), IN_SQUARE),
    "rectangle turned": (region("rectangle", x=50, y=20, width=25, height=50, rotation=30), turned(20, 6, 10, 15, 30)),
    "rectangle turned back": (
        region("rectangle", x=20, y=60, width=30, height=20, rotation=340),
        turned(8, 18, 12, 6, -20),
    ),
    "ellipse": (
        region("ellipse", x=50, y=50, radiusX=20, radiusY=30),
        ((COLUMNS - 20) / 8) ** 2 + ((ROWS - 15) / 9) ** 2 < 1,
    ),
    "ellipse turned": (
        region("ellipse", x=50, y=50, radiusX=30, radiusY=10, rotation=90),
        ((COLUMNS - 20) / 3) ** 2 + ((ROWS - 15) / 12) ** 2 < 1,
    ),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shapes(case: str, tmp_path: Path) -> None:
    one, pixels = SHAPES[case]
    found = drawn(make(tmp_path, task(one))) == "cat"
    # Points on an arc lie within a twentieth of a pixel of it.
    assert np.count_nonzero(found != pixels) <= (8 if "ellipse" in case else 0)
    dataset = load_dataset(tmp_path)
    assert dataset[0].provenance == ("box" if "rectangle" in case else "hand")


def test_a_brush_lies_on_what_comes_before_it(tmp_path: Path) -> None:
    brush = region("brush", "dog", format="rle", rle=WHITE) | {"original_width": 7, "original_height": 3}
    (tmp_path / "e.json").write_text(
        json.dumps(
            [
                task(
                    region(points=[[0, 0], [100, 0], [100, 100], [0, 100]])
                    | {"original_width": 7, "original_height": 3},
                    brush,
                )
            ]
        )
    )
    write(tmp_path / "a.png", np.zeros((3, 7, 3), np.uint8))
    assert np.array_equal(drawn(tmp_path) == "dog", np.array([list(row) for row in PICTURE]) == "#")
    assert (drawn(tmp_path) != "background").all()


def test_labels_of_their_own_belong_to_the_shape_of_the_same_id(tmp_path: Path) -> None:
    shape = SQUARE | {"type": "polygon", "value": {"points": SQUARE["value"]["points"]}}
    label = SQUARE | {"type": "labels", "value": {"points": SQUARE["value"]["points"], "labels": ["dog"]}}
    make(tmp_path, task(shape, label))
    assert np.array_equal(drawn(tmp_path) == "dog", IN_SQUARE)
    make(tmp_path, task(label))
    assert np.array_equal(drawn(tmp_path) == "dog", IN_SQUARE)


def test_regions_without_any_label_are_of_one_class(tmp_path: Path) -> None:
    shape = SQUARE | {"type": "polygon", "value": {"points": SQUARE["value"]["points"]}}
    assert np.array_equal(drawn(make(tmp_path, task(shape))) == "region", IN_SQUARE)
    assert codes(load_dataset(tmp_path)) == ["annotation.renamed"]


OTHER = region(label="dog", points=[[0, 0], [50, 0], [50, 100], [0, 100]])
# Name -> annotations, the class that is drawn (None: not labelled), and the notes.
COUNTING: dict[str, tuple[list[dict[str, Any]], str | None, list[str]]] = {
    "none": ([], None, []),
    "cancelled": ([{"result": [SQUARE], "was_cancelled": True}], None, ["annotation.dropped"]),
    "cancelled and another": (
        [{"result": [OTHER]}, {"result": [SQUARE], "was_cancelled": True, "updated_at": "2025"}],
        "dog",
        ["annotation.dropped"],
    ),
    "the last": (
        [{"result": [OTHER], "updated_at": "2025-03-01"}, {"result": [SQUARE], "updated_at": "2025-01-01"}],
        "dog",
        ["annotation.conflict"],
    ),
    "the ground truth": (
        [{"result": [SQUARE], "ground_truth": True, "updated_at": "2024"}, {"result": [OTHER], "updated_at": "2025"}],
        "cat",
        ["annotation.conflict"],
    ),
    "the last of the same time": ([{"result": [SQUARE]}, {"result": [OTHER]}], "dog", ["annotation.conflict"]),
    "empty": ([{"result": []}], "background", ["annotation.conflict"]),
}


@pytest.mark.parametrize("case", COUNTING)
def test_which_annotation_counts(case: str, tmp_path: Path) -> None:
    annotations, label, noted = COUNTING[case]
    dataset = load_dataset(make(tmp_path, task(annotations=annotations)), format="label_studio")
    assert codes(dataset) == noted and dataset[0].labelled == (label is not None)
    if label:
        assert {*np.unique(named(dataset.read_mask(dataset[0]), dataset.classes))} == {"background", label}


def test_predictions_and_choices_do_not_count(tmp_path: Path) -> None:
    choice = {"type": "choices", "value": {"choices": ["night"]}, "to_name": "image"}
    make(tmp_path, task(SQUARE, choice, predictions=[{"result": [OTHER]}]))
    assert np.array_equal(drawn(tmp_path) == "cat", IN_SQUARE)
    assert [note.message for note in load_dataset(tmp_path).notes][:2] == [
        "1 attribute says what no mask can hold (choices)",
        "1 image is found by name, not at the place that is given (a)",
    ]


def test_json_min(tmp_path: Path) -> None:
    values = [{**SQUARE["value"], "original_width": WIDTH, "original_height": HEIGHT}]
    make(tmp_path, {"image": "/data/upload/1/a.png", "id": 1, "label": values, "annotator": 1, "annotation_id": 3})
    assert np.array_equal(drawn(tmp_path) == "cat", IN_SQUARE)


# What the task says, where the image is, its name and split.
PLACES: dict[str, tuple[str, str, str, str | None]] = {
    "upload": ("/data/upload/1/0a1b2c3d-a.png", "images/0a1b2c3d-a.png", "0a1b2c3d-a", None),
    "upload, as it was called before": ("/data/upload/1/0a1b2c3d-a.png", "images/a.png", "a", None),
    "served": ("/data/local-files/?d=data/train/a.png", "images/train/a.png", "train/a", "train"),
    "served, with signs": ("/data/local-files/?d=x%20y/a%C3%A4.png", "x y/aä.png", "x y/aä", None),
    "url": ("https://example.org/b/val/a.png?sign=1", "val/images/a.png", "val/a", "val"),
    "bucket": ("s3://bucket/x/a.png", "pictures/a.png", "pictures/a", None),
    "windows": ("C:\\me\\a.png", "a.png", "a", None),
    "upper case": ("/data/upload/1/A.PNG", "images/a.png", "a", None),
}


@pytest.mark.parametrize("case", PLACES)
def test_where_images_are(case: str, tmp_path: Path) -> None:
    said, place, name, split = PLACES[case]
    dataset = load_dataset(make(tmp_path, task(SQUARE, data={"image": said}), images=(place,)))
    assert [(s.name, s.split, s.image) for s in dataset.samples] == [(name, split, tmp_path / place)]
    assert dataset.read_mask(dataset[0]).sum() == IN_SQUARE.sum()


def test_the_folder_decides_between_images_of_one_name(tmp_path: Path) -> None:
    tasks = [
        task(one, id=number, data={"image": f"/data/local-files/?d=all/{folder}/a.png"})
        for number, (folder, one) in enumerate((("x", SQUARE), ("y", OTHER)))
    ]
    dataset = load_dataset(make(tmp_path, *tasks, images=("pictures/x/a.png", "pictures/y/a.png", "pictures/y/b.png")))
    found = {s.name: s.labelled and {*named(dataset.read_mask(s), dataset.classes).flat} for s in dataset.samples}
    assert found == {
        "pictures/x/a": {"background", "cat"},
        "pictures/y/a": {"background", "dog"},
        "pictures/y/b": False,
    }


def test_an_image_that_could_be_two_files_is_missing(tmp_path: Path) -> None:
    source = label_studio.read(make(tmp_path, task(SQUARE), images=("x/a.png", "y/a.png")), None, None)
    assert [(item.name, item.image.exists()) for item in source.items] == [("a", False)]
    assert [note.code for note in source.notes] == ["annotation.no_image"]


def png_export(folder: Path, with_json: bool = True) -> Path:
    for number in (1, 2):
        write(folder / f"images/street_{number}.png", np.zeros((4, 6, 3), np.uint8))
    for task_number, label, row in ((1, "Car", 0), (1, "side-walk", 1), (2, "Car", 2)):
        mask = np.zeros((4, 6), np.uint8)
        mask[row] = 255
        write(folder / f"export/task-{task_number}-annotation-{task_number + 10}-by-me@x.org-tag-{label}-0.png", mask)
    tasks = [
        {"id": n, "data": {"image": f"/data/upload/1/street_{n}.png"}, "annotations": [{"id": n + 10}]} for n in (1, 2)
    ]
    if with_json:
        (folder / "tasks.json").write_text(json.dumps(tasks))
    return folder


def test_brush_labels_as_png_files(tmp_path: Path) -> None:
    dataset = load_dataset(png_export(tmp_path))
    found = {s.name: named(dataset.read_mask(s), dataset.classes)[:, 0].tolist() for s in dataset.samples}
    assert found == {
        "street_1": ["Car", "side-walk", "background", "background"],
        "street_2": ["background", "background", "Car", "background"],
    }
    assert codes(dataset) == []


def test_brush_labels_as_arrays(tmp_path: Path) -> None:
    wanted = load_dataset(png_export(tmp_path / "png"))
    png_export(tmp_path / "npy")
    for path in sorted((tmp_path / "npy/export").iterdir()):
        np.save(path.with_suffix(".npy"), np.array(Image.open(path)))
        path.unlink()
    dataset = load_dataset(tmp_path / "npy")
    assert dataset.classes.names == wanted.classes.names and len(dataset) == 2
    for sample in dataset.samples:
        assert np.array_equal(dataset.read_mask(sample), wanted.read_mask(wanted[sample.name]))


def test_brush_labels_without_the_tasks_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"task-1-annotation-11.*its number says a task.*export the same project as JSON"
    ):
        load_dataset(png_export(tmp_path, with_json=False))


def test_regions_of_the_json_count_before_png_files(tmp_path: Path) -> None:
    png_export(tmp_path)
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    tasks[0]["annotations"][0]["result"] = [SQUARE | {"original_width": 6, "original_height": 4}]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    dataset = load_dataset(tmp_path)
    assert {*named(dataset.read_mask(dataset["street_1"]), dataset.classes).flat} == {"background", "cat"}
    assert [note.message for note in dataset.notes if "mask files are not read" in note.message]


def test_detection_by_content(tmp_path: Path) -> None:
    make(tmp_path, task(SQUARE), images=("p/a.png",))
    (tmp_path / "export.json").rename(tmp_path / "p/anything.json")
    found = detect(tmp_path)
    assert found.file.layout == "label_studio" and found.reasons["layout"].startswith("p/anything.json holds tasks")
    coco = {"images": [], "annotations": [{"result": 1}], "categories": [], "data": {}}
    (tmp_path / "p/anything.json").write_text(json.dumps(coco))
    assert label_studio.detect(tmp_path) is None
