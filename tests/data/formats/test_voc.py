"""Pascal VOC: masks exactly through the writer, boxes and lists of other tools, and what hostile files do."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.formats.roundtrip import CLASSES, masks, named, through
from helpers import write
from maskwright.core.classes import IGNORE, ClassInfo, ClassTree
from maskwright.core.findings import Severity
from maskwright.core.sample import Sample
from maskwright.data.formats.maskfiles import voc_colour
from maskwright.data.formats.source import WriteOptions
from maskwright.data.formats.voc import VOC_2012, VocWriter, detect, read
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError

BOX = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>{}</object>"


def sheet(*objects: str, size: tuple[int, int] | None = (10, 20), extra: str = "") -> str:
    """An XML file; size is (height, width)."""
    said = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>" if size else ""
    return f"<annotation><filename>a.png</filename>{said}{extra}{''.join(objects)}</annotation>"


def make(folder: Path, files: dict[str, str | bytes | np.ndarray]) -> Path:
    """Files by their path: text, bytes, or pixels, which become an image."""
    for name, content in files.items():
        path = folder / name
        if isinstance(content, np.ndarray):
            write(path, content)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


PICTURE = np.zeros((10, 20, 3), np.uint8)


def codes(source) -> list[str]:
    return [finding.code for finding in source.notes]


# -- writing and reading back -------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_masks_come_back_exactly(data) -> None:
    classes = data.draw(
        st.sampled_from(
            [
                CLASSES,
                ClassTree.flat(["cat", "_background_", "dog"], ids=[4, 9, 65000]),
                ClassTree.flat(["cat", "dog"], ids=[1, 300]),
                ClassTree.flat(["void", "road:1", "ämne"], ids=[0, 1, 2]),
                ClassTree(
                    (
                        ClassInfo(0, "background", (0, 0, 0)),
                        ClassInfo(2, "x", (0, 0, 0)),
                        ClassInfo(1, "y", (224, 224, 192)),
                    )
                ),
            ]
        )
    )
    drawn = {name: data.draw(masks(classes)) for name in ("a", "Deep/er/b c", "ü.1")}
    with tempfile.TemporaryDirectory() as folder:
        found, dropped = through(
            "voc", Path(folder) / "voc", drawn, classes, split=data.draw(st.sampled_from(["train", None]))
        )
    assert not dropped and set(found) == set(drawn)
    assert all((found[name] == named(mask, classes)).all() for name, mask in drawn.items())


def test_what_the_writer_writes(tmp_path) -> None:
    mask = np.array([[0, 1, 1, 255], [0, 1, 2, 255], [1, 0, 0, 0], [0, 0, 0, 1]], np.uint8)
    classes = ClassTree.flat(["background", "cat", "dog"])
    through("voc", tmp_path / "voc", {"a": mask}, classes, split="val")
    with Image.open(tmp_path / "voc/SegmentationClass/a.png") as image:
        assert image.mode == "P" and (np.asarray(image) == mask).all()
        palette = np.array(image.getpalette()).reshape(-1, 3)
    assert (palette[:3] == classes.colours).all() and palette[255].tolist() == [224, 224, 192]
    with Image.open(tmp_path / "voc/SegmentationObject/a.png") as image:
        objects = np.asarray(image)
    # Diagonal neighbours are one object; the last cat is another one.
    assert objects.tolist() == [[0, 1, 1, 255], [0, 1, 3, 255], [1, 0, 0, 0], [0, 0, 0, 2]]
    assert (tmp_path / "voc/ImageSets/Segmentation/val.txt").read_text() == "a\n"
    assert (tmp_path / "voc/labelmap.txt").read_text().splitlines()[2] == "cat:230,159,0::"


def test_ids_with_gaps_are_numbered_anew(tmp_path) -> None:
    through("voc", tmp_path / "voc", {"a": np.array([[3, 0, 2, 1]], np.uint8)})
    dataset = load_dataset(tmp_path / "voc")
    assert dataset.classes.names == CLASSES.names and dataset.classes.ids == [0, 1, 2, 3]
    assert dataset.samples[0].split == "train"


def test_254_classes_fit(tmp_path) -> None:
    classes = ClassTree.flat([f"c{i}" for i in range(254)], ids=list(range(1, 255)))
    mask = np.append(np.arange(254), IGNORE).astype(np.uint8).reshape(15, 17)
    found, _ = through("voc", tmp_path / "voc", {"a": mask}, classes)
    assert (found["a"] == named(mask, classes)).all()


def test_objects_beyond_254_share_numbers(tmp_path) -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[::2, ::2] = 1
    through("voc", tmp_path / "voc", {"a": mask}, ClassTree.flat(["background", "dot"]))
    with Image.open(tmp_path / "voc/SegmentationObject/a.png") as image:
        objects = np.asarray(image)
    assert set(np.unique(objects)) == set(range(255)) and ((objects > 0) == (mask > 0)).all()


def test_names_stay_unique_across_splits(tmp_path) -> None:
    writer = VocWriter(tmp_path, CLASSES, WriteOptions())
    samples = [
        Sample("train/a", Path("a.JPG"), split="train"),
        Sample("val/A", Path("A.png"), split="val"),
        Sample("train_a", Path("b.png")),
        Sample("x/#b", Path("b.png")),
        Sample("val/a", Path("b.png"), split="val"),
    ]
    assert [writer.image_path(sample) for sample in samples] == [
        "JPEGImages/a.jpg",
        "JPEGImages/val_A.png",
        "JPEGImages/train_a.png",
        "JPEGImages/x/_b.png",
        "JPEGImages/val_a_2.png",
    ]
    dropped = [writer.add(sample, np.zeros((2, 2), np.uint8)) for sample in samples]
    writer.finish()
    assert dropped == [
        [],
        ["the name: its files are called 'val_…'"],
        [],
        ["the name: its files are called 'x/_b'"],
        ["the name: its files are called 'val_a_2'"],
    ]
    for sample in samples:
        write(tmp_path / writer.image_path(sample), PICTURE[:2, :2])
    dataset = load_dataset(tmp_path)
    assert {s.name: s.split for s in dataset.samples} == {
        "a": "train",
        "val_A": "val",
        "train_a": None,
        "x/_b": None,
        "val_a_2": "val",
    }
    assert all(sample.mask for sample in dataset.samples)


# -- boxes and outlines -------------------------------------------------------------------------------------------------


def test_boxes_count_from_one_and_include_both_ends(tmp_path) -> None:
    make(
        tmp_path,
        {
            "JPEGImages/a.png": PICTURE,
            "Annotations/a.xml": sheet(BOX.format("cat", 1, 2, 3, 4, ""), BOX.format("dog", 20, 10, 20, 10, "")),
        },
    )
    dataset = load_dataset(tmp_path)
    sample = dataset.samples[0]
    mask = named(dataset.read(sample)[1], dataset.classes)
    wanted = np.full((10, 20), "background", mask.dtype)
    wanted[1:4, 0:3] = "cat"
    wanted[9, 19] = "dog"
    assert (
        (mask == wanted).all() and sample.provenance == "box" and dataset.classes.names == ["background", "cat", "dog"]
    )


def test_what_of_xml_is_left_out_is_counted(tmp_path) -> None:
    extra = (
        "<pose>Left</pose><truncated>1</truncated><difficult>0</difficult><part><name>head</name></part>"
        "<actions><jumping>1</jumping></actions>"
    )
    make(
        tmp_path,
        {
            "JPEGImages/a.png": PICTURE,
            "JPEGImages/b.png": PICTURE,
            "Annotations/a.xml": sheet(
                BOX.format("cat", 1, 2, 3, 4, extra),
                BOX.format("cat", -5, 1, 99, 2, ""),
                extra="<weather>rain</weather>",
            ),
            "Annotations/b.xml": sheet(
                BOX.format("cat", 5, 2, 3, 4, ""),
                BOX.format("cat", "nan", 1, 9, 2, ""),
                BOX.format("", 1, 2, 3, 4, ""),
                "<object><name>cat</name></object>",
                BOX.format("cat", "1e99", 1, 9, "inf", ""),
            ),
        },
    )
    source = read(tmp_path, None, None)
    by_code = {finding.code: finding for finding in source.notes}
    assert set(by_code) == {"annotation.dropped", "annotation.invalid", "annotation.clipped"}
    assert all(
        f"1 <{tag}>" in by_code["annotation.dropped"].message
        for tag in ("pose", "truncated", "part", "actions", "weather")
    )
    assert by_code["annotation.invalid"].evidence["count"] == 5 and by_code["annotation.invalid"].sample == "b"
    assert by_code["annotation.clipped"].evidence["count"] == 1
    # What only has unusable objects is not an image of nothing but background.
    assert [(item.name, len(item.marks), item.labelled) for item in source.items] == [("a", 2, True), ("b", 0, False)]


def test_outlines_turned_boxes_and_masks_beside_them(tmp_path) -> None:
    points = "".join(
        f"<x{i}>{x}</x{i}><y{i}>{y}</y{i}>" for i, (x, y) in enumerate([(1, 1), (6, 1), (6, 6), (1, 6)], 1)
    )
    turned = "<cx>10</cx><cy>5</cy><w>6</w><h>2</h><angle>1.5707963</angle>"
    click = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in [(15, 2), (19, 2), (19, 8), (15, 8)])
    make(
        tmp_path,
        {
            "JPEGImages/a.png": PICTURE,
            "Annotations/a.xml": sheet(
                BOX.format("cat", 1, 1, 6, 6, f"<polygon>{points}</polygon>"),
                f"<object><name>dog</name><type>robndbox</type><robndbox>{turned}</robndbox></object>",
                f"<object><name>cow</name><deleted>0</deleted><polygon>{click}</polygon><segm><mask>m.png</mask></segm></object>",
                f"<object><name>cow</name><deleted>1</deleted><polygon>{click}</polygon></object>",
                "<object><name>ignored</name><polygon><x1>1</x1><y1>8</y1><x2>5</x2><y2>8</y2></polygon></object>",
            ),
        },
    )
    source = read(tmp_path, None, None)
    assert {f.code: f.evidence["count"] for f in source.notes} == {"annotation.dropped": 2, "annotation.invalid": 1}
    dataset = load_dataset(tmp_path)
    mask = named(dataset.read_mask(dataset.samples[0]), dataset.classes)
    wanted = np.full((10, 20), "background", mask.dtype)
    wanted[0:5, 0:5] = "cat"
    wanted[2:8, 9:11] = "dog"
    wanted[2:8, 15:19] = "cow"
    assert (mask == wanted).all()


# -- folders, lists, classes ----------------------------------------------------------------------------------------------


def palette_mask(values: np.ndarray) -> bytes:
    import io

    image = Image.fromarray(values.astype(np.uint8))
    image.putpalette(bytes(part for i in range(256) for part in voc_colour(i)))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def rgb(values: np.ndarray) -> np.ndarray:
    return np.array([voc_colour(i) for i in range(256)], np.uint8)[values]


VALUES = np.tile(np.array([0, 8, 15, 255], np.uint8), (10, 5))


@pytest.mark.parametrize("above", ["", "VOC2012/", "VOCdevkit/VOC2012/"])
def test_the_development_kit(tmp_path, above) -> None:
    """Masks before boxes; lists of Segmentation before those of Main; lists of classes are none of splits."""
    make(
        tmp_path,
        {
            above + name: content
            for name, content in {
                "JPEGImages/1.jpg": PICTURE,
                "JPEGImages/2.jpg": PICTURE,
                "JPEGImages/3.jpg": PICTURE,
                "JPEGImages/4.bmp": PICTURE,
                "SegmentationClass/1.png": palette_mask(VALUES),
                "SegmentationObject/1.png": palette_mask(VALUES),
                "Annotations/1.xml": sheet(BOX.format("dog", 1, 1, 9, 9, "")),
                "Annotations/2.xml": sheet(BOX.format("dog", 1, 1, 9, 9, "")),
                "Annotations/4.xml": sheet(),
                "ImageSets/Segmentation/train.txt": "1\n",
                "ImageSets/Segmentation/trainval.txt": "1\n",
                "ImageSets/Main/val.txt": "1\r\n2\r\n",
                "ImageSets/Main/trainval.txt": "1\n2\n4\n",
                "ImageSets/Main/dog_val.txt": "3 -1\n",
                "ImageSets/Main/dog_other.txt": "3  1\n",
                "ImageSets/Action/train.txt": "3 1 1\n",
            }.items()
        },
    )
    assert "JPEGImages" in detect(tmp_path)
    dataset = load_dataset(tmp_path)
    assert dataset.classes.names == list(VOC_2012) and dataset.classes.ids == list(range(21))
    assert [(s.name, s.split, s.provenance, s.labelled) for s in dataset.samples] == [
        ("1", "train", "hand", True),
        ("2", "val", "box", True),
        ("3", None, "hand", False),
        ("4", None, "hand", True),
    ]
    assert (dataset.read_mask(dataset.samples[0]) == VALUES).all()
    assert not dataset.read_mask(dataset.samples[3]).any()  # no objects: background
    assert [(f.code, f.severity) for f in dataset.notes] == [
        ("annotation.dropped", Severity.INFO),  # 4 stands in trainval only
        ("annotation.renamed", Severity.INFO),
        ("annotation.dropped", Severity.INFO),
    ]


def test_two_years_need_a_choice(tmp_path) -> None:
    for year in ("VOC2007", "VOC2012"):
        make(
            tmp_path,
            {f"VOCdevkit/{year}/JPEGImages/{year}.jpg": PICTURE, f"VOCdevkit/{year}/Annotations/{year}.xml": sheet()},
        )
    with pytest.raises(ConfigError, match="VOC2007"):
        load_dataset(tmp_path)
    assert [item.name for item in read(tmp_path, "VOCdevkit/VOC2007", None).items] == ["VOC2007"]


@pytest.mark.parametrize(
    ("lines", "split"),
    [
        ("a b\n# c\n", "val"),
        ('"a b"\n', "val"),
        ("JPEGImages/a b.jpg\n", "val"),
        ("/VOC/JPEGImages/c.jpg /VOC/SegmentationClass/c.png\n", None),
        ("../../a b.jpg", "val"),
        ("", None),
    ],
)
def test_lines_of_lists(tmp_path, lines, split) -> None:
    make(
        tmp_path,
        {
            "JPEGImages/a b.jpg": PICTURE,
            "JPEGImages/c.jpg": PICTURE,
            "Annotations/a b.xml": sheet(),
            "ImageSets/Segmentation/val.txt": lines,
        },
    )
    assert {item.name: item.split for item in read(tmp_path, None, None).items} == {
        "a b": split,
        "c": "val" if "c.jpg" in lines else None,
    }


def test_odd_lists(tmp_path) -> None:
    make(
        tmp_path,
        {
            "JPEGImages/a.jpg": PICTURE,
            "JPEGImages/b.jpg": PICTURE,
            "Annotations/a.xml": sheet(),
            "ImageSets/Segmentation/train.txt": "a\nmissing\n",
            "ImageSets/Segmentation/test.txt": "a\n",
            "ImageSets/Segmentation/fold_1.txt": "a\nb\n",
        },
    )
    source = read(tmp_path, None, None)
    assert {item.name: item.split for item in source.items} == {"a": "train", "b": "fold_1"}
    assert codes(source) == ["annotation.conflict", "annotation.no_image"]


def test_a_folder_of_xml_by_name(tmp_path) -> None:
    make(
        tmp_path,
        {
            "JPEGImages/a.png": PICTURE,
            "Annotations/a.xml": sheet(),
            "ImageSets/Main/val.txt": "a",
            "second/a.xml": sheet(BOX.format("cat", 1, 1, 2, 2, "")),
            "photos/a.png": PICTURE,
        },
    )
    item = read(tmp_path, "second", "photos").items[0]
    assert (item.image.parent.name, item.split, len(item.marks)) == ("photos", "val", 1)


def test_boxes_beside_the_images_of_each_split(tmp_path) -> None:
    make(
        tmp_path,
        {
            "train/a.jpg": PICTURE,
            "train/a.xml": sheet(BOX.format("cat", 1, 1, 2, 2, "")),
            "valid/a.jpg": PICTURE,
            "valid/a.xml": sheet(),
            "README.txt": "x",
        },
    )
    assert detect(tmp_path)
    dataset = load_dataset(tmp_path)
    assert [(s.name, s.split, len(s.drawing.regions)) for s in dataset.samples] == [
        ("train/a", "train", 1),
        ("val/a", "val", 0),
    ]


def test_xml_in_another_folder_finds_its_image(tmp_path) -> None:
    make(
        tmp_path,
        {
            "images/x/a.jpg": PICTURE,
            "images/b.jpg": PICTURE,
            "annotations/a.xml": sheet(),
            "annotations/q.xml": sheet().replace("a.png", "C:\\\\tmp\\\\b.jpg"),
            "annotations/r.xml": sheet(),
        },
    )
    source = read(tmp_path, None, None)
    assert {item.name: item.source.name for item in source.items} == {"x/a": "a.xml", "b": "q.xml", "r": "r.xml"}
    assert codes(source) == ["annotation.no_image"] and not source.items[1].image.exists()


@pytest.mark.parametrize(
    "other",
    [
        {"images/a.png": PICTURE, "masks/a.png": PICTURE, "annotations/a.xml": sheet()},  # the masks say more
        {"images/a.png": PICTURE, "annotations.xml": "<annotations><image/></annotations>"},  # CVAT
        {"SegmentationClass/a.png": PICTURE, "labelmap.txt": "background:0,0,0::"},  # CVAT without images
        {"images/a.png": PICTURE, "annotations/instances.json": "{}"},
        {"images/a.png": PICTURE, "annotations/a.xml": "garbage"},
    ],
)
def test_folders_of_other_formats(tmp_path, other) -> None:
    assert detect(make(tmp_path, other)) is None


def test_colour_masks_and_their_ignored_pixels(tmp_path) -> None:
    """As CVAT and Datumaro write them."""
    label_map = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:64,0,0:tail,ear:\nperson:192,128,128::run\n"
    make(tmp_path, {"JPEGImages/a.png": PICTURE, "SegmentationClass/a.png": rgb(VALUES), "labelmap.txt": label_map})
    dataset = load_dataset(tmp_path)
    assert dataset.encoding.kind == "colour" and dataset.classes.names[:3] == ["background", "cat", "person"]
    pixels = dataset.read_mask_pixels(dataset.samples[0])
    mask = named(dataset.read_mask(dataset.samples[0]), dataset.classes)
    assert pixels.inexact == 0 and (mask[0, :4] == ["background", "cat", "person", "ignore"]).all()
    assert "ignore" not in dataset.classes.names and (pixels.ids[:, 3] == dataset.classes.ignore).all()


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({"labelmap.txt": "background:::\ncat:::\nthe ignored:224,224,192::\n"}, ["background", "cat"]),
        ({"dataset_meta.json": '{"label_map": {"0": "background", "1": "cat"}}'}, ["background", "cat"]),
        ({"class_names.txt": "__ignore__\n_background_\ncat\n"}, ["_background_", "cat"]),
        ({"classes.txt": "cat\n"}, ["background", "cat"]),
        ({}, ["background", "class_1"]),
    ],
)
def test_where_names_come_from(tmp_path, files, names) -> None:
    values = np.array([[0, 1, 255]], np.uint8)
    make(
        tmp_path,
        {"JPEGImages/a.png": PICTURE[:1, :3], "SegmentationClass/a.png": values, "Annotations/a.xml": sheet(), **files},
    )
    dataset = load_dataset(tmp_path)
    assert dataset.classes.names == names and (dataset.read_mask(dataset.samples[0]) == values).all()
    assert (dataset.notes[0].code == "annotation.renamed") is (not files)


def test_an_ignore_label_with_an_id_of_its_own(tmp_path) -> None:
    make(
        tmp_path,
        {
            "JPEGImages/a.png": PICTURE[:1, :3],
            "SegmentationClass/a.png": np.array([[0, 1, 2]], np.uint8),
            "labelmap.txt": "background:0,0,0::\ncat:1,0,0::\nignored:224,224,192::\n",
        },
    )
    dataset = load_dataset(tmp_path)
    assert dataset.classes.names == ["background", "cat"] and dataset.classes.ignore == 2
    assert dataset.read_mask(dataset.samples[0]).tolist() == [[0, 1, 255]]


def test_names_of_boxes_that_no_mask_has(tmp_path) -> None:
    make(
        tmp_path,
        {
            "JPEGImages/a.png": PICTURE,
            "JPEGImages/b.png": PICTURE,
            "SegmentationClass/a.png": palette_mask(VALUES),
            "Annotations/b.xml": sheet(BOX.format("unicorn", 1, 1, 2, 2, "")),
            "labelmap.txt": "".join(
                f"{name}:{','.join(map(str, voc_colour(i)))}::\n" for i, name in enumerate(VOC_2012)
            ),
        },
    )
    dataset = load_dataset(tmp_path)
    assert dataset.classes.names[21] == "unicorn" and dataset.classes.ids[21] == 21
    assert dataset.read_mask(dataset.samples[1])[0, 0] == 21 and [f.code for f in dataset.notes] == [
        "annotation.conflict"
    ]


def test_masks_of_two_kinds(tmp_path) -> None:
    make(
        tmp_path,
        {"labelmap.txt": "background:0,0,0::\ncat:64,0,0::\n"}
        | {f"JPEGImages/{i}.png": PICTURE for i in range(3)}
        | {f"SegmentationClass/{i}.png": rgb(VALUES * 0 + 8) if i == 1 else palette_mask(VALUES > 8) for i in range(3)},
    )
    dataset = load_dataset(tmp_path)
    assert dataset.encoding.kind == "index" and [f.code for f in dataset.notes] == ["annotation.conflict"]
    with pytest.raises(DataError, match="colour"):
        dataset.read_mask(dataset.samples[1])


def test_ids_that_were_saved_as_rgb(tmp_path) -> None:
    values = np.repeat((VALUES > 8)[..., None], 3, 2).astype(np.uint8)
    make(
        tmp_path,
        {
            "JPEGImages/a.png": PICTURE,
            "SegmentationClass/a.png": values,
            "labelmap.txt": "background:0,0,0::\ncat:64,0,0::\n",
        },
    )
    dataset = load_dataset(tmp_path)
    assert (dataset.read_mask(dataset.samples[0]) == (VALUES > 8)).all()


def test_masks_without_images(tmp_path) -> None:
    make(
        tmp_path,
        {
            "JPEGImages/a.png": PICTURE,
            "JPEGImages/a.jpg": PICTURE,
            "SegmentationClass/b.png": VALUES * 0,
            "labelmap.txt": "background:0,0,0::\n",
        },
    )
    source = read(tmp_path, None, None)
    assert [(item.name, item.labelled) for item in source.items] == [("a", False), ("b", True)]
    assert codes(source) == ["annotation.duplicate", "annotation.no_image"]


# -- real exports -----------------------------------------------------------------------------------------------------------


def real(name: str) -> Path:
    folder = os.environ.get("MASKWRIGHT_REAL_DATA")
    if not folder:
        pytest.skip("MASKWRIGHT_REAL_DATA is not set: the real exports were not read")
    return Path(folder) / "exports" / "voc" / name


def test_a_real_set_with_masks() -> None:
    dataset = load_dataset(real("voc_dataset1"))
    assert [(s.name, s.split, s.labelled) for s in dataset.samples] == [
        ("2007_000001", "train", True),
        ("2007_000002", "test", False),
    ]
    assert set(named(dataset.read(dataset.samples[0])[1], dataset.classes).reshape(-1)) == {"bicycle"}


def test_a_real_set_with_boxes_and_no_images() -> None:
    source = read(real("voc_dataset2"), None, None)
    assert {item.name: [mark.label for mark in item.marks] for item in source.items} == {
        "@": [],
        "a": ["background"],
        "b": ["aeroplane"],
        "c": ["bicycle"],
        "d": ["bird"],
    }
    ring = next(item for item in source.items if item.name == "c").marks[0].shape.rings[0]
    assert ring.tolist() == [[2, 0], [11, 0], [11, 6], [2, 6]]
    assert {item.split for item in source.items} == {None}
    assert [f.evidence["count"] for f in source.notes] == [5, 5, 2]  # images gone; trainval only; occluded
    assert load_dataset(real("voc_dataset2")).classes.names == list(VOC_2012)


def test_a_real_set_with_boxes() -> None:
    dataset = load_dataset(real("voc_dataset3"))
    mask = dataset.read(dataset.samples[0])[1]
    assert dataset.samples[0].split == "train" and dataset.classes.names == ["background", "cat"]
    assert mask.sum() == mask[1:4, 0:3].sum() == 9


# -- hostile files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        sheet().encode("utf-16"),
        b"<?xml version='1.0' encoding='no-such'?><annotation/>",
        b"<annotation>\xff\xfe</annotation>",
    ],
)
def test_xml_of_other_encodings(tmp_path, content) -> None:
    make(tmp_path, {"JPEGImages/a.png": PICTURE, "Annotations/a.xml": content})
    with pytest.raises(DataError, match=r"a\.xml") as caught:
        load_dataset(tmp_path, "voc")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"<annotation/>",
        b"<annotation>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</annotation>",
        sheet(size=(10**9, 10**9)).encode(),
        sheet(size=(-1, 0)).encode(),
        sheet(BOX.format("cat", "1e9", "1e9", "2e9", "2e9", "")).encode(),
        sheet(BOX.format("cat", -1e9, -1e9, 1e9, 1e9, "")).encode(),
        sheet(BOX.format("cat", "x", "1" * 5000, "", "-", "")).encode(),
        sheet(BOX.format("cat", 1, 1, 2, 2, "") * 500).encode(),
        b"<annotation><filename>../../../etc/passwd</filename><object><name>a</name><polygon/></object></annotation>",
        b"<annotation><filename>" + b"/" * 5000 + b"</filename></annotation>",
    ],
    ids=lambda content: repr(content[:60]),
)
def test_strange_xml_is_read_with_notes_at_most(tmp_path, content) -> None:
    make(tmp_path, {"JPEGImages/a.png": PICTURE, "Annotations/a.xml": content, "Annotations/b.xml": content})
    dataset = load_dataset(tmp_path, "voc")
    assert dataset.samples[0].name == "a" and len(dataset.samples) == 2
    if dataset.samples[0].labelled:
        assert dataset.read_mask(dataset.samples[0]).shape == (10, 20)
    assert all("\n" not in finding.message for finding in dataset.notes)


@pytest.mark.parametrize("link", ["SegmentationClass", "Annotations", "ImageSets", "JPEGImages/a.png"])
def test_links_that_lead_outside(tmp_path, link) -> None:
    make(tmp_path / "out", {"a.png": PICTURE, "a.xml": sheet(), "Main/val.txt": "b", "labelmap.txt": "a:::"})
    make(
        tmp_path / "in",
        {
            f"{folder}/{name}": content
            for folder in ("JPEGImages", "SegmentationClass", "Annotations")
            for name, content in {"b.png": PICTURE, "b.xml": sheet()}.items()
            if folder != link
        },
    )
    target = tmp_path / "out" / (Path(link).name if "." in link else "")
    (tmp_path / "in" / link).symlink_to(target)
    with pytest.raises(DataError, match="symbolic link"):
        load_dataset(tmp_path / "in", "voc")


@pytest.mark.parametrize(("annotations", "images"), [("../x", None), ("/etc", None), (None, ".."), ("nowhere", None)])
def test_folders_outside_are_refused(tmp_path, annotations, images) -> None:
    make(tmp_path, {"JPEGImages/a.png": PICTURE, "Annotations/a.xml": sheet()})
    with pytest.raises(DataError):
        read(tmp_path, annotations, images)


def test_a_circle_of_links(tmp_path) -> None:
    (tmp_path / "JPEGImages").symlink_to(tmp_path / "Annotations")
    (tmp_path / "Annotations").symlink_to(tmp_path / "JPEGImages")
    assert detect(tmp_path) is None
    with pytest.raises(DataError):
        read(tmp_path, None, None)


def labelme2voc(folder: Path, values: np.ndarray, pictures: str | None, arrays: str | None) -> Path:
    """What labelme's own converter writes, in two folders that differ between its versions."""
    make(folder, {"JPEGImages/a.png": PICTURE, "JPEGImages/b.png": PICTURE, "class_names.txt": "_background_\ncat\n"})
    make(folder, {"SegmentationClassVisualization/a.jpg": PICTURE})
    for name in "ab":
        if pictures:
            write(folder / pictures / f"{name}.png", Image.fromarray(values.astype(np.uint8)))
        if arrays:
            (folder / arrays).mkdir(exist_ok=True)
            np.save(folder / arrays / f"{name}.npy", values)
    return folder


@pytest.mark.parametrize(
    ("pictures", "arrays"),
    [
        ("SegmentationClassPNG", "SegmentationClass"),
        ("SegmentationClass", "SegmentationClassNpy"),
        ("SegmentationClass", None),
        (None, "SegmentationClass"),
        (None, "SegmentationClassNpy"),
    ],
)
@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64, np.float32])
def test_arrays_and_pictures_of_labelme2voc(tmp_path, rng, pictures, arrays, dtype) -> None:
    values = rng.integers(0, 2, (10, 20)).astype(dtype)
    dataset = load_dataset(labelme2voc(tmp_path, values, pictures, arrays), "voc")
    assert dataset.classes.names == ["_background_", "cat"]
    for sample in dataset.samples:
        assert (dataset.read_mask(sample) == values).all()
    assert [(note.code, note.severity) for note in dataset.notes] == (
        [("annotation.dropped", Severity.INFO)] if pictures and arrays else []
    )


def test_arrays_that_contradict_the_pictures_are_said(tmp_path) -> None:
    folder = labelme2voc(tmp_path, np.zeros((10, 20), np.int32), "SegmentationClassPNG", "SegmentationClass")
    np.save(folder / "SegmentationClass/b.npy", np.ones((10, 20), np.int32))
    (note,) = load_dataset(folder, "voc").notes
    assert note.code == "annotation.conflict" and "(b)" in note.message and note.evidence["count"] == 1


def test_arrays_that_are_pickles_or_no_masks_are_refused_one_by_one(tmp_path) -> None:
    folder = labelme2voc(tmp_path, np.zeros((10, 20), np.int32), None, "SegmentationClass")
    np.save(folder / "SegmentationClass/a.npy", np.array([{}], object), allow_pickle=True)
    dataset = load_dataset(folder, "voc")
    with pytest.raises(DataError, match="cannot be read as an array"):
        dataset.read_mask(dataset["a"])
    assert (dataset.read_mask(dataset["b"]) == 0).all()
    np.save(folder / "SegmentationClass/a.npy", np.full((10, 20), -1))
    with pytest.raises(DataError, match="outside 0..65535"):
        dataset.read_mask(dataset["a"])
