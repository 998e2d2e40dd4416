"""CVAT's mask zip: masks exactly through the writer, every variant of its folders, and what hostile files do."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.formats.roundtrip import CLASSES, masks, named, through
from helpers import palette_image, write
from maskwright.core.classes import IGNORE, ClassInfo, ClassTree
from maskwright.core.sample import Sample
from maskwright.data.formats.cvat_masks import CvatMasksWriter, detect, read
from maskwright.data.formats.maskfiles import voc_colour
from maskwright.data.formats.source import AnnotationSet, WriteOptions
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError

MAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:10,20,30::\ndog:200,0,0::\n"
COLOURS = np.array([(0, 0, 0), (10, 20, 30), (200, 0, 0)], np.uint8)
IDS = np.array([[0, 1, 2, 2], [1, 1, 0, 0]], np.uint8)
RGB = COLOURS[IDS]
PICTURE = np.zeros((2, 4, 3), np.uint8)


def make(
    folder: Path,
    label_map: str | bytes | None = MAP,
    masks: dict[str, np.ndarray | Image.Image] | None = None,
    lists: dict[str, str] | None = None,
    images: tuple[str, ...] = ("JPEGImages/a.png",),
) -> Path:
    """A folder as CVAT's zip unpacks to it."""
    folder.mkdir(parents=True, exist_ok=True)
    if label_map is not None:
        (folder / "labelmap.txt").write_bytes(label_map if isinstance(label_map, bytes) else label_map.encode())
    for name, pixels in ({"a": RGB} if masks is None else masks).items():
        write(folder / "SegmentationClass" / f"{name}.png", pixels)
    for name, text in ({"default": "a\n"} if lists is None else lists).items():
        path = folder / "ImageSets" / "Segmentation" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in images:
        write(folder / name, PICTURE)
    return folder


def names_in(folder: Path) -> list[list[str]]:
    """The class names (H, W) of the only image."""
    dataset = load_dataset(folder, "cvat_masks")
    (sample,) = dataset.samples
    return named(dataset.read_mask(sample), dataset.classes).tolist()


def codes(source: AnnotationSet) -> list[str]:
    return [finding.code for finding in source.notes]


WANTED = np.array(["background", "cat", "dog"])[IDS].tolist()


# -- writing and reading back -----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.data(), st.sampled_from(["train", None]))
def test_masks_come_back_exactly(data, split) -> None:
    classes = data.draw(
        st.sampled_from(
            [
                CLASSES,
                ClassTree.flat(["dog:1", "Straße 犬"], ids=[5, 9]),
                ClassTree.flat(["cat", "bg"], ids=[3, 4000]),
                ClassTree(
                    (
                        ClassInfo(0, "x", (0, 0, 0)),
                        ClassInfo(1, "background", (0, 0, 0)),
                        ClassInfo(2, "y", (224, 224, 192)),
                        ClassInfo(3, "z", (224, 224, 192)),
                    )
                ),
            ]
        )
    )
    drawn = {name: data.draw(masks(classes)) for name in ("a", "Deep/er/b c", "ü.1")}
    with tempfile.TemporaryDirectory() as folder:
        found, _ = through("cvat_masks", Path(folder) / "out", drawn, classes, split=split)
    assert set(found) == set(drawn)
    assert all((found[name] == named(mask, classes)).all() for name, mask in drawn.items())


def test_what_the_writer_writes(tmp_path) -> None:
    mask = np.array([[0, 1, 1, 255], [0, 1, 2, 255], [1, 0, 0, 0], [0, 0, 0, 1]], np.uint8)
    _, dropped = through("cvat_masks", tmp_path / "out", {"x/a": mask}, split="val")
    assert not dropped
    assert sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    ) == [
        "ImageSets/Segmentation/val.txt",
        "JPEGImages/x/a.png",
        "SegmentationClass/x/a.png",
        "SegmentationObject/x/a.png",
        "labelmap.txt",
    ]
    with Image.open(tmp_path / "out/SegmentationClass/x/a.png") as image:
        assert image.mode == "RGB"
        table = {**{i: tuple(c) for i, c in enumerate(CLASSES.colours.tolist())}, IGNORE: (224, 224, 192)}
        assert (np.asarray(image) == [[table[int(v)] for v in row] for row in mask]).all()
    with Image.open(tmp_path / "out/SegmentationObject/x/a.png") as image:
        objects = np.asarray(image)
    # Diagonal neighbours are one object: two cats, a dog, what is ignored.
    numbers = [[0, 1, 1, 4], [0, 1, 3, 4], [1, 0, 0, 0], [0, 0, 0, 2]]
    assert (objects == [[voc_colour(n) for n in row] for row in numbers]).all()
    assert (tmp_path / "out/ImageSets/Segmentation/val.txt").read_text() == "x/a\n"
    assert (tmp_path / "out/labelmap.txt").read_text().splitlines() == [
        "# label:color_rgb:parts:actions",
        "background:0,0,0::",
        "cat:230,159,0::",
        "dog:86,180,233::",
        "a b/c:0,158,115::",
        "ignore:224,224,192::",
    ]
    (sample,) = load_dataset(tmp_path / "out", "cvat_masks").samples
    assert (sample.name, sample.split) == ("val/x/a", "val")


def test_images_without_a_split_are_in_the_default_list(tmp_path) -> None:
    through("cvat_masks", tmp_path / "out", {"a": np.zeros((2, 2), np.uint8)}, split=None)
    assert (tmp_path / "out/ImageSets/Segmentation/default.txt").read_text() == "a\n"
    assert "ignore" not in (tmp_path / "out/labelmap.txt").read_text()
    assert [(s.name, s.split) for s in load_dataset(tmp_path / "out", "cvat_masks").samples] == [("a", None)]


def test_every_class_gets_a_colour_of_its_own_and_it_is_said_once(tmp_path) -> None:
    classes = ClassTree(
        tuple(
            ClassInfo(i, name, colour)
            for i, (name, colour) in enumerate(
                [
                    ("black", (0, 0, 0)),
                    ("background", (0, 0, 0)),
                    ("red", (255, 0, 0)),
                    ("also red", (255, 0, 0)),
                    ("grey", (224, 224, 192)),
                ]
            )
        )
    )
    mask = np.array([[0, 1, 2, 3, 4]], np.uint8)
    found, dropped = through("cvat_masks", tmp_path / "out", {"a": mask, "b": mask}, classes)
    assert found["b"].tolist() == [classes.names]
    assert [text.split(":")[0] for text in dropped] == [
        "the colour of 'black'",
        "the colour of 'also red'",
        "the colour of 'grey'",
    ]
    rows = [line.split(":")[:2] for line in (tmp_path / "out/labelmap.txt").read_text().splitlines()[1:]]
    assert [name for name, _ in rows] == classes.names and len({colour for _, colour in rows}) == 5
    assert rows[1] == ["background", "0,0,0"] and rows[2] == ["red", "255,0,0"]


def test_254_classes_fit(tmp_path) -> None:
    classes = ClassTree.flat(["background", *(f"c{i}" for i in range(253))])
    mask = np.arange(254, dtype=np.uint8).reshape(2, 127)
    found, _ = through("cvat_masks", tmp_path / "out", {"a": mask}, classes)
    assert (found["a"] == named(mask, classes)).all()


def test_more_instances_than_colours_become_one_for_each_class(tmp_path) -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[::2, ::2] = 2
    mask[1, 1] = IGNORE
    found, dropped = through("cvat_masks", tmp_path / "out", {"a": mask})
    assert dropped == ["the instances: over 255, so each class is one in SegmentationObject"]
    assert (found["a"] == named(mask, CLASSES)).all()
    with Image.open(tmp_path / "out/SegmentationObject/a.png") as image:
        objects = np.asarray(image)
    assert (objects == np.array([voc_colour(i) for i in range(3)])[(mask == 2) + 2 * (mask == IGNORE)]).all()


def test_a_class_called_ignore_takes_the_ignored_pixels(tmp_path) -> None:
    classes = ClassTree.flat(["background", "ignore"])
    _, dropped = through("cvat_masks", tmp_path / "out", {"a": np.array([[0, 1, 255]], np.uint8)}, classes)
    assert dropped == ["1 px of ignore, now of the class of that name"]
    with Image.open(tmp_path / "out/SegmentationClass/a.png") as image:
        assert (np.asarray(image)[0, 1] == np.asarray(image)[0, 2]).all()


def test_names_stay_unique_across_splits(tmp_path) -> None:
    writer = CvatMasksWriter(tmp_path, CLASSES, WriteOptions())
    samples = [Sample("train/a", Path("a.JPG"), split="train"), Sample("val/a", Path("a.png"), split="val")]
    assert [writer.image_path(sample) for sample in samples] == ["JPEGImages/a.jpg", "JPEGImages/val_a.png"]
    assert [writer.add(sample, np.zeros((1, 1), np.uint8)) for sample in samples] == [
        [],
        ["the name: its files are called 'val_…'"],
    ]
    writer.finish()
    assert sorted((item.name, item.split) for item in read(tmp_path, None, None).items) == [
        ("train/a", "train"),
        ("val/val_a", "val"),
    ]


def test_a_split_does_not_lead_out_of_the_folder(tmp_path) -> None:
    writer = CvatMasksWriter(tmp_path / "out", CLASSES, WriteOptions())
    for sample in (Sample("../../x/a", Path("a.png"), split="../../x"), Sample("../b", Path("b.png"))):
        path = tmp_path / "out" / writer.image_path(sample)
        writer.add(sample, np.zeros((1, 1), np.uint8))
        assert path.resolve().is_relative_to(tmp_path / "out")
    writer.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["#a", " a", "a ", "a\nb", "a\u2028b", ""])
def test_names_that_the_label_map_cannot_hold(tmp_path, name) -> None:
    with pytest.raises(DataError, match="cannot hold the class name"):
        CvatMasksWriter(tmp_path, ClassTree.flat(["background", name]), WriteOptions())


# -- what CVAT and others write ---------------------------------------------------------------------------------------


def test_a_real_label_map(tmp_path) -> None:
    data = os.environ.get("MASKWRIGHT_REAL_DATA")
    if not data:
        pytest.skip("MASKWRIGHT_REAL_DATA is not set: the real export was not read")
    text = (Path(data) / "exports" / "voc" / "voc_dataset2" / "labelmap.txt").read_bytes()
    root = make(tmp_path, text, {"a": np.array([[(64, 0, 128), (224, 224, 192), (0, 0, 0), (0, 64, 128)]], np.uint8)})
    assert names_in(root) == [["dog", "ignore", "background", "tvmonitor"]]
    labels = read(root, None, None).labels
    assert [labels[i].name for i in (0, 1, 15, 20, 21)] == ["background", "aeroplane", "person", "tvmonitor", "ignore"]


@pytest.mark.parametrize(
    "mask",
    [
        RGB,
        palette_image(IDS, COLOURS),
        palette_image(2 - IDS, COLOURS[::-1]),
        Image.fromarray(RGB).convert("RGBA"),
        IDS,
        Image.fromarray(IDS.astype(np.uint16)),
        np.repeat(IDS[..., None], 3, 2),
        palette_image(IDS, COLOURS[[2, 0, 1]] // 2 + 77),
    ],
    ids=[
        "rgb",
        "palette",
        "palette in another order",
        "rgba",
        "grey",
        "16 bit",
        "ids as rgb",
        "palette of other colours",
    ],
)
def test_masks_of_every_kind(tmp_path, mask) -> None:
    assert names_in(make(tmp_path, masks={"a": mask})) == WANTED


@pytest.mark.parametrize(
    ("label_map", "ids"),
    [
        (MAP, [0, 1, 2]),
        ("cat:10,20,30::\r\ndog:200,0,0::\r\n", [0, 1, 2]),
        ("\n# x\n dog : 200, 0 ,0 : leg,tail : runs\ncat:10,20,30", [0, 2, 1]),
        ("cat:10,20,30::\ndog:200,0,0::\nbackground:::\n", [2, 0, 1]),
        ("\ufeff" + MAP, [0, 1, 2]),
    ],
)
def test_label_maps(tmp_path, label_map, ids) -> None:
    root = make(tmp_path, label_map)
    assert names_in(root) == WANTED
    found = {label.name: label for label in read(root, None, None).labels}
    assert [found[name].id for name in ("background", "cat", "dog")] == ids
    assert [found[name].colour for name in ("background", "cat", "dog")] == [tuple(c) for c in COLOURS.tolist()]


def test_without_colours_those_of_voc_are_meant(tmp_path) -> None:
    colours = np.array([voc_colour(i) for i in range(3)], np.uint8)
    assert names_in(make(tmp_path, "background\ncat\ndog\n", {"a": colours[IDS]})) == WANTED


def test_another_black_class_is_the_background_of_the_image(tmp_path) -> None:
    root = make(tmp_path, "street:0,0,0::\ncat:10,20,30::\ndog:200,0,0::\n")
    assert [label.name for label in read(root, None, None).labels] == ["street", "cat", "dog"]
    assert names_in(root)[0] == ["street", "cat", "dog", "dog"]


def test_labels_without_a_colour_or_with_that_of_another(tmp_path) -> None:
    source = read(make(tmp_path, MAP + "bird:::\nwolf:200,0,0::\n"), None, None)
    assert [label.name for label in source.labels] == ["background", "cat", "dog", "wolf"]
    assert [(finding.code, finding.evidence["count"]) for finding in source.notes] == [
        ("annotation.dropped", 1),
        ("annotation.conflict", 1),
    ]
    assert names_in(tmp_path) == WANTED


def test_the_colour_of_voc_for_pixels_that_do_not_count(tmp_path) -> None:
    mask = RGB.copy()
    mask[0, 0] = 224, 224, 192
    assert names_in(make(tmp_path, masks={"a": mask}))[0] == ["ignore", "cat", "dog", "dog"]


@pytest.mark.parametrize(("white", "kind"), [("255,255,255", "colour"), ("0,255,0", "index")])
def test_grey_masks_with_a_white_class(tmp_path, white, kind) -> None:
    root = make(
        tmp_path,
        f"background:0,0,0::\ncat:{white}::\n",
        {"a": np.array([[0, 255 if kind == "colour" else 1]], np.uint8)},
    )
    assert read(root, None, None).encoding.kind == kind
    assert names_in(root) == [["background", "cat"]]


def test_masks_of_two_kinds(tmp_path) -> None:
    lists = {"default": "a\nb\nc\n"}
    source = read(make(tmp_path / "1", masks={"a": RGB, "b": RGB, "c": IDS}, lists=lists), None, None)
    assert [(item.name, item.labelled) for item in source.items] == [("a", True), ("b", True), ("c", False)]
    assert source.encoding.kind == "colour" and codes(source)[0] == "annotation.conflict"
    source = read(make(tmp_path / "2", masks={"a": IDS, "b": IDS, "c": RGB}, lists=lists), None, None)
    assert [item.labelled for item in source.items] == [True, True, False] and source.encoding.kind == "index"


@pytest.mark.parametrize("place", ["JPEGImages/x/a.jpg", "images/x/a.PNG", "x/a.png", "elsewhere/deep/x/a.bmp"])
def test_where_images_are(tmp_path, place) -> None:
    source = read(make(tmp_path, masks={"x/a": RGB}, lists={"default": "x/a\n"}, images=(place,)), None, None)
    assert [(item.name, item.image, item.mask) for item in source.items] == [
        ("x/a", tmp_path / place, tmp_path / "SegmentationClass/x/a.png")
    ]
    assert not source.notes


def test_an_export_without_images(tmp_path) -> None:
    source = read(make(tmp_path, images=()), None, None)
    assert codes(source) == ["annotation.no_image"] and source.items[0].image == tmp_path / "JPEGImages" / "a.jpg"
    write(tmp_path / "mine" / "a.png", PICTURE)
    write(tmp_path / "other" / "a.png", PICTURE)
    assert read(tmp_path, None, "mine").items[0].image == tmp_path / "mine" / "a.png"
    assert codes(read(tmp_path, None, None)) == ["annotation.no_image"]  # two fit equally well


def test_lists_are_splits(tmp_path) -> None:
    source = read(
        make(
            tmp_path,
            masks=dict.fromkeys("abcde", RGB),
            images=tuple(f"JPEGImages/{name}.png" for name in "abcdef"),
            lists={"Train": "a\n\nb\n", "Validation": '# no\nc.png\n"b"\n', "default": "d\nf\n"},
        ),
        None,
        None,
    )
    assert [(item.name, item.split, item.labelled) for item in source.items] == [
        ("train/a", "train", True),
        ("train/b", "train", True),
        ("val/c", "val", True),
        ("d", None, True),
        ("f", None, False),
    ]
    assert [(finding.code, finding.evidence["count"]) for finding in source.notes] == [
        ("annotation.duplicate", 1),
        ("annotation.dropped", 1),
    ]


def test_without_lists_all_masks_count(tmp_path) -> None:
    for lists in ({}, {"default": "\n"}):
        folder = tmp_path / str(len(lists))
        assert [
            item.name for item in read(make(folder, masks={"a": RGB, "b/c": RGB}, lists=lists), None, None).items
        ] == ["a", "b/c"]


def test_instances_are_left_out_with_a_note_and_a_folder_may_be_named(tmp_path) -> None:
    write(make(tmp_path / "in" / "side") / "SegmentationObject" / "a.png", RGB)
    source = read(tmp_path, "in/side", None)
    assert codes(source) == ["annotation.dropped"] and source.notes[0].evidence["kind"] == "instances"
    assert source.items[0].image == tmp_path / "in/side/JPEGImages/a.png"


def test_masks_of_another_size_are_found_when_they_are_read(tmp_path) -> None:
    dataset = load_dataset(make(tmp_path, masks={"a": np.zeros((3, 4, 3), np.uint8)}), "cvat_masks")
    with pytest.raises(DataError, match="is 4x3 but the image"):
        dataset.read(dataset.samples[0])


def test_detection(tmp_path) -> None:
    assert detect(make(tmp_path / "1")) == "labelmap.txt and SegmentationClass are there, as CVAT writes them"
    assert detect(make(tmp_path / "2", None)) is None
    assert detect(make(tmp_path / "3", masks={})) is None
    for i, mask in enumerate((palette_image(IDS, COLOURS), IDS)):  # as Pascal VOC is stored
        assert detect(make(tmp_path / f"4{i}", masks={"a": mask})) is None
        assert detect(make(tmp_path / f"6{i}", masks={"a": mask}, images=("a.png",)))
    (make(tmp_path / "5") / "Annotations").mkdir()
    assert detect(tmp_path / "5")
    (tmp_path / "5" / "Annotations" / "a.xml").write_text("<annotation/>")
    assert detect(tmp_path / "5") is None and detect(tmp_path / "none") is None


# -- hostile files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "label_map", [b"# nothing\n", "cat:1,2,3,4::", "cat:a,b,c::", "cat:١,0,0::", f"cat:{'9' * 5000},0,0::"]
)
def test_label_maps_that_cannot_be_read_give_one_line(tmp_path, label_map) -> None:
    with pytest.raises(DataError) as error:
        load_dataset(make(tmp_path, label_map), "cvat_masks")
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize("line", ["C:\\a", "x/../../a", ".."])
def test_lists_that_lead_outside_give_one_line(tmp_path, line) -> None:
    with pytest.raises(DataError) as error:
        load_dataset(make(tmp_path, lists={"default": f"a\n{line}\n"}), "cvat_masks")
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize("line", ["nothing", "x" * 3000, "a b c", "%s", "ü"])
def test_lines_that_name_nothing_are_images_without_a_mask(tmp_path, line) -> None:
    source = read(make(tmp_path, lists={"default": f"a\n{line}\n"}), None, None)
    assert sorted(item.labelled for item in source.items) in ([False, True], [True])
    assert not any("\n" in finding.message for finding in source.notes)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + b"\xff" * 40])
def test_broken_masks_are_found_when_they_are_read(tmp_path, content) -> None:
    root = make(tmp_path, lists={"default": "a\nb\n"}, images=("JPEGImages/a.png", "JPEGImages/b.png"))
    (root / "SegmentationClass" / "b.png").write_bytes(content)
    dataset = load_dataset(root, "cvat_masks")
    good, *broken = dataset.samples
    assert named(dataset.read_mask(good), dataset.classes).tolist() == WANTED
    for sample in broken:
        if sample.labelled:
            with pytest.raises(DataError, match=r"b\.png"):
                dataset.read_mask(sample)


def test_images_that_are_links_to_the_outside_are_refused(tmp_path) -> None:
    root = make(tmp_path / "data")
    (root / "JPEGImages/a.png").rename(tmp_path / "a.png")
    (root / "JPEGImages/a.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(DataError, match="symbolic link"):
        read(root, None, None)


def test_files_of_one_name_and_folders_instead_of_files(tmp_path) -> None:
    root = make(tmp_path)
    write(root / "SegmentationClass" / "a.bmp", RGB)
    assert codes(read(root, None, None))[0] == "annotation.duplicate"
    (root / "ImageSets" / "Segmentation" / "x.txt").mkdir()
    (root / "SegmentationClass" / "b.png").mkdir()
    assert len(read(root, None, None).items) == 1
    (root / "labelmap.txt").unlink()
    (root / "labelmap.txt").mkdir()
    with pytest.raises(DataError, match="holds no"):
        read(root, None, None)
