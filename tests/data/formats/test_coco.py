"""COCO: masks exactly through the writer and pycocotools, files as tools write them, and what hostile files do."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.formats.roundtrip import CLASSES, masks, named, through
from helpers import write
from maskwright.core.classes import IGNORE, ClassInfo, ClassTree
from maskwright.core.findings import Severity
from maskwright.core.mask_files import INDEX, read_mask
from maskwright.core.rle import encode_counts, pack_counts
from maskwright.core.sample import Sample
from maskwright.data.formats.coco import detect, read
from maskwright.data.formats.coco_writer import CocoWriter, counts_of_part
from maskwright.data.formats.source import WriteOptions
from maskwright.data.opening import detect as detect_any
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError

SIZE = (10, 20)
PICTURE = np.zeros((*SIZE, 3), np.uint8)
SQUARE = [2, 1, 6, 1, 6, 5, 2, 5]
TREES = [
    CLASSES,
    ClassTree.flat(["cat", "_background_", "dog"], ids=[0, 9, 65000]),
    ClassTree.flat(["cat", "dog"], ids=[0, 300], ignore=7),
    ClassTree(
        (
            ClassInfo(3, "sky", (1, 2, 3)),
            ClassInfo(1, "cat", (4, 5, 6), ("animal", "pet")),
            ClassInfo(2, "dog", (7, 8, 9), ("animal", "pet")),
            ClassInfo(5, "elk", (7, 8, 0), ("animal",)),
        )
    ),
]


def entry(segmentation=None, image=1, category=1, **more):
    return {"id": 1, "image_id": image, "category_id": category, "segmentation": segmentation, **more}


def sheet(*annotations, images=None, categories=None, **more):
    """A file with one image a.png; annotations get ids."""
    images = [{"id": 1, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}] if images is None else images
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}] if categories is None else categories
    listed = [a | {"id": n} if isinstance(a, dict) and a.get("id") == 1 else a for n, a in enumerate(annotations, 1)]
    return {"images": images, "annotations": listed, "categories": categories, **more}


def make(folder: Path, files: dict) -> Path:
    """Files by their path: JSON, text, bytes, or None for an image."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            write(path, PICTURE)
        else:
            path.write_bytes(
                content
                if isinstance(content, bytes)
                else (content if isinstance(content, str) else json.dumps(content)).encode()
            )
    return folder


def one(tmp_path: Path, *annotations, **more):
    """What is read and class names (H, W) of the only sample of a file in a folder with its image."""
    make(tmp_path, {"images/a.png": None, "result.json": sheet(*annotations, **more)})
    dataset = load_dataset(tmp_path, "coco")
    return read(tmp_path, None, None), named(dataset.read_mask(dataset.samples[0]), dataset.classes)


def drawn(rows, columns, label="cat"):
    wanted = np.full(SIZE, "background", object)
    wanted[rows, columns] = label
    return wanted


def codes(source):
    return [finding.code for finding in source.notes]


def message(source, code):
    return next(finding.message for finding in source.notes if finding.code == code)


# -- writing and reading back -------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.data())
def test_masks_come_back_exactly(data) -> None:
    classes, polygons = data.draw(st.sampled_from(TREES)), data.draw(st.booleans())
    given_masks = {name: data.draw(masks(classes)) for name in ("a", "b c/ü.d", "images/train/x")}
    split = data.draw(st.sampled_from(["train", "fold 1", None]))
    with tempfile.TemporaryDirectory() as folder:
        found, dropped = through(
            "coco", Path(folder) / "out", given_masks, classes, WriteOptions(polygons=polygons), split
        )
    assert not dropped
    assert found.keys() == given_masks.keys()
    for name, mask in given_masks.items():
        wanted = named(mask, classes)
        wanted[wanted == "_background_"] = "background"  # no category, so its name is not written
        assert (found[name] == wanted).all()


def test_simplified_polygons_stay_close(tmp_path, rng) -> None:
    rows, columns = np.indices((64, 64))
    mask = ((rows - 30) ** 2 + (columns - 34) ** 2 < 400).astype(np.uint8)
    mask[60:62, 60:62] = 2  # smaller than the tolerance
    found, _ = through("coco", tmp_path / "out", {"a": mask}, options=WriteOptions(2.0, polygons=True))
    cat, dog = (found["a"] == "cat"), (found["a"] == "dog")
    assert (cat & (mask == 1)).sum() / (cat | (mask == 1)).sum() > 0.9
    assert not (cat == (mask == 1)).all()
    assert (dog == (mask == 2)).all()


@settings(max_examples=100)
@given(masks(side=9), st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
def test_run_lengths_of_a_part_are_those_of_the_image(mask, above, below, before, behind) -> None:
    part = mask > 0
    image = np.pad(part, ((above, below), (before, behind)))
    counts = encode_counts(image)
    if part.any():
        assert counts_of_part(part, before, above, *image.shape) == counts


def written(folder: Path, masks, classes=CLASSES, **options):
    writer = CocoWriter(folder, classes, WriteOptions(**options))
    for number, mask in enumerate(masks):
        writer.add(Sample(f"val/{number}", Path(f"{number}.PNG"), split="val"), mask)
    writer.finish()
    return folder / "annotations" / "instances_val.json"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools itself
@settings(max_examples=25)
@given(st.lists(masks(), min_size=1, max_size=3), st.booleans())
def test_pycocotools_reads_the_same_pixels(given_masks, polygons) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools import mask as api

    with tempfile.TemporaryDirectory() as folder:
        file = written(Path(folder), given_masks, polygons=polygons)
        data = coco.COCO(str(file))
    assert [image["file_name"] for image in data.loadImgs(data.getImgIds())] == [
        f"{number}.png" for number in range(len(given_masks))
    ]
    ids = {leaf.id: index for index, leaf in enumerate(CLASSES.leaves)} | {CLASSES.ignore: IGNORE}
    for number, mask in enumerate(given_masks, 1):
        painted = np.zeros_like(mask)
        for annotation in data.loadAnns(data.getAnnIds(imgIds=number)):
            pixels = data.annToMask(annotation).astype(bool)
            assert not painted[pixels].any()  # components do not overlap
            painted[pixels] = ids[annotation["category_id"]]
            assert annotation["area"] == pixels.sum()
            assert annotation["bbox"] == api.toBbox(data.annToRLE(annotation)).tolist()
            assert annotation["iscrowd"] == 0
        assert (painted == mask).all()


def test_polygons_only_where_there_are_no_holes_and_diagonals_are_one_object(tmp_path) -> None:
    mask = np.zeros((12, 12), np.uint8)
    mask[[0, 1, 2, 3], [0, 1, 2, 3]] = 1
    mask[6:9, 6:9] = 1
    mask[7, 7] = 0
    data = json.loads(written(tmp_path, [mask], polygons=True).read_text())
    line, ring = data["annotations"]
    assert line["segmentation"][1] == [1, 1, 2, 1, 2, 2, 1, 2] and len(line["segmentation"]) == 4
    assert line["bbox"] == [0, 0, 4, 4] and line["area"] == 4
    assert ring["segmentation"]["size"] == [12, 12] and ring["area"] == 8
    exact = json.loads(written(tmp_path / "exact", [mask]).read_text())
    assert len(exact["annotations"]) == 2
    assert exact["annotations"][0]["segmentation"] == {
        "size": [12, 12],
        "counts": pack_counts(encode_counts(np.eye(12, dtype=bool) & (np.arange(12) < 4))),
    }


def test_categories_have_ids_colours_and_groups(tmp_path) -> None:
    data = json.loads(written(tmp_path, [np.array([[0, 1, IGNORE]], np.uint8)], TREES[3]).read_text())
    assert [(c["id"], c["name"], c["supercategory"], c.get("parents")) for c in data["categories"]] == [
        (3, "sky", "", None),
        (1, "cat", "pet", ["animal", "pet"]),
        (2, "dog", "pet", ["animal", "pet"]),
        (5, "elk", "animal", None),
        (255, "ignore", "", None),
    ]
    labels = {label.name: label for label in read(tmp_path, None, None).labels}
    assert labels["cat"].parents == ("animal", "pet") and labels["elk"].parents == ("animal",)
    assert labels["dog"].colour == (7, 8, 9) and labels["dog"].id == 2
    flat = json.loads(written(tmp_path / "flat", [np.zeros((2, 2), np.uint8)]).read_text())
    assert [c["id"] for c in flat["categories"]] == [1, 2, 7]
    assert flat["annotations"] == []


def test_paths_of_samples_never_meet(tmp_path) -> None:
    writer = CocoWriter(tmp_path, CLASSES, WriteOptions())
    samples = [
        Sample("train/a", Path("a.PNG"), split="train"),
        Sample("a", Path("a.png"), split="train"),
        Sample("a-2", Path("a.png"), split="train"),
        Sample("b", Path("b.jpg")),
    ]
    paths = ["images/train/a.png", "images/train/a-2.png", "images/train/a-2-2.png", "images/default/b.jpg"]
    assert [writer.image_path(sample) for sample in samples] == paths
    assert [writer.image_path(sample) for sample in samples] == paths
    for split in ("../x", "a/b", "..", "a\\b"):
        with pytest.raises(DataError, match="cannot be part of a file name"):
            writer.image_path(Sample("c", Path("c.png"), split=split))


def test_a_class_called_like_ignored_pixels_is_named(tmp_path) -> None:
    classes = ClassTree.flat(["background", "void"])
    writer = CocoWriter(tmp_path, classes, WriteOptions())
    assert writer.add(Sample("a", Path("a.png")), np.array([[0, 1, 1]], np.uint8)) == [
        "2 px of 'void', whose name means ignored"
    ]


# -- regions as tools write them ----------------------------------------------------------------------------------------

PACKED = pack_counts(encode_counts(drawn(slice(1, 5), slice(2, 6)) == "cat"))
PLAIN = encode_counts(drawn(slice(1, 5), slice(2, 6)) == "cat")


@pytest.mark.parametrize(
    "segmentation",
    [
        [SQUARE],
        SQUARE,
        [[2, 1], [6, 1], [6, 5], [2, 5]],
        [[[2, 1], [6, 1], [6, 5], [2, 5]]],
        [[2, 1, 4, 1, 4, 5, 2, 5], [4.0, 1.0, 6.0, 1.0, 6.0, 5.0, 4.0, 5.0]],
        [[2, 1, 5, 1, 5, 5, 2, 5], [3, 1, 6, 1, 6, 5, 3, 5]],  # overlapping parts are joined
        {"counts": PLAIN, "size": list(SIZE)},
        {"counts": PACKED, "size": [float(n) for n in SIZE]},
        {"counts": f"b'{PACKED}'", "size": list(SIZE)},
        [{"counts": PACKED, "size": list(SIZE)}],
    ],
)
def test_ways_to_write_a_region(tmp_path, segmentation) -> None:
    source, found = one(tmp_path, entry(segmentation))
    assert (found == drawn(slice(1, 5), slice(2, 6))).all()
    assert not source.notes
    assert not any(mark.weak for mark in source.items[0].marks)


def test_text_of_bytes_with_a_backslash(tmp_path) -> None:
    region = np.zeros((200, 300), bool)
    region[10:186, 7:290] = True
    packed = pack_counts(encode_counts(region))
    assert "\\" in packed
    image = [{"id": 1, "file_name": "a.png", "height": 200, "width": 300}]
    source, found = one(tmp_path, entry({"counts": str(packed.encode()), "size": [200, 300]}), images=image)
    assert ((found == "cat") == region).all()
    assert not source.notes


def test_boxes_are_weak_crowds_lie_below_and_later_regions_on_top(tmp_path) -> None:
    source, found = one(
        tmp_path,
        entry([SQUARE]),
        entry([], category=2, bbox=[0, 0, 20, 10], iscrowd=0),
        entry([[4, 1, 6, 1, 6, 5, 4, 5]], category=2),
        entry({"counts": [0, 200], "size": list(SIZE)}, iscrowd=1),
    )
    assert set(found[1:5, 2:4].flat) == {"cat"} and set(found[1:5, 4:6].flat) == {"dog"}
    assert found[9, 19] == "dog"  # the box is above the crowd
    assert [(mark.weak, mark.order) for mark in source.items[0].marks] == [
        (False, 0),
        (True, 0),
        (False, 0),
        (False, -1),
    ]
    assert [f.severity for f in source.notes] == [Severity.INFO, Severity.INFO]
    assert "only a box" in source.notes[0].message and "crowds" in source.notes[1].message


@pytest.mark.parametrize(
    "without", [{}, {"segmentation": None}, {"segmentation": []}, {"segmentation": [[]]}, {"segmentation": {}}]
)
def test_a_region_without_an_outline_is_its_box(tmp_path, without) -> None:
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 1, 4, 4], **without}
    source, found = one(tmp_path, box)
    assert (found == drawn(slice(1, 5), slice(2, 6))).all()
    assert source.items[0].marks[0].weak


def test_what_masks_cannot_hold_is_counted(tmp_path) -> None:
    more = {"score": 0.5, "keypoints": [1, 2, 2], "num_keypoints": 1, "attributes": {"occluded": False}}
    source, _ = one(tmp_path, entry([SQUARE], **more), entry([SQUARE], score=0.25, attributes={}))
    assert codes(source) == ["annotation.dropped"]
    assert source.notes[0].evidence["reasons"] == {"score": 2, "keypoints": 1, "num_keypoints": 1, "attributes": 1}
    assert source.notes[0].sample == "a"


def test_regions_that_reach_out_are_cut_off(tmp_path) -> None:
    source, found = one(
        tmp_path,
        entry([[-5, -5, 6, -5, 6, 5, -5, 5]]),
        entry([[15, 5, 1e9, 5, 1e9, 1e9, 15, 1e9]]),
        entry([[0, 9, 20, 9, 20, 10, 0, 10]]),
    )
    assert (found[:5, :6] == "cat").all() and (found[5:, 15:] == "cat").all() and found[8, 14] == "background"
    assert [(f.code, f.evidence["count"]) for f in source.notes] == [("annotation.clipped", 2)]


def test_run_lengths_of_another_size_are_noted(tmp_path) -> None:
    source, found = one(tmp_path, entry({"counts": [0, 100], "size": [10, 10]}))
    assert (found == drawn(slice(None), slice(0, 10))).all()
    assert codes(source) == ["annotation.conflict"]


# -- categories ---------------------------------------------------------------------------------------------------------


def categories(*rows):
    return [dict(zip(("id", "name", "supercategory"), row, strict=False)) for row in rows]


def test_ids_of_categories_with_gaps_are_kept(tmp_path) -> None:
    make(
        tmp_path,
        {
            "a.png": None,
            "x.json": sheet(entry([SQUARE], category=9), categories=categories((9, "cat"), (70000, "dog"), (4, "elk"))),
        },
    )
    assert [(label.name, label.id) for label in read(tmp_path, None, None).labels] == [
        ("cat", 9),
        ("dog", None),
        ("elk", 4),
    ]
    make(tmp_path, {"x.json": sheet(entry([SQUARE], category=9), categories=categories((9, "cat"), (4, "elk")))})
    assert load_dataset(tmp_path).classes.ids == [0, 9, 4]
    make(tmp_path, {"x.json": sheet(entry([SQUARE], category=0), categories=categories((0, "cat"), (4, "elk")))})
    dataset = load_dataset(tmp_path)
    assert (dataset.classes.names, dataset.classes.ids) == (["background", "cat", "elk"], [0, 1, 2])


@pytest.mark.parametrize(
    ("rows", "parents"),
    [
        (
            [(1, "cat", "animal"), (2, "dog", "animal"), (3, "person", "person")],
            {"cat": ("animal",), "dog": ("animal",)},
        ),
        ([(1, "cat", "none"), (2, "dog", "Root"), (3, "elk", "")], {}),
        ([(1, "cat", "animal"), (2, "animal", "thing")], {}),
        ([(1, "cat", "cat"), (2, "dog", "cat")], {}),
    ],
)
def test_supercategories_become_parents_where_they_make_a_tree(tmp_path, rows, parents) -> None:
    source, _ = one(tmp_path, entry([SQUARE], category=1), categories=categories(*rows))
    assert {label.name: label.parents for label in source.labels if label.parents} == parents
    clash = any(row[2] in [other[1] for other in rows] and row[2] != row[1] for row in rows)
    assert codes(source) == (["annotation.conflict"] if clash else [])


def test_the_group_that_roboflow_lists_first_is_no_class(tmp_path) -> None:
    rows = categories((0, "cells", "none"), (1, "red", "cells"), (2, "white", "cells"))
    source, _ = one(tmp_path, entry([SQUARE]), categories=rows)
    assert [(label.name, label.id, label.parents) for label in source.labels] == [("red", 1, ()), ("white", 2, ())]
    assert codes(source) == ["annotation.dropped"]
    source, _ = one(tmp_path, entry([SQUARE], category=0), categories=rows)  # it does have a region
    assert [label.name for label in source.labels] == ["cells", "red", "white"]


def test_categories_that_are_not_listed_or_have_no_name_get_one(tmp_path) -> None:
    source, found = one(tmp_path, entry([SQUARE], category=5), categories=[{"id": 1}, {"id": "x", "name": 7}])
    assert (found == drawn(slice(1, 5), slice(2, 6), "category_5")).all()
    assert [label.name for label in source.labels] == ["category_1", "7", "category_5"]
    assert [(f.code, f.severity) for f in source.notes] == [("annotation.renamed", Severity.WARNING)]


# -- files, images, splits ----------------------------------------------------------------------------------------------


def image(name, number=1, **more):
    return {"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1], **more}


@pytest.mark.parametrize(
    ("annotation", "picture", "file_name", "sample", "split"),
    [
        ("annotations/instances_train2017.json", "train2017/a.png", "a.png", "train/a", "train"),
        ("annotations/instances_val.json", "images/val/x/a.png", "x/a.png", "val/x/a", "val"),
        ("annotations/instances_fold 1.json", "images/fold 1/a.png", "a.png", "fold 1/a", "fold 1"),
        ("annotations/instances_default.json", "images/default/train/a.png", "train/a.png", "train/a", None),
        ("train/_annotations.coco.json", "train/a.png", "a.png", "train/a", "train"),
        ("valid/_annotations.coco.json", "valid/images/a.png", "a.png", "val/a", "val"),
        ("test/labels.json", "test/a.png", "a.png", "test/a", "test"),
        ("train.json", "images/train/a.png", "a.png", "train/a", "train"),
        ("result.json", "images/a.png", "images\\1\\a.png", "a", None),
        ("result.json", "images/1/a.png", "images\\1/a.png", "1/a", None),
        ("result.json", "images/train/a.png", "train/a.png", "train/a", "train"),
        ("result.json", "images/a b.png", "http://host:80/x/a%20b.png?t=1#2", "a b", None),
        ("result.json", "images/a.png", "/data/local-files/?d=x/a.png", "a", None),
        ("result.json", "images/a.png", "../../images/a.png", "a", None),
        ("result.json", "a.png", "/home/someone/a.png", "a", None),
        ("result.json", "deep/er/a.png", "C:\\Users\\x\\a.png", "deep/er/a", None),
        ("result.json", "a.tar.png", "./a.tar.png", "a.tar", None),
    ],
)
def test_images_are_found_by_the_names_of_other_tools(tmp_path, annotation, picture, file_name, sample, split) -> None:
    make(tmp_path, {picture: None, annotation: sheet(entry([SQUARE]), images=[image(file_name)])})
    assert detect(tmp_path)
    dataset = load_dataset(tmp_path)
    assert [(s.name, s.split, s.image) for s in dataset.samples] == [(sample, split, tmp_path / picture)]
    assert (dataset.read_mask(dataset.samples[0])[1:5, 2:6] == 1).all()
    elsewhere = any(mark in file_name for mark in ("\\", "..", "/home", "http", "?d="))
    assert [f.code for f in dataset.notes] == (["annotation.renamed"] if elsewhere else [])


def test_a_name_is_no_reason_to_take_another_folders_image(tmp_path) -> None:
    make(tmp_path, {"b/1.png": None, "x.json": sheet(images=[image("a/1.png"), image("b/1.png", 2)])})
    source = read(tmp_path, None, None)
    assert [(item.name, item.image.is_file()) for item in source.items] == [("a/1", False), ("b/1", True)]
    assert (
        message(source, "annotation.no_image") == "x.json: 1 image is not in the folder: missing (1); first in a/1.png"
    )


def test_the_folder_and_the_file_can_be_named(tmp_path) -> None:
    make(tmp_path, {"one/a.png": None, "two/a.png": None, "x.json": sheet(), "far/away/y.json": sheet(entry([SQUARE]))})
    source = read(tmp_path, "far/away", "two")
    assert [(item.name, item.image, len(item.marks)) for item in source.items] == [("a", tmp_path / "two/a.png", 1)]
    assert read(tmp_path, "far/away/y.json", "one/").items[0].image == tmp_path / "one/a.png"
    with pytest.raises(DataError, match="parent folder"):
        read(tmp_path, "../y.json", None)


def test_files_of_other_tasks_are_left_out_with_a_note(tmp_path) -> None:
    people = sheet(entry([SQUARE], keypoints=[1, 2, 3]))
    make(
        tmp_path,
        {
            "images/a.png": None,
            "other.json": "not looked at",
            "annotations/captions_train.json": "{}",
            "annotations/instances_train.json": people,
            "annotations/person_keypoints_train.json": people,
            "annotations/notes.json": {"a": 1},
            "annotations/results.json": [entry([SQUARE], score=1)],
            "annotations/words.json": sheet({"image_id": 1, "caption": "a cat"}),
        },
    )
    source = read(tmp_path, None, None)
    assert len(source.items) == 1 and len(source.items[0].marks) == 1
    assert sorted(f.evidence["file"].split("/")[1] for f in source.notes if "not read" in f.message) == [
        "captions_train.json",
        "notes.json",
        "person_keypoints_train.json",
        "results.json",
        "words.json",
    ]
    (tmp_path / "annotations/instances_train.json").unlink()
    assert read(tmp_path, "annotations/person_keypoints_train.json", None).items[0].marks


def test_splits_and_files_are_joined(tmp_path) -> None:
    cats, dogs = entry([SQUARE]), entry([[8, 1, 9, 1, 9, 2, 8, 2]], category=2)
    make(
        tmp_path,
        {
            "images/train/a.png": None,
            "images/val/a.png": None,
            "annotations/instances_train.json": sheet(cats, categories=categories((1, "cat"))),
            "annotations/train_dogs.json": sheet(dogs, categories=categories((2, "dog"))),
            "annotations/instances_val.json": sheet(dogs),
        },
    )
    source = read(tmp_path, None, None)
    assert {item.name: [mark.label for mark in item.marks] for item in source.items} == {
        "train/a": ["cat", "dog"],
        "val/a": ["dog"],
    }
    assert codes(source) == ["annotation.duplicate"]


def test_one_name_for_two_images_and_ids_given_twice(tmp_path) -> None:
    two = [image("a.png"), image("a.jpg", 2), image("b.png", 2), image("a.png", "x")]
    make(
        tmp_path,
        {
            "a.png": None,
            "a.jpg": None,
            "b.png": None,
            "x.json": sheet(
                {**entry([SQUARE]), "id": 7},
                {**entry([SQUARE], image="x"), "id": 7},
                entry([SQUARE], image=2),
                images=two,
                categories=categories((1, "cat"), (1, "dog"), (2, "cat")),
            ),
        },
    )
    source = read(tmp_path, None, None)
    assert [(item.name, len(item.marks)) for item in source.items] == [("a", 2), ("a-2", 1)]
    assert [(label.name, label.id) for label in source.labels] == [("cat", None)]
    assert sorted(codes(source)) == ["annotation.conflict", "annotation.duplicate", "annotation.renamed"]
    duplicate = next(f for f in source.notes if f.code == "annotation.duplicate")
    assert duplicate.evidence["count"] == 4


def test_ids_as_text_here_and_as_numbers_there(tmp_path) -> None:
    source, found = one(tmp_path, entry([SQUARE], image="1", category="1"), entry([SQUARE], image=1.0))
    assert (found == drawn(slice(1, 5), slice(2, 6))).all()
    assert len(source.items[0].marks) == 2 and not source.notes


def test_images_without_regions_are_background_and_noted_when_all_are(tmp_path) -> None:
    source, found = one(tmp_path)
    assert (found == "background").all()
    assert codes(source) == ["annotation.conflict"]


def test_other_json_is_not_taken_for_coco(tmp_path) -> None:
    make(
        tmp_path,
        {
            "a.json": {"version": "5.0", "shapes": [], "imagePath": "a.png", "imageHeight": 3},
            "b.json": {"info": {}, "categories": {"label": {"labels": []}}, "items": [{"annotations": []}]},
            "sub/c.json": {"label_map": {"0": "x"}},
        },
    )
    assert detect(tmp_path) is None
    make(tmp_path, {"sub/d.json": json.dumps(sheet(entry([SQUARE])), indent=4)})
    assert detect(tmp_path) == "sub/d.json holds annotations, categories, category_id, file_name, image_id, images"
    assert detect_any(make(tmp_path / "x", {"e.json": sheet(), "a.png": None})).file.layout == "coco"


# -- hostile files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (entry(["a", 1, 2, 3, 4, 5]), "no list of x and y"),
        (entry([[1, 2, 3, 4, 5, [6]]]), "no list of x and y"),
        (entry(True), "no list of x and y"),
        (entry({"counts": {}, "size": list(SIZE)}), "no list of whole numbers"),
        (entry({"counts": [], "size": list(SIZE)}), "no list of whole numbers"),
        (entry({"counts": PACKED[:-1] + "o", "size": list(SIZE)}), "damaged"),
        (entry({"counts": [0, 200], "size": [-10, -20]}), "impossible"),
        (entry([], bbox=[1, 2, 1e300, 4]), "boxes without an area"),
        (entry([], bbox="1 2 3 4"), "neither an outline nor a box"),
        (entry([SQUARE], image=None), "images that are not listed"),
        (entry([SQUARE], image={}), "images that are not listed"),
        (entry([SQUARE], category=[1]), "without a category"),
        (entry([SQUARE], category="x" * 101), "without a category"),
        (entry([SQUARE], category="a\nb"), "without a category"),
    ],
)
def test_bad_regions_are_left_out_and_counted(tmp_path, bad, reason) -> None:
    source, found = one(tmp_path, entry([[7, 1, 9, 1, 9, 2, 7, 2]]), bad, bad)
    assert (found == drawn(1, slice(7, 9))).all()
    notes = [f for f in source.notes if f.code == "annotation.invalid"]
    assert len(notes) == 1 and notes[0].severity is Severity.WARNING
    assert reason in notes[0].message and notes[0].evidence["count"] == 2
    assert "\n" not in notes[0].message


@pytest.mark.parametrize("content", ["7", "[]", "null", '"x"', "{}", '{"images": {}, "annotations": []}', "NaN"])
def test_json_of_another_kind_is_no_annotation_file(tmp_path, content) -> None:
    make(tmp_path, {"a.png": None, "x.json": content})
    with pytest.raises(DataError, match="none of 1 JSON files holds COCO"):
        read(tmp_path, None, None)


@pytest.mark.parametrize(
    "bad",
    [
        7,
        None,
        {},
        {"file_name": "a.png"},
        image("", 2),
        image(".", 2),
        image("..", 2),
        image(7, 2),
        image("x\n.png", 2),
        image("a.png", [2]),
        image("a.png", float("nan")),
        image("http://", 2),
        image("/?d=%00", 2),
    ],
)
def test_bad_images_are_left_out(tmp_path, bad) -> None:
    source, _ = one(tmp_path, entry([SQUARE]), images=[image("a.png"), bad])
    assert [item.name for item in source.items] == ["a"]
    assert codes(source) == ["annotation.invalid"]


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd",
        "/etc/passwd",
        "C:\\x\\y.png",
        "a/../../../b.png",
        "file:///etc/passwd",
        "\\\\host\\share\\b.png",
        "x" * 5000 + ".png",
    ],
)
def test_no_name_leads_outside(tmp_path, name) -> None:
    source, _ = one(tmp_path, entry([SQUARE]), images=[image("a.png"), image(name, 2)])
    assert len(source.items) == 2
    assert (
        source.items[1].image.resolve().is_relative_to(tmp_path.resolve()) and ".." not in source.items[1].image.parts
    )
    assert codes(source) == ["annotation.no_image"]


@pytest.mark.parametrize(
    "size", [{"height": -1, "width": 5}, {"height": "x"}, {"height": None}, {"height": float("nan")}]
)
def test_impossible_sizes_give_way_to_the_image(tmp_path, size) -> None:
    source, found = one(tmp_path, entry([SQUARE]), images=[image("a.png", **size)])
    assert found.shape == SIZE
    assert codes(source) == ["annotation.conflict"] and source.items[0].size is None


@pytest.mark.parametrize("bad", [7, {"id": None, "name": "x"}, {"id": [1], "name": "x"}])
def test_bad_categories_are_left_out(tmp_path, bad) -> None:
    source, _ = one(tmp_path, entry([SQUARE]), categories=[{"id": 1, "name": "cat"}, bad])
    assert [label.name for label in source.labels] == ["cat"]
    assert codes(source) == ["annotation.invalid"]


def test_odd_values_beside_the_regions_change_nothing(tmp_path) -> None:
    deep = []
    for _ in range(500):
        deep = [deep]
    source, found = one(
        tmp_path,
        entry([SQUARE], extra=deep, **{"a\nb" * 200: 1}),
        info=deep,
        licenses="x",
        categories=[
            {"id": 1, "name": "cat", "supercategory": deep, "parents": [1], "color": [1, 2]},
            {"id": 2, "name": "dog", "parents": ["a"] * 50, "color": [1, 2, 300]},
        ],
    )
    assert (found == drawn(slice(1, 5), slice(2, 6))).all()
    assert [(label.colour, label.parents) for label in source.labels] == [(None, ())] * 2
    assert codes(source) == ["annotation.dropped"] and "\n" not in source.notes[0].message


def test_many_bad_regions_make_one_note(tmp_path) -> None:
    source, _ = one(
        tmp_path,
        *[entry([[n, float("nan")]], image=n % 2) for n in range(3000)],
        *[entry([SQUARE], **{f"key {n}": 1}) for n in range(100)],
    )
    assert sorted(codes(source)) == ["annotation.dropped", "annotation.invalid"]
    assert all(len(finding.message) < 1000 for finding in source.notes)


# -- the real export ----------------------------------------------------------------------------------------------------


def real(name: str) -> Path:
    folder = os.environ.get("MASKWRIGHT_REAL_DATA")
    if not folder:
        pytest.skip("MASKWRIGHT_REAL_DATA is not set: the real exports were not read")
    return Path(folder) / name


def test_a_real_export() -> None:
    dataset = load_dataset(real("exports/coco_instances"))
    assert [(s.name, s.split, s.provenance) for s in dataset.samples] == [
        ("train/a", "train", "box"),
        ("val/b", "val", "hand"),
    ]
    assert (dataset.classes.names, dataset.classes.ids) == (["background", "a", "b", "c"], [0, 1, 2, 4])
    box, outlines = (dataset.read_mask(sample) for sample in dataset.samples)
    wanted = np.zeros((5, 10), np.uint8)
    wanted[2, 2:5] = 2
    assert (box == wanted).all()
    wanted = np.zeros((10, 5), np.uint8)
    wanted[:, :2] = 2  # a crowd of 20 pixels, below the outline
    wanted[:2, 0] = 1
    assert (outlines == wanted).all()
    assert [(f.code, f.evidence["reasons"]) for f in dataset.notes] == [
        ("annotation.dropped", {"boxes": 1}),
        ("annotation.dropped", {"attributes": 1, "crowds, drawn below single objects": 1}),
    ]


def test_real_masks_come_back_exactly(tmp_path) -> None:
    classes = ClassTree.flat(["background", "inclusion", "patches", "scratches"])
    paths = sorted((real("steel") / "labels" / "val").glob("*.png"))[:20]
    given_masks = {path.stem: classes.to_indices(read_mask(path, INDEX, classes).ids) for path in paths}
    assert len(given_masks) == 20
    for polygons in (False, True):
        found, dropped = through(
            "coco", tmp_path / str(polygons), given_masks, classes, WriteOptions(polygons=polygons)
        )
        assert not dropped
        assert all((found[name] == named(mask, classes)).all() for name, mask in given_masks.items())


# -- in the wild ------------------------------------------------------------------------------------------------------


def test_lists_that_are_dictionaries_by_id(tmp_path) -> None:
    data = sheet(entry([SQUARE]), entry([[0, 0, 1, 0, 1, 1, 0, 1]], category=2))
    for key in ("images", "annotations"):
        data[key] = {str(value["id"]): value for value in data[key]}
    dataset = load_dataset(make(tmp_path, {"a.png": None, "x.json": data}), "coco")
    assert np.bincount(dataset.read(dataset.samples[0])[1].reshape(-1)).tolist() == [183, 16, 1] and not dataset.notes


def test_a_file_for_each_split_in_the_root_and_images_in_folders_below(tmp_path) -> None:
    files = {}
    for split, folder, number in (("train", "train_val", 1), ("val", "train_val", 2), ("test", "test", 3)):
        name = f"A172_{number}.png"
        files[f"images/cells_{folder}_images/A172/{name}"] = None
        images = [{"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]}]
        annotations = {str(number): entry([SQUARE], image=number)}
        files[f"cells_coco_{split}.json"] = sheet(images=images) | {"annotations": annotations}
    dataset = load_dataset(make(tmp_path, files))
    assert {sample.image.name: sample.split for sample in dataset.samples} == {
        "A172_1.png": "train",
        "A172_2.png": "val",
        "A172_3.png": "test",
    }
    assert not dataset.notes
    for sample in dataset.samples:
        assert dataset.read(sample)[1].sum() == 16


def test_a_file_of_all_beside_those_of_splits(tmp_path) -> None:
    files = {"images/a.png": None, "images/b.png": None}
    for word, names in (("all", "ab"), ("train", "a"), ("val", "b")):
        images = [{"id": n, "file_name": f"{name}.png", "height": 10, "width": 20} for n, name in enumerate(names)]
        files[f"{word}.json"] = sheet(entry([SQUARE], image=0), images=images)
    dataset = load_dataset(make(tmp_path, files), "coco")
    assert [(sample.name, sample.split) for sample in dataset.samples] == [("train/a", "train"), ("val/b", "val")]
    (finding,) = dataset.notes
    assert finding.code == "annotation.duplicate" and finding.severity is Severity.INFO
    assert finding.message.startswith("2 images are in a file without a split too, of which those with a split count")


def test_an_image_in_the_files_of_two_splits(tmp_path) -> None:
    files = {"images/a.png": None, "train.json": sheet(entry([SQUARE])), "val.json": sheet(entry([SQUARE]))}
    dataset = load_dataset(make(tmp_path, files), "coco")
    assert [(sample.name, sample.split) for sample in dataset.samples] == [("train/a", "train"), ("val/a", "val")]
    (finding,) = dataset.notes
    assert finding.severity is Severity.WARNING
    assert finding.message == "1 image is in the files of several splits, and a sample in each (images/a.png)"
