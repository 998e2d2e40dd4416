"""The common semantic format: classes of its meta file, and masks paired with images without guessing."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from data.formats.roundtrip import named
from helpers import write
from maskwright.data.formats.semantic import detect, read
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError

PICTURE = np.zeros((2, 3, 3), np.uint8)
COLOURS = [[0, 0, 0], [64, 128, 64], [192, 0, 128]]
MASK = np.array([[0, 1, 2], [2, 2, 0]], np.uint8)
META = {"label_map": {"0": "nothing", "1": "cat", "2": "dog"}, "segmentation_colors": COLOURS, "background_label": "0"}


def make(
    folder: Path,
    meta: object = META,
    images: tuple[str, ...] = ("a",),
    masks: tuple[str, ...] = ("a",),
    pixels: np.ndarray = MASK,
) -> Path:
    for name in images:
        write(folder / "images" / f"{name}.png", PICTURE)
    for name in masks:
        write(folder / "masks" / f"{name}.png", pixels)
    (folder / "dataset_meta.json").write_bytes(meta if isinstance(meta, bytes) else json.dumps(meta).encode())
    return folder


def pairs(folder: Path) -> dict[str, str | None]:
    return {item.name: item.mask.stem if item.mask else None for item in read(folder, None, None).items}


@pytest.mark.parametrize("pixels", [MASK, np.array(COLOURS, np.uint8)[MASK]], ids=["index", "colour"])
@pytest.mark.parametrize(
    "meta",
    [
        META,
        {
            **META,
            "label_map": {"2": "dog", "0": "nothing", "1": "cat"},
            "segmentation_colors": [COLOURS[i] for i in (2, 0, 1)],
        },
        {"labels": ["nothing", "cat", "dog"], "segmentation_colors": COLOURS},
    ],
    ids=["map", "other order", "list"],
)
def test_masks_of_both_kinds(tmp_path, pixels, meta) -> None:
    make(tmp_path, meta, images=("a", "b"), pixels=pixels)
    assert detect(tmp_path)
    dataset = load_dataset(tmp_path)
    assert {leaf.name: (leaf.id, list(leaf.colour)) for leaf in dataset.classes.leaves} == {
        name: (i, COLOURS[i]) for i, name in enumerate(("nothing", "cat", "dog"))
    }
    mask = dataset.read(dataset.samples[0])[1]
    assert (named(mask, dataset.classes) == np.array(["nothing", "cat", "dog"])[MASK]).all()
    assert not dataset.samples[1].labelled and not dataset.notes


def test_ids_with_gaps_colours_by_id_and_an_ignore_label(tmp_path) -> None:
    meta = {
        "label_map": {"0": "nothing", "2": "dog", "7": "ignore"},
        "segmentation_colors": [[i, i, i] for i in range(8)],
    }
    make(tmp_path, meta, pixels=np.where(MASK == 1, 7, MASK).astype(np.uint8))
    dataset = load_dataset(tmp_path)
    assert (
        dataset.classes.ids == [0, 2] and dataset.classes.ignore == 7 and dataset.classes.leaves[1].colour == (2, 2, 2)
    )
    assert dataset.read_mask(dataset.samples[0]).tolist() == [[0, 255, 1], [1, 1, 0]]


def test_an_ignore_label_with_a_colour(tmp_path) -> None:
    meta = {"labels": ["nothing", "void", "dog"], "segmentation_colors": COLOURS, "background_label": 0}
    dataset = load_dataset(make(tmp_path, meta, pixels=np.array(COLOURS, np.uint8)[MASK]))
    assert dataset.classes.names == ["nothing", "dog"] and dataset.encoding.ignore_colour == tuple(COLOURS[1])
    assert dataset.read_mask(dataset.samples[0]).tolist() == [[0, 255, 1], [1, 1, 0]]


def test_a_folder_for_each_split(tmp_path) -> None:
    for split in ("train", "valid"):
        make(tmp_path / split)
    assert "train/dataset_meta.json" in detect(tmp_path)
    assert [(s.name, s.split) for s in load_dataset(tmp_path).samples] == [("train/a", "train"), ("val/a", "val")]
    make(tmp_path / "test", {**META, "label_map": {"0": "nothing", "1": "dog", "2": "cat"}})
    with pytest.raises(DataError, match="other classes"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("images", "masks", "wanted", "notes"),
    [
        (["a", "a_mask", "b"], ["a", "a_mask", "b_gt"], {"a": "a", "a_mask": "a_mask", "b": "b_gt"}, []),
        (["a", "a_mask"], ["a_mask"], {"a": None, "a_mask": "a_mask"}, []),
        (
            ["image_0001", "image_0002", "image_x"],
            ["gt_0001", "gt_0002", "gt_x"],
            {"image_0001": "gt_0001", "image_0002": "gt_0002", "image_x": "gt_x"},
            ["annotation.renamed"],
        ),
        (
            ["c2_001_rgb", "c3_001_rgb", "c2_002_rgb"],
            ["c2_001_id", "c3_001_id"],  # one number, two cameras
            {"c2_001_rgb": None, "c3_001_rgb": None, "c2_002_rgb": None},
            ["annotation.conflict", "annotation.no_image"],
        ),
        (
            ["left_1", "right_1"],
            ["gt_1"],
            {"left_1": None, "right_1": None},
            ["annotation.conflict", "annotation.no_image"],
        ),
        (["image_1", "image_2"], ["gt_01", "gt_02"], {"image_1": None, "image_2": None}, ["annotation.no_image"]),
        (
            ["p/image_1", "q/image_1"],
            ["p/gt_1", "q/gt_1"],
            {"p/image_1": None, "q/image_1": None},
            ["annotation.conflict", "annotation.no_image"],
        ),
        (["frame7"], ["7"], {"frame7": "7"}, ["annotation.renamed"]),
        (["x"], ["y"], {"x": None}, ["annotation.no_image"]),
    ],
)
def test_pairs(tmp_path, images, masks, wanted, notes) -> None:
    make(tmp_path, images=tuple(images), masks=tuple(masks))
    source = read(tmp_path, None, None)
    found = {
        item.name: item.mask.relative_to(tmp_path / "masks").with_suffix("").as_posix() if item.mask else None
        for item in source.items
    }
    assert found == wanted and [finding.code for finding in source.notes] == notes


def test_many_files_of_one_number_are_not_compared(tmp_path) -> None:
    make(tmp_path, images=tuple(f"{letter}_1" for letter in "abcdefghijklmnopqrstuvwxyz"), masks=("z_gt_1",))
    assert set(pairs(tmp_path).values()) == {None}


def test_the_names_of_folders_and_files_can_be_given(tmp_path) -> None:
    make(tmp_path)
    (tmp_path / "images").rename(tmp_path / "photos")
    (tmp_path / "dataset_meta.json").rename(tmp_path / "meta.json")
    assert detect(tmp_path) is None and [item.mask.stem for item in read(tmp_path, "meta.json", "photos").items] == [
        "a"
    ]
    for names in [("../meta.json", None), ("/etc/passwd", None), (None, "../photos"), ("nowhere.json", "photos")]:
        with pytest.raises(DataError):
            read(tmp_path, *names)


@pytest.mark.parametrize(
    "meta",
    [
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"label_map": []}',
        b'{"labels": {}}',
        {"label_map": {"-1": "cat"}},
        {"label_map": {"9" * 5000: "cat"}},
        {"label_map": {"0": "cat", "00": "dog"}},
        {"labels": [None]},
        {**META, "segmentation_colors": [[1, 2], 3, "x"]},
        {**META, "segmentation_colors": [[1, 2, 300]] * 3},
        {**META, "segmentation_colors": [[True, 0, 0]] * 3},
        {**META, "segmentation_colors": "red"},
    ],
    ids=lambda meta: repr(meta)[:40],
)
def test_broken_meta_files(tmp_path, meta) -> None:
    with pytest.raises(DataError, match=r"dataset_meta\.json") as caught:
        load_dataset(make(tmp_path, meta))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("link", ["images", "images/b.png"])
def test_links_that_lead_outside(tmp_path, link) -> None:
    make(tmp_path / "out")
    make(tmp_path / "in", images=("b",), masks=("b",))
    path = tmp_path / "in" / link
    if path.is_dir():
        (path / "b.png").unlink()
        path.rmdir()
    else:
        path.unlink()
    path.symlink_to(tmp_path / "out" / link.replace("b.png", "a.png"))
    with pytest.raises(DataError, match="symbolic link"):
        load_dataset(tmp_path / "in", "common_semantic")


def test_other_folders(tmp_path) -> None:
    assert detect(tmp_path) is None and detect(tmp_path / "nowhere") is None
    with pytest.raises(DataError, match=r"dataset_meta\.json"):
        read(tmp_path, None, None)


def real(name: str) -> Path:
    folder = os.environ.get("MASKWRIGHT_REAL_DATA")
    if not folder:
        pytest.skip("MASKWRIGHT_REAL_DATA is not set: the real exports were not read")
    return Path(folder) / "exports" / "common_semantic" / name


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "dataset",
            {"0001": "Bicyclist Bicyclist Road Bicyclist Bicyclist", "0002": "Animal Animal Animal Child Child"},
        ),
        (
            "non_standard_dataset",
            {
                "image_0001": "Bicyclist Bicyclist Road Bicyclist Bicyclist",
                "image_0002": "Animal Animal Road SignSymbol SignSymbol",
            },
        ),
    ],
)
def test_real_sets(name, wanted) -> None:
    dataset = load_dataset(real(name))
    assert dataset.classes.names[:2] == ["Void", "Animal"]
    assert {s.name: " ".join(named(dataset.read(s)[1], dataset.classes)[0]) for s in dataset.samples} == wanted
    assert [finding.code for finding in dataset.notes] == (["annotation.renamed"] if name.startswith("non") else [])
