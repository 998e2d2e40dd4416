"""What a folder is taken for, and which ids its classes get."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from broken.folders import GOOD
from helpers import make_dataset, write
from maskwright.core.regions import Polygon
from maskwright.data.formats import FORMATS
from maskwright.data.formats.source import AnnotationSet, Item, Label, Mark
from maskwright.data.init import init
from maskwright.data.opening import detect, folder_of, load_dataset
from maskwright.errors import ConfigError, DataError

SQUARE = Polygon((np.array([[1, 1], [4, 1], [4, 4], [1, 4]], float),))


def opened(monkeypatch, tmp_path, labels, marks=(), yaml=None, **source):
    """A dataset of one image that the reader of `coco` is told to return."""
    write(tmp_path / "a.png", np.zeros((6, 8, 3), np.uint8))
    item = Item("a", tmp_path / "a.png", tmp_path / "a.json", size=(6, 8), marks=list(marks))
    given = AnnotationSet(labels, [item], **source)
    row = FORMATS["coco"]
    monkeypatch.setitem(FORMATS, "coco", type(row)(row.meaning, row.write, lambda *_: given, row.detect))
    if yaml:
        (tmp_path / "dataset.yaml").write_text(yaml)
        return load_dataset(tmp_path)
    return load_dataset(tmp_path, "coco")


@pytest.mark.parametrize(
    ("labels", "ids", "names"),
    [
        ([Label("cat", 1), Label("dog", 4)], [0, 1, 4], ["background", "cat", "dog"]),
        ([Label("cat", 0), Label("dog", 1)], [0, 1, 2], ["background", "cat", "dog"]),  # 0 is not free
        ([Label("cat"), Label("dog")], [0, 1, 2], ["background", "cat", "dog"]),
        ([Label("cat", 1), Label("dog")], [0, 1, 2], ["background", "cat", "dog"]),
        ([Label("cat", 3), Label("dog", 3)], [0, 1, 2], ["background", "cat", "dog"]),
        ([Label("cat", 70000)], [0, 1], ["background", "cat"]),
        ([Label("cat", 2), Label("background", 0)], [0, 2], ["background", "cat"]),
        ([Label("cat", 2), Label("_background_", 7)], [0, 1], ["_background_", "cat"]),
        ([Label("cat", 1), Label("ignore", 2)], [0, 1], ["background", "cat"]),
        ([Label("cat", 1), Label("cat", 2)], [0, 1], ["background", "cat"]),
    ],
)
def test_ids_are_kept_where_they_can_be_mask_values(monkeypatch, tmp_path, labels, ids, names):
    dataset = opened(monkeypatch, tmp_path, labels)
    assert (dataset.classes.ids, dataset.classes.names, dataset.classes.ignore) == (ids, names, 255)


def test_the_ignore_id_is_free(monkeypatch, tmp_path):
    assert opened(monkeypatch, tmp_path, [Label("cat", 255)]).classes.ignore == 65535


def test_labels_that_only_marks_name_become_classes(monkeypatch, tmp_path):
    dataset = opened(monkeypatch, tmp_path, [Label("cat", 1)], [Mark("dog", SQUARE), Mark("void", SQUARE, order=1)])
    assert dataset.classes.names == ["background", "cat", "dog"]
    mask = dataset.read_mask(dataset.samples[0])
    assert (mask[1:4, 1:4] == 255).all() and mask.sum() == 9 * 255


def test_parents_become_a_tree(monkeypatch, tmp_path):
    labels = [Label("hair", 1, parents=("head",)), Label("car", 2), Label("skin", 3, parents=("head", "face"))]
    classes = opened(monkeypatch, tmp_path, labels).classes
    top = classes.levels[0]
    assert top.classes.names == ["background", "head", "car"] and top.members == ((0,), (1, 2), (3,))
    assert [leaf.parents for leaf in classes.leaves] == [(), ("head",), ("head", "face"), ()]


def test_a_label_that_the_description_lacks_is_left_out_and_said(monkeypatch, tmp_path):
    yaml = "layout: coco\nclasses: [{id: 0, name: background}, {id: 5, name: cat}]\n"
    dataset = opened(
        monkeypatch, tmp_path, [Label("cat", 1)], [Mark("cat", SQUARE), Mark("dog", SQUARE), Mark("dog", SQUARE)], yaml
    )
    assert dataset.read_mask_pixels(dataset.samples[0]).ids[2, 2] == 5
    (finding,) = dataset.notes
    assert (finding.code, finding.evidence) == ("annotation.unknown_label", {"count": 2, "label": "dog"})


def test_without_a_background_class_the_rest_does_not_count(monkeypatch, tmp_path):
    yaml = "layout: coco\nclasses: [{id: 5, name: cat}]\n"
    dataset = opened(monkeypatch, tmp_path, [Label("cat", 1)], [Mark("cat", SQUARE)], yaml)
    mask = dataset.read_mask(dataset.samples[0])
    assert (mask == 0).sum() == 9 and (mask == 255).sum() == 39


@pytest.mark.parametrize(("weak", "provenance"), [((True, True), "box"), ((True, False), "hand"), ((), "hand")])
def test_boxes_alone_are_weak_labels(monkeypatch, tmp_path, weak, provenance):
    dataset = opened(monkeypatch, tmp_path, [Label("cat", 1)], [Mark("cat", SQUARE, weak=w) for w in weak])
    assert dataset.samples[0].provenance == provenance


def test_drawings_without_a_size_take_that_of_the_upright_image(monkeypatch, tmp_path):
    dataset = opened(monkeypatch, tmp_path, [Label("cat", 1)], [Mark("cat", SQUARE)])
    (sample,) = dataset.samples
    turned = Image.fromarray(np.zeros((6, 8, 3), np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(sample.image, exif=exif)
    sample = replace(sample, drawing=replace(sample.drawing, size=None))
    assert dataset.read(sample)[1].shape == (8, 6)
    assert replace(dataset, exif="ignore").read(sample)[1].shape == (6, 8)


@pytest.mark.parametrize("name", [name for name, row in FORMATS.items() if row.write and row.read])
def test_what_we_write_is_recognised(tmp_path, name):
    from maskwright.data.convert import convert

    convert(make_dataset(tmp_path / "data", images=8, describe=True), tmp_path / "out", to=name, progress=False)
    (tmp_path / "out" / "dataset.yaml").unlink()
    found = detect(tmp_path / "out")
    assert found.file.layout == name
    assert found.reasons["layout"]
    file, _ = init(tmp_path / "out")  # what `init` writes opens as what was detected
    dataset = load_dataset(tmp_path / "out")
    assert len(dataset.samples) == 8 and sorted(dataset.splits) == ["test", "train", "val"]
    assert file.read_text().count("layout: ") == 1


def test_folders_of_masks_come_before_shapes_beside_them(tmp_path):
    data = make_dataset(tmp_path / "data", images=4, layout="flat")
    (data / "annotations.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    assert detect(data).file.layout == "flat"


def test_a_format_that_is_not_known(tmp_path):
    data = make_dataset(tmp_path / "data", images=4)
    with pytest.raises(ConfigError, match="did you mean 'yolo_seg'"):
        load_dataset(data, "yolo_sge")
    (data / "dataset.yaml").write_text("layout: yolo9\nclasses: [{id: 0, name: a}]\n")
    with pytest.raises(ConfigError, match=r"dataset\.yaml:1:1: layout: 'yolo9' is not known; did you mean 'yolo'"):
        load_dataset(data)


FOLDERS = ("index", "palette", "jpeg")


@pytest.mark.parametrize(
    "name", [*FOLDERS, "colour", *(name for name, row in FORMATS.items() if row.write and row.read)]
)
def test_a_format_that_repeats_the_description_is_no_conflict(tmp_path, name):
    from maskwright.data.convert import convert

    data = tmp_path / "out"
    convert(make_dataset(tmp_path / "data", images=4, describe=True), data, to=name, progress=False)
    text = (data / "dataset.yaml").read_bytes()
    for format in FOLDERS if name in FOLDERS else [name]:
        assert len(load_dataset(data, format).samples) == 4
        assert init(data, format=format).file == data / "dataset.yaml"
    convert(data, tmp_path / "again", to="index", from_=name, progress=False)
    assert (data / "dataset.yaml").read_bytes() == text
    other = "coco" if name != "coco" else "voc"
    for call in (lambda: load_dataset(data, other), lambda: init(data, format=other)):
        with pytest.raises(ConfigError, match=f"but the format {other} is asked for; leave the format out"):
            call()
    with pytest.raises(ConfigError, match="did you mean 'yolo_seg'"):
        load_dataset(data, "yolo_sge")
    with pytest.raises(ConfigError, match="never overwritten"):
        init(data)


def test_folders_that_repeat_the_description_are_no_conflict(tmp_path):
    data = make_dataset(tmp_path / "data", images=4, layout="flat")
    _, found = init(data)
    images, masks = found.file.images.folder, found.file.masks.folder
    assert init(data, images=images, masks=masks).dataset == found.file
    for wrong in ({"images": masks}, {"masks": images, "images": images}):
        with pytest.raises(ConfigError, match="never overwritten"):
            init(data, **wrong)
    with pytest.raises(ConfigError, match="never overwritten"):  # it is about another folder
        init(tmp_path, out=data, images=images)


@pytest.mark.parametrize("name", [name for name, row in FORMATS.items() if row.read])
def test_a_folder_that_is_not_in_the_format(tmp_path, name):
    (tmp_path / "a.bin").write_bytes(b"x")
    with pytest.raises((DataError, ConfigError)) as error:
        load_dataset(tmp_path, name)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_a_dataset_stands_for_its_folder_while_it_is_what_that_holds(tmp_path):
    folder = make_dataset(tmp_path / "data", 4, describe=True)
    dataset = load_dataset(folder)
    assert folder_of(dataset, "suspects") == folder == folder_of(str(folder), "suspects")
    with pytest.raises(ConfigError, match="^suspects: this Dataset has no folder, .*; give the path of a folder"):
        folder_of(replace(dataset, home=None), "suspects")
    with pytest.raises(ConfigError, match="^decide: this Dataset is not what .* holds"):
        folder_of(replace(dataset, samples=dataset.samples[1:]), "decide")


@pytest.mark.parametrize("form", ["coco", "yolo_seg", "cvat_images", "kaggle_rle", "coco_panoptic"])
def test_a_dataset_of_annotations_is_compared_with_what_its_folder_holds(form: str, tmp_path: Path) -> None:
    GOOD[form](tmp_path / "data")
    dataset = load_dataset(tmp_path / "data")
    assert dataset == load_dataset(tmp_path / "data") and folder_of(dataset, "train") == tmp_path / "data"
    with pytest.raises(ConfigError, match="is not what"):
        folder_of(replace(dataset, samples=dataset.samples[1:]), "train")


def test_where_marks_cover_every_pixel_there_is_no_background(monkeypatch, tmp_path) -> None:
    dataset = opened(monkeypatch, tmp_path, [Label("sky", 4), Label("sea", 7)], [Mark("sea", SQUARE)], full=True)
    assert (
        dataset.classes.names == ["sky", "sea"] and dataset.classes.ids == [4, 7] and dataset.classes.background is None
    )
    assert np.unique(dataset.read_mask(dataset.samples[0])).tolist() == [1, 255]


def test_such_classes_are_numbered_where_their_ids_do_not_fit(monkeypatch, tmp_path) -> None:
    labels = [Label("sky"), Label("other", 9), Label("background")]
    dataset = opened(monkeypatch, tmp_path, labels, [Mark("sky", SQUARE)], full=True)
    assert dataset.classes.names == ["background", "sky", "other"] and dataset.classes.ids == [0, 1, 2]
