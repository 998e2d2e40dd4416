"""LabelMe 3.0: what its objects mean, where its files are found, and Datumaro's own writer and reader as oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.formats.roundtrip import named
from helpers import write
from maskwright.core.dataset import Dataset
from maskwright.data.formats.labelme_xml import detect, read
from maskwright.data.init import init
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError

SQUARE = [(2, 1), (6, 1), (6, 4), (2, 4)]


def thing(name: str = "cat", points: object = SQUARE, extra: str = "", deleted: int = 0) -> str:
    pairs = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in points)  # type: ignore[union-attr]
    return (
        f"<object><name>{name}</name><deleted>{deleted}</deleted><verified>0</verified>{extra}"
        f"<polygon><username>me</username>{pairs}</polygon></object>"
    )


def segment(mask: str = "a_mask_0.png", name: str = "cat") -> str:
    box = "<box><xmin>0</xmin><ymin>0</ymin><xmax>9</xmax><ymax>7</ymax></box>"
    return f"<object><name>{name}</name><deleted>0</deleted><segm><username/>{box}<mask>{mask}</mask></segm></object>"


def document(
    *things: str, file: str = "a.png", folder: str = "", size: str = "<nrows>8</nrows><ncols>10</ncols>"
) -> str:
    return (
        f"<annotation><filename>{file}</filename><folder>{folder}</folder><source><sourceImage/></source>"
        f"<imagesize>{size}</imagesize>{''.join(things)}</annotation>"
    )


def make(folder: Path, text: str, xml: str = "a.xml", *images: str) -> Path:
    (folder / xml).parent.mkdir(parents=True, exist_ok=True)
    (folder / xml).write_text(text)
    for image in images or ("a.png",):
        write(folder / image, np.zeros((8, 10, 3), np.uint8))
    return folder


def of(dataset: Dataset, name: str = "a") -> np.ndarray:
    return named(dataset.read(dataset[name])[1], dataset.classes)


def test_polygons_boxes_and_order(tmp_path: Path) -> None:
    box = "<type>bounding_box</type>"
    text = document(
        thing("dog", [(0, 0), (5, 0), (5, 8), (0, 8)], box), thing(), thing("hen", [(5, 3), (9, 3), (9, 8)])
    )
    assert detect(make(tmp_path, text)) == "a.xml holds objects as LabelMe 3.0 does"
    dataset = load_dataset(tmp_path)
    assert dataset.classes.names == ["background", "dog", "cat", "hen"] and dataset.notes == ()
    mask = of(dataset)
    assert (
        mask[0, 0] == "dog" and (mask[1:3, 2:6] == "cat").all() and mask[4, 7] == "hen" and mask[0, 9] == "background"
    )
    assert init(tmp_path).dataset.layout == "labelme_xml" and load_dataset(tmp_path).version() == dataset.version()
    write(tmp_path / "only/b.png", np.zeros((8, 10, 3), np.uint8))
    make(tmp_path / "only", document(thing("dog", extra=box), file="b.png"), "b.xml", "b.png")
    assert load_dataset(tmp_path / "only").samples[0].provenance == "box"


@pytest.mark.parametrize(
    ("xml", "image", "folder", "name"),
    [
        ("a.xml", "a.png", "", "a"),
        ("deep/a.xml", "deep/a.png", "deep", "deep/a"),
        ("Annotations/x/a.xml", "Images/x/a.png", "x", "x/a"),
        ("Annotations/a.xml", "Images/x/a.png", "x", "x/a"),
        ("Annotations/train/a.xml", "Images/train/a.png", "train", "train/a"),
        ("default/a.xml", "a.png", "other", "a"),
        ("xml/a.xml", "pictures/a.png", "", "pictures/a"),
        ("xml/a.xml", "pictures/a.JPG", "", "pictures/a"),
    ],
)
def test_images_are_found(tmp_path: Path, xml: str, image: str, folder: str, name: str) -> None:
    dataset = load_dataset(make(tmp_path, document(thing(), folder=folder), xml, image), "labelme_xml")
    (sample,) = dataset.samples
    assert sample.name == name and sample.image == tmp_path / image and not dataset.notes
    assert sample.split == ("train" if name.startswith("train") else None)
    assert int((of(dataset, name) == "cat").sum()) == 12


def test_a_name_in_two_folders(tmp_path: Path) -> None:
    for split, label in (("train", "cat"), ("val", "dog")):
        make(tmp_path, document(thing(label), folder=split), f"Annotations/{split}/a.xml", f"Images/{split}/a.png")
    dataset = load_dataset(tmp_path)
    assert [(sample.name, sample.split) for sample in dataset.samples] == [("train/a", "train"), ("val/a", "val")]
    assert (of(dataset, "train/a") == "cat").any() and (of(dataset, "val/a") == "dog").any()


@pytest.mark.parametrize("place", ["Masks/x", "Masks", "Annotations/x", "Annotations/x/Masks", "elsewhere"])
@pytest.mark.parametrize("kind", ["RGBA", "L", "RGB", "1"])
def test_masks_in_files(tmp_path: Path, place: str, kind: str) -> None:
    pixels = np.zeros((8, 10), bool)
    pixels[2:5, 3:9] = True
    picture = {
        "RGBA": np.array([[0, 0, 0, 0], [255, 203, 0, 153]], np.uint8)[pixels.astype(int)],
        "L": pixels.astype(np.uint8),
        "RGB": np.where(pixels[..., None], np.uint8(7), np.uint8(0)).repeat(3, 2),
        "1": pixels,
    }[kind]
    make(tmp_path, document(segment(), folder="x"), "Annotations/x/a.xml", "Images/x/a.png")
    write(tmp_path / place / "a_mask_0.png", picture)
    dataset = load_dataset(tmp_path)
    assert ((of(dataset, "x/a") == "cat") == pixels).all() and len(dataset) == 1 and not dataset.notes
    before = dataset.version()
    write(tmp_path / place / "a_mask_0.png", np.zeros((8, 10), np.uint8))
    assert load_dataset(tmp_path).version() != before
    write(tmp_path / place / "a_mask_0.png", np.zeros((8, 9), np.uint8))
    with pytest.raises(DataError, match="a_mask_0.png is 9x8 where 10x8 is expected"):
        of(load_dataset(tmp_path), "x/a")


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    extras = (
        "<occluded>yes</occluded><attributes>red, big=1</attributes><parts><hasparts>1,2</hasparts><ispartof/></parts>"
    )
    text = document(
        thing(extra=extras),
        thing(deleted=1),
        thing(points=SQUARE[:2]),
        thing(points=[("nan", 1), (2, 3), (4, 5)]),
        thing(points=[("x", 1), (2, 3), (4, 5)]),
        thing(name=""),
        thing(points=[(-3, 1), (2, 3), (4, 5)]),
        segment("gone.png"),
        "<object><name>cat</name></object>",
        size="<nrows>0</nrows><ncols>x</ncols>",
    )
    make(tmp_path, text, "a.xml", "a.png", "b.png")
    (tmp_path / "other.xml").write_text("<x/>")
    (tmp_path / "c.xml").write_text(document(thing(), file="c.png"))
    dataset = load_dataset(tmp_path, "labelme_xml")
    assert {sample.name: sample.labelled for sample in dataset.samples} == {"a": True, "b": False, "c": True}
    assert [note.message for note in dataset.notes] == [
        "1 object is marked as deleted and left out (a)",
        "3 attributes, parts or marks of occlusion are left out (attributes, parts, occluded)",
        "1 XML file is not of LabelMe; left out (other.xml)",
        "5 objects have no name, too few points, or what is no number; left out (a (5))",
        "1 object names a mask file that is not there; left out (a)",
        "1 file has an image size that is none; the image's own counts (a)",
        "1 image is not in the folder (c)",
    ]


def test_regions_that_reach_outside_and_images_annotated_twice(tmp_path: Path) -> None:
    make(tmp_path, document(thing(points=[(-3, 1), (2, 3), (4, 5)])))
    (tmp_path / "b.xml").write_text(document(thing()))
    dataset = load_dataset(tmp_path)
    assert [note.code for note in dataset.notes] == ["annotation.clipped", "annotation.duplicate"]


def test_files_of_others_are_not_taken(tmp_path: Path) -> None:
    for text in (
        "<annotation><object><name>a</name><bndbox><xmin>1</xmin></bndbox></object></annotation>",
        "<x><pt></pt></x>",
        "",
    ):
        assert detect(make(tmp_path, text)) is None
    assert detect(tmp_path / "none") is None


def test_hostile_files(tmp_path: Path) -> None:
    write(tmp_path / "secret.png", np.zeros((8, 10, 3), np.uint8))
    data = tmp_path / "data"
    dataset = load_dataset(make(data, document(thing(), file="../secret.png")), "labelme_xml")
    assert dataset.samples[0].image == data / "a.png"
    dataset = load_dataset(make(data, document(thing(), segment("../../secret.png"))), "labelme_xml")
    assert [note.code for note in dataset.notes] == ["annotation.invalid"]
    make(data, '<!DOCTYPE a [<!ENTITY b "c">]>' + document(thing()))
    with pytest.raises(DataError, match="DTD"):
        read(data, None, None)
    make(data, document(thing())[:-20])
    with pytest.raises(DataError, match="not readable as XML"):
        read(data, None, None)


def test_datumaro_reads_and_writes_the_same(tmp_path: Path) -> None:
    """Its writer makes a folder, and its reader tells what is in it."""
    datumaro = pytest.importorskip("datumaro")
    from datumaro.components.annotation import Mask, Polygon
    from datumaro.components.media import Image

    rng = np.random.default_rng(1)
    items = []
    for split in ("train", "val"):
        for number in range(3):
            shapes = []
            for label in range(3):
                mask = np.zeros((30, 40), bool)
                top, left = rng.integers(0, 20, 2)
                mask[top : top + 7, left : left + 9] = rng.random((7, 9)) < 0.8
                shapes.append(Mask(mask, label=label, id=label))
            shapes.append(Polygon(rng.integers(0, 30, 10).astype(float).tolist(), label=number, id=3))
            image = Image.from_numpy(np.zeros((30, 40, 3), np.uint8))
            items.append(datumaro.DatasetItem(f"i{number}", subset=split, media=image, annotations=shapes))
    made = datumaro.Dataset.from_iterable(items, categories=["cat", "dog", "hen"])
    made.export(str(tmp_path / "out"), "label_me", save_media=True)
    assert detect(tmp_path / "out")
    source = {item.name: item for item in read(tmp_path / "out", None, None).items}
    theirs = datumaro.Dataset.import_from(str(tmp_path / "out"), "label_me")
    names = [label.name for label in theirs.categories()[datumaro.AnnotationType.label]]
    assert len(source) == len(theirs) == 6
    for item in theirs:
        ours = source[f"{item.subset}/{item.id}"]
        assert ours.size == (30, 40) and ours.image.is_file() and len(ours.marks) == 4
        for mark, shape in zip(ours.marks, item.annotations, strict=True):
            assert mark.label == names[shape.label]
            if shape.type == datumaro.AnnotationType.mask:
                assert (mark.shape.window(30, 40)[0] == shape.image).all()
            else:
                assert mark.shape.rings[0].reshape(-1).tolist() == shape.points
