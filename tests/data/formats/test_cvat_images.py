"""CVAT for images: masks exactly through the writer, every variant of the XML, and what hostile files do."""

from __future__ import annotations

import math
import os
import tempfile
import tracemalloc
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.formats.roundtrip import CLASSES, masks, named, through
from helpers import write
from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.findings import Severity
from maskwright.core.sample import Sample
from maskwright.data.formats.cvat_images import CvatImagesWriter, detect, read
from maskwright.data.formats.source import AnnotationSet, WriteOptions
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError

TREES = [
    CLASSES,
    ClassTree.flat(["dog", "a<b> & \"c\" 'd'\n", "Straße 犬"], ids=[5, 9, 300]),
    ClassTree.flat(["cat", "bg", " padded "], ids=[3, 4, 5]),
]
LABELS = "<labels><label><name>cat</name><color>#ff0000</color></label><label><name>dog</name></label></labels>"


def image(*shapes: str, name: str = "a.png", size: tuple[object, object] = (8, 10), extra: str = "") -> str:
    """An <image>; size is (height, width)."""
    return f'<image id="0" name="{name}" width="{size[1]}" height="{size[0]}" {extra}>{"".join(shapes)}</image>'


def document(*images: str, meta: str = f"<task>{LABELS}</task>") -> str:
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta>{meta}</meta>{"".join(images)}</annotations>'


def folder_with(folder: Path, text: str | bytes, name: str = "annotations.xml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def drawn(folder: Path, *shapes: str, size: tuple[int, int] = (8, 10)) -> np.ndarray:
    """The class names (H, W) of one image with these shapes."""
    write(folder / "images" / "a.png", np.zeros((*size, 3), np.uint8))
    dataset = load_dataset(folder_with(folder, document(image(*shapes, size=size))), "cvat_images")
    return named(dataset.read_mask(dataset.samples[0]), dataset.classes)


def codes(source: AnnotationSet) -> list[str]:
    return [finding.code for finding in source.notes]


def shape(tag: str = "box", **attributes: object) -> str:
    values = {"label": "cat", "xtl": 1, "ytl": 2, "xbr": 4, "ybr": 5} | attributes
    return (
        f"<{tag} {' '.join(f'{key}={chr(34)}{value}{chr(34)}' for key, value in values.items() if value is not None)}/>"
    )


# -- writing and reading back -----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.data(), st.booleans(), st.sampled_from(["train", None]))
def test_masks_come_back_exactly(data, polygons, split) -> None:
    classes = data.draw(st.sampled_from(TREES))
    given_ = {name: data.draw(masks(classes)) for name in ("a", "Deep/er/b.c", "ü & 'ñ'")}
    with tempfile.TemporaryDirectory() as folder:
        found, dropped = through(
            "cvat_images", Path(folder) / "out", given_, classes, WriteOptions(polygons=polygons), split
        )
    assert not dropped and set(found) == set(given_)
    assert all((found[name] == named(mask, classes)).all() for name, mask in given_.items())


def painted_by_hand(element: ElementTree.Element) -> np.ndarray:
    """The shapes of an <image> as CVAT draws them: run lengths along rows of a box, rings by the even-odd rule."""
    height, width = int(element.get("height", "")), int(element.get("width", ""))
    canvas = np.full((height, width), "background", dtype=object)
    for item in sorted(element, key=lambda item: int(item.get("z_order", ""))):
        if item.tag == "mask":
            left, top, wide = (int(item.get(key, "")) for key in ("left", "top", "width"))
            bits = [k % 2 for k, count in enumerate(item.get("rle", "").split(",")) for _ in range(int(count))]
            assert len(bits) == wide * int(item.get("height", ""))
            inside = [(top + i // wide, left + i % wide) for i, bit in enumerate(bits) if bit]
        else:
            ring = [tuple(map(float, pair.split(","))) for pair in item.get("points", "").split(";")]
            edges = list(zip(ring, ring[1:] + ring[:1], strict=True))
            inside = [
                (r, c)
                for r in range(height)
                for c in range(width)
                if sum(
                    (a[1] > r + 0.5) != (b[1] > r + 0.5)
                    and c + 0.5 < a[0] + (b[0] - a[0]) * (r + 0.5 - a[1]) / (b[1] - a[1])
                    for a, b in edges
                )
                % 2
            ]
        for place in inside:
            canvas[place] = item.get("label")
    return canvas.astype(str)


@settings(max_examples=15)
@given(masks(), st.booleans())
def test_what_is_written_means_the_same_to_another_reader(mask, polygons) -> None:
    with tempfile.TemporaryDirectory() as folder:
        through("cvat_images", Path(folder) / "out", {"a": mask}, options=WriteOptions(polygons=polygons))
        root = ElementTree.parse(Path(folder) / "out" / "annotations.xml").getroot()
    (element,) = root.iter("image")
    assert (painted_by_hand(element) == named(mask, CLASSES)).all()
    assert {item.tag for item in element} <= {"polygon" if polygons else "mask"}


def test_tolerance_keeps_most_of_a_shape(tmp_path) -> None:
    rows, columns = np.indices((60, 80))
    mask = (((rows - 30) / 20) ** 2 + ((columns - 40) / 30) ** 2 < 1).astype(np.uint8)
    found, _ = through("cvat_images", tmp_path / "out", {"a": mask}, options=WriteOptions(1.0, polygons=True))
    cat, wanted = found["a"] == "cat", mask == 1
    assert 0.9 < (cat & wanted).sum() / (cat | wanted).sum() < 1


def test_what_the_writer_writes(tmp_path) -> None:
    writer = CvatImagesWriter(tmp_path, CLASSES, WriteOptions())
    samples = [
        Sample("train/b/x", Path("q.JPG"), split="train"),
        Sample("val/b/x", Path("q.png"), split="val"),
        Sample("loose", Path("q.png")),
    ]
    assert [writer.image_path(s) for s in samples] == ["images/train/b/x.jpg", "images/val/b/x.png", "images/loose.png"]
    mask = np.array([[0, 1, 0], [1, 0, 2]], np.uint8)
    assert [writer.add(sample, mask) for sample in samples] == [[], [], []]
    writer.finish()
    root = ElementTree.parse(tmp_path / "annotations.xml").getroot()
    assert [path.name for path in tmp_path.iterdir()] == ["annotations.xml"]
    assert root.findtext("version") == "1.1"
    assert (root.findtext("meta/project/subsets") or "").split("\n") == ["default", "train", "val"]
    labels = [(label.findtext("name"), label.findtext("color")) for label in root.iterfind("meta/project/labels/label")]
    assert labels == [("background", "#000000"), ("cat", "#e69f00"), ("dog", "#56b4e9"), ("a b/c", "#009e73")]
    assert [
        (i.get("id"), i.get("name"), i.get("subset"), i.get("width"), i.get("height")) for i in root.iter("image")
    ] == [("0", "b/x.jpg", "train", "3", "2"), ("1", "b/x.png", "val", "3", "2"), ("2", "loose.png", None, "3", "2")]
    # Diagonal neighbours are one shape.
    assert [(m.get("label"), m.get("rle"), m.get("left"), m.get("top")) for m in root[2]] == [
        ("cat", "1, 2, 1", "0", "0"),
        ("dog", "0, 1", "2", "1"),
    ]


def test_without_splits_a_task_is_written_and_ignore_is_a_label(tmp_path) -> None:
    through("cvat_images", tmp_path / "out", {"a": np.array([[0, IGNORE]], np.uint8)}, split=None)
    root = ElementTree.parse(tmp_path / "out" / "annotations.xml").getroot()
    assert root.findtext("meta/task/size") == "1" and root.findtext("meta/task/mode") == "annotation"
    assert [label.findtext("name") for label in root.iter("label")][-1] == "ignore"
    dataset = load_dataset(tmp_path / "out", "cvat_images")
    assert dataset.classes.names == CLASSES.names and dataset.read_mask(dataset.samples[0]).tolist() == [[0, IGNORE]]


@pytest.mark.parametrize("name", ["a\x00b", "a\x1fb", "\ud800", "\uffff"])
def test_names_that_xml_cannot_hold(tmp_path, name) -> None:
    with pytest.raises(DataError, match="XML cannot hold"):
        CvatImagesWriter(tmp_path, CLASSES, WriteOptions()).add(Sample(name, Path("a.png")), np.zeros((2, 2), np.uint8))
    with pytest.raises(DataError, match="XML cannot hold"):
        CvatImagesWriter(tmp_path, ClassTree.flat([name]), WriteOptions())


def test_a_split_does_not_lead_out_of_the_folder(tmp_path) -> None:
    with pytest.raises(DataError, match="parent folder"):
        CvatImagesWriter(tmp_path, CLASSES, WriteOptions()).image_path(Sample("../x/a", Path("a.png"), split="../x"))


# -- what CVAT writes -------------------------------------------------------------------------------------------------


def test_the_real_export() -> None:
    data = os.environ.get("MASKWRIGHT_REAL_DATA")
    if not data:
        pytest.skip("MASKWRIGHT_REAL_DATA is not set: the real export was not read")
    root = Path(data) / "exports" / "cvat_images"
    assert detect(root) == "CVAT's annotations in annotations.xml"
    dataset = load_dataset(root)
    assert dataset.classes.names == ["background", "label1", "label2"]
    assert [(s.name, s.split, s.provenance) for s in dataset.samples] == [
        (f"{split}/img{i}", split, "hand" if i else "box") for split in ("test", "train", "val") for i in (0, 1)
    ]
    for sample in dataset.samples:
        _, mask = dataset.read(sample)  # the images are there and have the size that the file says
        wanted = np.zeros((10, 10) if sample.name.endswith("1") else (8, 8), np.uint8)
        if sample.provenance == "box":  # 0,2 to 4,4
            wanted[2:4, 0:4] = 1
        else:  # the triangle 1,2 3,4 6,5: row r is cut at its middle
            wanted[2, 1] = wanted[3, 2] = wanted[4, 4] = 1
        assert (mask == wanted).all()
    assert {(n.evidence["kind"], n.evidence["count"]) for n in dataset.notes} == {
        ("occluded", 3),
        ("attribute", 12),
        ("polyline", 3),
        ("points", 3),
    }


def test_boxes_are_weak_and_may_be_turned(tmp_path) -> None:
    found = drawn(tmp_path, shape(xtl=2, ytl=3, xbr=8, ybr=5, rotation=90.0))
    rows, columns = np.nonzero(found == "cat")
    assert (rows.min(), rows.max(), columns.min(), columns.max(), len(rows)) == (1, 6, 4, 5, 12)
    assert load_dataset(tmp_path).samples[0].provenance == "box"


@pytest.mark.parametrize("rotation", [0.0, 30.0])
def test_ellipses(tmp_path, rotation) -> None:
    found = drawn(tmp_path, shape("ellipse", cx=40, cy=30, rx=25, ry=12, rotation=rotation or None), size=(60, 80))
    rows, columns = np.indices((60, 80)) + 0.5
    x, y, angle = columns - 40, rows - 30, math.radians(rotation)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    wanted = (along / 25) ** 2 + (across / 12) ** 2 < 1
    assert ((found == "cat") != wanted).sum() <= 4  # the outline is within 0.05 px
    assert load_dataset(tmp_path).samples[0].provenance == "hand"


def test_masks_reaching_outside_are_cut_off(tmp_path) -> None:
    found = drawn(tmp_path, shape("mask", rle="1, 2, 0, 3", left=-1, top=7, width=3, height=2))
    assert np.argwhere(found == "cat").tolist() == [[7, 0], [7, 1]]
    (finding,) = load_dataset(tmp_path).notes
    assert (finding.code, finding.sample, finding.evidence["count"]) == ("annotation.clipped", "a", 1)


def test_z_order_decides_and_then_the_order_of_the_file(tmp_path) -> None:
    square = "0,0;4,0;4,4;0,4"
    assert (
        drawn(tmp_path, shape("polygon", label="dog", points=square, z_order=1), shape("polygon", points=square))[0, 0]
        == "dog"
    )
    assert drawn(tmp_path, shape("polygon", label="dog", points=square), shape("polygon", points=square))[0, 0] == "cat"
    assert drawn(tmp_path, shape("polygon", points=square), shape(label="dog", xtl=0, ytl=0, z_order=2))[0, 0] == "dog"
    assert drawn(tmp_path, shape("polygon", points=square, z_order=-1))[0, 0] == "cat"


@pytest.mark.parametrize(
    "meta",
    [
        f"<task>{LABELS}</task>",
        f"<project><tasks><task><id>3</id></task></tasks>{LABELS}</project>",
        f"<job>{LABELS}</job>",
        "<task><labels><label><name>cat</name><color>#FF0000</color><type>any</type><attributes><attribute><name>age</name>"
        "<values>1\n2</values></attribute></attributes></label><label><attributes/><name>dog</name><color/></label></labels></task>",
    ],
)
def test_labels_of_tasks_projects_and_jobs(tmp_path, meta) -> None:
    source = read(folder_with(tmp_path, document(image(), meta=meta)), None, None)
    assert [(label.name, label.id, label.colour) for label in source.labels] == [
        ("cat", None, (255, 0, 0)),
        ("dog", None, None),
    ]


def test_labels_without_areas_are_no_classes_unless_used(tmp_path) -> None:
    rows = [("cat", "any"), ("pose", "skeleton"), ("good", "tag"), ("way", "polyline"), ("odd", "points")]
    labels = "".join(f"<label><name>{name}</name><type>{kind}</type></label>" for name, kind in rows)
    labels += "<label><name>knee</name><parent>pose</parent></label>"
    source = read(
        folder_with(tmp_path, document(image(shape(label="odd")), meta=f"<task><labels>{labels}</labels></task>")),
        None,
        None,
    )
    assert [label.name for label in source.labels] == ["cat", "odd"]
    assert source.notes[-1].code == "annotation.dropped" and source.notes[-1].evidence["count"] == 4


def test_labels_that_only_shapes_name_become_classes(tmp_path) -> None:
    assert (drawn(tmp_path, shape(label="bird")) == "bird").sum() == 9


def test_what_masks_cannot_hold_is_counted_once_for_each_kind(tmp_path) -> None:
    text = document(
        image(
            shape(occluded=1, group_id=4),
            shape(group_id=0, occluded=0),
            shape("polyline", points="1,2;3,4"),
            shape("points", points="1,2"),
            shape("points", points="1,2"),
            shape("cuboid", xtl1=1),
            '<tag label="good"/>',
            '<skeleton label="p"><points label="knee" points="1,2"><attribute name="x">1</attribute></points></skeleton>',
            '<box label="cat" xtl="0" ytl="0" xbr="1" ybr="1"><attribute name="age">3</attribute></box>',
            "<cloud/><blob/>",
        )
    )
    source = read(folder_with(tmp_path, text), None, None)
    assert {
        finding.evidence["kind"]: finding.evidence["count"] for finding in source.notes if "kind" in finding.evidence
    } == {
        "polyline": 1,
        "points": 2,
        "cuboid": 1,
        "skeleton": 1,
        "tag": 1,
        "attribute": 2,
        "occluded": 1,
        "group": 1,
        "unknown": 2,
    }
    assert len(source.items[0].marks) == 3
    assert {finding.evidence.get("kind") for finding in source.notes if finding.severity is Severity.INFO} == {
        "attribute",
        "occluded",
        "group",
    }


@pytest.mark.parametrize(
    ("place", "name", "extra"),
    [
        ("images/train/a.png", "a.png", 'subset="train"'),
        ("images/a.png", "a.png", 'subset="train"'),
        ("images/a.png", "a.png", ""),
        ("train/a.png", "a.png", 'subset="train"'),
        ("a.png", "a.png", ""),
        ("images/x/y/a.png", "x/y/a.png", ""),
        ("images/x/y/a.png", "x\\y\\a.png", ""),
        ("deep/down/x/a.png", "x/a.png", ""),
        ("images/frame_000001.PNG", "frame_000001", ""),
        ("images/A.JPG", "A.jpg", ""),
        ("images/default/a.png", "a.png", 'subset="default"'),
    ],
)
def test_where_images_are(tmp_path, place, name, extra) -> None:
    write(tmp_path / place, np.zeros((8, 10, 3), np.uint8))
    source = read(folder_with(tmp_path, document(image(name=name, extra=extra))), None, None)
    assert source.items[0].image == tmp_path / place and not source.notes
    split = "train" if "train" in extra else None
    assert source.items[0].split == split and source.items[0].size == (8, 10)
    assert source.items[0].name == (f"{split}/" if split else "") + name.replace("\\", "/").removesuffix(
        ".png"
    ).removesuffix(".jpg")


def test_images_in_a_folder_that_is_named(tmp_path) -> None:
    for place in ("wrong/a.png", "right/a.png"):
        write(tmp_path / place, np.zeros((8, 10, 3), np.uint8))
    folder_with(tmp_path, document(image()))
    assert read(tmp_path, None, "right").items[0].image == tmp_path / "right" / "a.png"
    source = read(tmp_path, "annotations.xml", None)  # two fit equally well
    assert codes(source) == ["annotation.no_image"] and not source.items[0].image.exists()
    for images, why in (("none", "no such folder"), ("../x", "parent folder")):
        with pytest.raises(DataError, match=why):
            read(tmp_path, None, images)


def test_missing_images_are_one_note(tmp_path) -> None:
    source = read(folder_with(tmp_path, document(*(image(name=f"{i}.png") for i in range(9)))), None, None)
    (finding,) = source.notes
    assert finding.code == "annotation.no_image" and finding.evidence["count"] == 9
    assert finding.message == "9 image files are not there (0, 1, 2 and 6 more)"
    assert source.items[4].image == tmp_path / "images" / "4.png"


def test_several_files_are_read_together(tmp_path) -> None:
    folder_with(tmp_path, document(image(shape()), image(name="b.png")), "task_1.xml")
    folder_with(
        tmp_path,
        document(image(), image(name="c.png"), meta="<task><labels><label><name>bird</name></label></labels></task>"),
        "task_2.xml",
    )
    folder_with(tmp_path, "<annotation/>", "other.xml")
    assert detect(tmp_path) == "CVAT's annotations in task_1.xml, task_2.xml"
    source = read(tmp_path, None, None)
    assert [(item.name, len(item.marks), item.source.name) for item in source.items] == [
        ("a", 1, "task_1.xml"),
        ("b", 0, "task_1.xml"),
        ("c", 0, "task_2.xml"),
    ]
    assert [label.name for label in source.labels] == ["cat", "dog", "bird"]
    assert codes(source) == ["annotation.duplicate", "annotation.no_image"]
    assert len(read(tmp_path, "task_2.xml", None).items) == 2


def test_images_that_differ_in_their_ending_keep_it(tmp_path) -> None:
    source = read(
        folder_with(tmp_path, document(image(name="a.jpg"), image(name="a.png"), image(name="a.png"))), None, None
    )
    assert [item.name for item in source.items] == ["a", "a.png"]
    assert codes(source)[:2] == ["annotation.duplicate", "annotation.renamed"]


def test_videos_are_refused_with_the_way_out(tmp_path) -> None:
    text = document('<track id="0" label="cat"><box frame="0" outside="0" xtl="1" ytl="1" xbr="2" ybr="2"/></track>')
    with pytest.raises(DataError, match="give the format `cvat_video`"):
        load_dataset(folder_with(tmp_path, text), "cvat_images")


@pytest.mark.parametrize(
    "text", ["<annotation><version>1.1</version></annotation>", "<a/>", "", "<annotations/>", "\xff\xfe"]
)
def test_other_files_are_not_detected(tmp_path, text) -> None:
    assert detect(folder_with(tmp_path, text)) is None and detect(tmp_path / "none") is None


# -- hostile files ----------------------------------------------------------------------------------------------------

HUGE = "9" * 400
SHAPES = [
    shape(label=""),
    shape(rotation="x"),
    shape(z_order="inf"),
    shape("polygon"),
    shape("polygon", points="1,2;3;4,5"),
    shape("polygon", points="1;2;3"),
    shape("polygon", points=";;;"),
    shape("ellipse", cx=1, cy=1, rx=-3, ry=2),
    shape("ellipse", cx=1, cy=1, rx="nan", ry=2),
    shape("mask"),
    shape("mask", rle="", left=0, top=0, width=2, height=2),
    shape("mask", rle="1.5,2.5", left=0, top=0, width=2, height=2),
    shape("mask", rle="4", left=0, top=0, width="nan", height=2),
    shape("mask", rle="4", left=0, top=0, width=-2, height=-2),
]


@pytest.mark.parametrize("hostile", SHAPES)
def test_shapes_that_cannot_be_used_are_noted_and_the_rest_is_kept(tmp_path, hostile) -> None:
    found = drawn(tmp_path, hostile, shape("polygon", label="dog", points="0,0;2,0;2,2;0,2"))
    assert (found == "dog").sum() == 4 and (found == "background").sum() == 76
    finding, *others = load_dataset(tmp_path).notes
    assert (finding.code, finding.sample, finding.evidence["count"]) == ("annotation.invalid", "a", 1) and not others
    assert "\n" not in finding.message and len(finding.message) < 200


def test_invalid_shapes_are_one_note(tmp_path) -> None:
    source = read(folder_with(tmp_path, document(image(*SHAPES), image(*SHAPES, name="b.png"))), None, None)
    (finding,) = [finding for finding in source.notes if finding.code == "annotation.invalid"]
    assert finding.evidence["count"] == 2 * len(SHAPES) and finding.evidence["samples"] == ["a", "b"]


@pytest.mark.parametrize(
    "hostile",
    [
        shape(xtl=-1e6, ytl=-1e6, xbr=1e6, ybr=1e6),
        shape("polygon", points="-999999,-999999;999999,0;0,999999"),
        shape("ellipse", cx=-1e6, cy=1e6, rx=1e4, ry=1e4),
        shape(
            "mask",
            rle=f"0,{10**8}," + "0," * 9 + f"{10**8}",
            left=-(10**5),
            top=-(10**5),
            width=10**5,
            height=2 * 10**3,
        ),
        shape("mask", rle="0,4294967295,4294967295,0,1410065410", left=0, top=0, width=10**5, height=10**5),
    ],
)
def test_shapes_far_outside_take_no_memory(tmp_path, hostile) -> None:
    tracemalloc.start()
    drawn(tmp_path, hostile)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("size", [(0, 5), (-3, -3), ("1e3", 5), (HUGE, HUGE), ("", "")])
def test_sizes_that_cannot_be_are_taken_from_the_image(tmp_path, size) -> None:
    write(tmp_path / "images" / "a.png", np.zeros((6, 7, 3), np.uint8))
    source = read(folder_with(tmp_path, document(image(shape(), size=size))), None, None)
    assert codes(source) == ["annotation.invalid"] and source.items[0].size is None
    dataset = load_dataset(tmp_path)
    assert dataset.read_mask(dataset.samples[0]).shape == (6, 7)


@pytest.mark.parametrize("name", ["", ".", "a&#10;b.png", "&#9;"])
def test_images_without_a_usable_name_are_left_out(tmp_path, name) -> None:
    source = read(folder_with(tmp_path, document(image(shape(), name=name), image(name="b.png"))), None, None)
    assert [item.name for item in source.items] == ["b"] and codes(source)[0] == "annotation.invalid"


def test_memory_grows_with_what_is_kept_and_not_with_the_file(tmp_path) -> None:
    line = shape("polyline", points=";".join("123.45,678.90" for _ in range(500)))
    folder_with(tmp_path, document(image(*[line] * 2000)))
    assert (tmp_path / "annotations.xml").stat().st_size > 14_000_000
    tracemalloc.start()
    source = read(tmp_path, None, None)
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()
    assert source.notes[0].evidence == {"kind": "polyline", "count": 2000}
