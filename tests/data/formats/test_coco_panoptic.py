"""COCO panoptic, held against the rule of panopticapi (`rgb2id`, and a class for each segment), written out here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.formats.roundtrip import named
from helpers import write
from maskwright.core.dataset import Dataset
from maskwright.core.sample import open_image
from maskwright.data.formats import deferred
from maskwright.data.formats.coco_panoptic import detect, read
from maskwright.data.init import init
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError

CATEGORIES: list[dict[str, Any]] = [
    {"id": 1, "name": "person", "supercategory": "person", "isthing": 1, "color": [220, 20, 60]},
    {"id": 3, "name": "car", "supercategory": "vehicle", "isthing": 1},
    {"id": 8, "name": "truck", "supercategory": "vehicle", "isthing": 1},
    {"id": 149, "name": "road", "supercategory": "ground", "isthing": 0},
]
NAMES = {category["id"]: category["name"] for category in CATEGORIES}


def id2rgb(ids: np.ndarray) -> np.ndarray:
    """As panopticapi.utils has it."""
    rgb = np.zeros((*ids.shape, 3), np.uint8)
    rest = ids.copy()
    for channel in range(3):
        rgb[..., channel] = rest % 256
        rest //= 256
    return rgb


def make(
    folder: Path, split: str = "val2017", count: int = 3, images: str = "{split}", pngs: str | None = None
) -> dict[str, np.ndarray]:
    """A dataset as COCO's own; returns the class names of each image (H, W)."""
    rng = np.random.default_rng(7)
    entries, annotations, truth = [], [], {}
    for number in range(1, count + 1):
        shape = (20 + number, 30)
        ids = np.zeros(shape, np.int64)
        segments, names = [], np.full(shape, "ignore", "U20")
        for _ in range(6):
            id_, category = int(rng.integers(1, 1 << 24)), int(rng.choice(list(NAMES)))
            top, left = rng.integers(0, 15, 2)
            ids[top : top + 9, left : left + 14] = id_
            segments.append({"id": id_, "category_id": category, "iscrowd": 0, "bbox": [0, 0, 1, 1], "area": 1})
        segments = [segment for segment in segments if (ids == segment["id"]).any()]
        for segment in segments:
            names[ids == segment["id"]] = NAMES[segment["category_id"]]
        stem = f"{number:012d}"
        write(folder / images.format(split=split) / f"{stem}.jpg", np.zeros((*shape, 3), np.uint8))
        write(folder / (pngs or f"annotations/panoptic_{split}") / f"{stem}.png", id2rgb(ids))
        entries.append({"id": number, "file_name": f"{stem}.jpg", "height": shape[0], "width": shape[1]})
        annotations.append({"image_id": number, "file_name": f"{stem}.png", "segments_info": segments})
        truth[stem] = names
    data = {"info": {}, "licenses": [], "images": entries, "annotations": annotations, "categories": CATEGORIES}
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / f"annotations/panoptic_{split}.json").write_text(json.dumps(data))
    return truth


def change(folder: Path, edit: Any, split: str = "val2017") -> None:
    path = folder / f"annotations/panoptic_{split}.json"
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def masks(dataset: Dataset) -> dict[str, np.ndarray]:
    return {s.name.rpartition("/")[2]: named(dataset.read(s)[1], dataset.classes) for s in dataset.samples}


def same(found: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> bool:
    return found.keys() == truth.keys() and all((found[name] == truth[name]).all() for name in truth)


@pytest.mark.parametrize(
    ("images", "pngs"),
    [
        ("{split}", None),
        ("images/{split}", None),
        ("images", None),
        ("{split}", "panoptic_val2017"),
        ("{split}", "annotations"),
        ("{split}", "somewhere/else"),
    ],
)
def test_masks_are_those_of_the_rule(tmp_path: Path, images: str, pngs: str | None) -> None:
    truth = make(tmp_path, images=images, pngs=pngs)
    assert detect(tmp_path) == "annotations/panoptic_val2017.json holds panoptic segments, and its PNG files are there"
    dataset = load_dataset(tmp_path)
    assert same(masks(dataset), truth) and not dataset.notes
    assert {sample.split for sample in dataset.samples} == {"val"}


def test_classes_are_the_categories_and_there_is_no_background(tmp_path: Path) -> None:
    make(tmp_path)
    dataset = load_dataset(tmp_path)
    assert dataset.classes.names == ["person", "car", "truck", "road"]
    assert dataset.classes.ids == [1, 3, 8, 149] and dataset.classes.background is None
    assert [leaf.parents for leaf in dataset.classes.leaves] == [(), ("vehicle",), ("vehicle",), ("ground",)]
    assert dataset.classes.leaves[0].colour == (220, 20, 60)
    assert init(tmp_path).dataset.layout == "coco_panoptic" and load_dataset(tmp_path) == dataset


def test_several_files_are_splits(tmp_path: Path) -> None:
    truth = make(tmp_path, "train2017", 2)
    val = make(tmp_path, "val2017", 1)
    found = load_dataset(tmp_path)
    assert {sample.name for sample in found.samples} == {f"train/{name}" for name in truth} | {
        f"val/{name}" for name in val
    }


def test_ids_beyond_those_of_masks_are_numbered(tmp_path: Path) -> None:
    truth = make(tmp_path)
    change(
        tmp_path,
        lambda data: (
            [entry.update(id=entry["id"] + 70000) for entry in data["categories"]]
            + [
                segment.update(category_id=segment["category_id"] + 70000)
                for entry in data["annotations"]
                for segment in entry["segments_info"]
            ]
        ),
    )
    dataset = load_dataset(tmp_path)
    assert dataset.classes.ids == [0, 1, 2, 3] and dataset.classes.background is None and same(masks(dataset), truth)


def test_nothing_is_decoded_before_a_mask_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    opened = []
    monkeypatch.setattr(deferred, "open_image", lambda path: opened.append(path.name) or open_image(path))
    deferred._numbers.cache_clear()
    dataset = load_dataset(tmp_path)
    assert not opened
    dataset.read_mask(dataset.samples[0])
    dataset.read_mask(dataset.samples[1])
    assert opened == ["000000000001.png", "000000000002.png"]  # once each, whatever the number of classes


def test_a_segment_that_is_not_listed_is_an_error(tmp_path: Path) -> None:
    make(tmp_path)
    change(tmp_path, lambda data: data["annotations"][0]["segments_info"].pop())
    dataset = load_dataset(tmp_path)
    with pytest.raises(DataError, match=r"000000000001\.png holds \d+ pixels of segments that are not listed"):
        dataset.read(dataset.samples[0])
    dataset.read(dataset.samples[1])


def test_a_png_of_another_size_and_one_that_is_lossy_or_grey(tmp_path: Path) -> None:
    make(tmp_path)
    dataset = load_dataset(tmp_path)
    path = tmp_path / "annotations/panoptic_val2017/000000000001.png"
    write(path, np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(DataError, match="is 6x5 where 30x21 is expected"):
        dataset.read(dataset.samples[0])
    Image.fromarray(np.zeros((21, 30, 3), np.uint8)).save(path, "JPEG")
    with pytest.raises(DataError, match="JPEG of kind RGB where ids of segments"):
        dataset.read(dataset.samples[0])
    write(path, np.zeros((21, 30), np.uint8))
    with pytest.raises(DataError, match="PNG of kind L where ids of segments"):
        dataset.read(dataset.samples[0])


def test_images_without_png_or_annotation_are_not_labelled(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "annotations/panoptic_val2017/000000000001.png").unlink()
    (tmp_path / "val2017/000000000003.jpg").unlink()
    change(tmp_path, lambda data: data["annotations"].pop(1))
    dataset = load_dataset(tmp_path)
    assert [sample.labelled for sample in dataset.samples] == [False, False, True]
    assert [note.message for note in dataset.notes] == [
        "1 image is not in the folder (000000000003.jpg)",
        "1 PNG of segments is not in the folder; the image is not labelled (000000000001.png)",
    ]


def test_without_png_files_it_is_not_detected(tmp_path: Path) -> None:
    make(tmp_path)
    for path in (tmp_path / "annotations/panoptic_val2017").iterdir():
        path.unlink()
    assert detect(tmp_path) is None


def test_instances_beside_it_are_told(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "annotations/instances_val2017.json").write_text('{"images": [], "annotations": [], "categories": []}')
    (note,) = load_dataset(tmp_path).notes
    assert note.message == "1 JSON file is not of panoptic segments; left out (annotations/instances_val2017.json)"
    assert "`coco`" in note.fix


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    make(tmp_path)

    def spoil(data: Any) -> None:
        data["annotations"][0]["segments_info"] += [
            {"id": 0, "category_id": 1},
            {"id": 1 << 24, "category_id": 1},
            {"id": None, "category_id": 1},
            {"id": 5, "category_id": None},
            7,
            {"id": 77, "category_id": 1000, "iscrowd": 1},
            {"id": 77, "category_id": 1},
        ]
        data["annotations"] += [5, {"image_id": 1}, {"image_id": 99, "segments_info": []}]
        data["images"] += [data["images"][0], {"id": 50}, {"id": 51, "file_name": "/"}, "x"]
        data["categories"] += [5, {"id": 3, "name": "again"}]

    change(tmp_path, spoil)
    source = read(tmp_path, None, None)
    assert {note.message.partition(" (")[0] for note in source.notes} == {
        "12 entries have no id, no name or no category; left out",
        "3 entries are given twice; the first counts",
        "1 category has no name",
        "1 crowd is drawn as single segments are",
    }


def test_other_files_and_paths_that_lead_outside(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match="points to a parent folder"):
        read(tmp_path, "../x.json", None)
    write(tmp_path / "../outside.png", np.zeros((21, 30, 3), np.uint8))
    change(tmp_path, lambda data: data["annotations"][0].update(file_name="../../../outside.png"))
    change(tmp_path, lambda data: data["images"][1].update(file_name="../../../outside.jpg"))
    dataset = load_dataset(tmp_path)
    assert [note.code for note in dataset.notes] == ["annotation.no_image"] * 2
    assert all(sample.image.resolve().is_relative_to(tmp_path.resolve()) for sample in dataset.samples)
    (tmp_path / "annotations/panoptic_val2017.json").write_text("{")
    with pytest.raises(DataError, match="not readable as JSON"):
        read(tmp_path, None, None)
    (tmp_path / "annotations/panoptic_val2017.json").write_text("{}")
    with pytest.raises(DataError, match="none of 1 JSON files holds panoptic segments"):
        read(tmp_path, None, None)


def test_the_version_is_that_of_the_png_files(tmp_path: Path) -> None:
    make(tmp_path)
    before = load_dataset(tmp_path).version()
    path = tmp_path / "annotations/panoptic_val2017/000000000001.png"
    write(path, np.asarray(Image.open(path))[::-1])
    assert load_dataset(tmp_path).version() != before


def test_datumaro_writes_what_is_read(tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro")
    from datumaro.components.annotation import Mask
    from datumaro.components.media import Image as Media

    rng = np.random.default_rng(2)
    labels, truth, items = ["sky", "cat", "dog"], {}, []
    for split in ("train", "val"):
        for number in range(3):
            classes = rng.integers(0, 3, (12, 15))
            shapes = [
                Mask(classes == label, label=label, id=label + 1, group=label + 1, attributes={"is_crowd": False})
                for label in range(3)
            ]
            media = Media.from_numpy(np.zeros((12, 15, 3), np.uint8))
            items.append(
                datumaro.DatasetItem(
                    f"i{number}", subset=split, media=media, annotations=shapes, attributes={"id": number + 1}
                )
            )
            truth[f"{split}/i{number}"] = np.array(labels)[classes]
    made = datumaro.Dataset.from_iterable(items, categories=labels)
    made.export(str(tmp_path / "out"), "coco_panoptic", save_media=True)
    assert detect(tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    found = {sample.name: named(dataset.read(sample)[1], dataset.classes) for sample in dataset.samples}
    assert same(found, truth), sorted(found)
