"""Every check finds the defect that is planted for it, says nothing else, and is silent on clean data."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from helpers import fingerprint, make_dataset, palette_image, write
from maskwright.cli import main
from maskwright.core.findings import Finding, Severity
from maskwright.data.auditing import CHECKS, audit
from maskwright.data.convert import convert
from maskwright.data.opening import load_dataset

# What an audit is to find: codes with the sample (None for a finding about more than one).
Expected = set[tuple[str, str | None]]
PLANTS: dict[str, Callable[[Path], Expected]] = {}
# Ellipses that leave no specks of one another.
SEED = 1


def plants(code: str) -> Callable[[Callable[[Path], Expected]], Callable[[Path], Expected]]:
    def note(plant: Callable[[Path], Expected]) -> Callable[[Path], Expected]:
        PLANTS[code] = plant
        return plant

    return note


def read(path: Path) -> npt.NDArray[Any]:
    return np.array(Image.open(path))


def edit(folder: Path, old: str, new: str) -> None:
    file = folder / "dataset.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def change(folder: Path, masks: str, function: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> None:
    for path in (folder / "labels").glob(masks):
        write(path, function(read(path)))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "data", describe=True, seed=SEED)


def found(folder: Path) -> list[Finding]:
    return audit(folder, progress=False).findings


# --- one plant a code ------------------------------------------------------------------------------------


@plants("mask.none")
def _(folder: Path) -> Expected:
    shutil.rmtree(folder / "labels")
    return {("mask.none", None)}


@plants("image.unreadable")
def _(folder: Path) -> Expected:
    path = folder / "img/train/000.png"
    path.write_bytes(path.read_bytes()[:300])
    return {("image.unreadable", "train/000")}


@plants("mask.unreadable")
def _(folder: Path) -> Expected:
    (folder / "labels/val/002.png").write_bytes(b"no image")
    return {("mask.unreadable", "val/002")}


@plants("mask.size")
def _(folder: Path) -> Expected:
    change(folder, "train/001.png", lambda mask: mask[:-1])
    return {("mask.size", "train/001")}


@plants("mask.unknown_ids")
def _(folder: Path) -> Expected:
    def paint(mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        mask[0, :5] = 9
        return mask

    change(folder, "test/003.png", paint)
    return {("mask.unknown_ids", "test/003")}


@plants("split.leakage")
def _(folder: Path) -> Expected:
    # Another format with the same pixels.
    write(folder / "img/test/copy.bmp", read(folder / "img/train/000.png"))
    shutil.copy(folder / "labels/train/000.png", folder / "labels/test/copy.png")
    return {("split.leakage", "test/copy")}


@plants("class.not_in_train")
def _(folder: Path) -> Expected:
    change(folder, "train/*", lambda mask: np.where(mask == 2, 0, mask).astype(np.uint8))
    return {("class.not_in_train", None)}


@plants("mask.missing")
def _(folder: Path) -> Expected:
    (folder / "labels/train/000.png").unlink()
    return {("mask.missing", "train/000")}


@plants("mask.orphan")
def _(folder: Path) -> Expected:
    shutil.copy(folder / "labels/train/000.png", folder / "labels/train/forgotten.png")
    return {("mask.orphan", None)}


@plants("mask.inexact")
def _(folder: Path) -> Expected:
    def paint(mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        mask[mask == 100] = 97
        return mask

    change(folder, "*/*", lambda mask: mask * 100)
    change(folder, "val/006.png", paint)
    edit(folder, "encoding: index", "encoding: levels\n  levels: {0: 0, 100: 1, 200: 2}")
    return {("mask.inexact", "val/006")}


@plants("mask.all_ignore")
def _(folder: Path) -> Expected:
    change(folder, "train/000.png", lambda mask: np.full_like(mask, 255))
    return {("mask.all_ignore", "train/000")}


@plants("mask.rotated")
def _(folder: Path) -> Expected:
    path = folder / "labels/train/000.png"
    write(path, read(path), exif=turned(3))
    return {("mask.rotated", None)}


@plants("image.duplicate")
def _(folder: Path) -> Expected:
    write(folder / "img/train/twin.bmp", read(folder / "img/train/000.png"))
    shutil.copy(folder / "labels/train/000.png", folder / "labels/train/twin.png")
    return {("image.duplicate", "train/000")}


@plants("image.depth")
def _(folder: Path) -> Expected:
    path = folder / "img/train/000.png"
    write(path, read(path)[..., 0].astype(np.uint16) << 8)
    return {("image.depth", None)}


@plants("image.bands")
def _(folder: Path) -> Expected:
    path = folder / "img/train/000.png"
    infrared = np.random.default_rng(0).integers(1, 255, (48, 64), np.uint8)
    write(path, np.dstack([read(path), infrared]))
    return {("image.bands", None)}


@plants("image.colour_space")
def _(folder: Path) -> Expected:
    path = folder / "img/train/000.png"
    write(path.with_suffix(".jpg"), Image.open(path).convert("CMYK"))
    path.unlink()
    return {("image.colour_space", None)}


@plants("split.unlabelled")
def _(folder: Path) -> Expected:
    shutil.rmtree(folder / "labels/test")
    return {("split.unlabelled", None)}


@plants("split.unassigned")
def _(folder: Path) -> Expected:
    shutil.rmtree(folder)
    make_dataset(folder, layout="table", describe=True, seed=SEED)
    table = folder / "labels.csv"
    table.write_text(table.read_text().replace("004.png,004.png,train", "004.png,004.png,"))
    return {("split.unassigned", None)}


@plants("class.absent")
def _(folder: Path) -> Expected:
    edit(folder, "ignore:", "  - {id: 7, name: unseen}\nignore:")
    return {("class.absent", None)}


@plants("class.not_in_split")
def _(folder: Path) -> Expected:
    change(folder, "val/*", lambda mask: np.where(mask == 2, 0, mask).astype(np.uint8))
    return {("class.not_in_split", None)}


@plants("class.imbalance")
def _(folder: Path) -> Expected:
    def shrink(mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        mask[mask == 2] = 0
        mask[:3, :3] = 2
        return mask

    change(folder, "train/*", shrink)
    return {("class.imbalance", None)}


@plants("mask.all_background")
def _(folder: Path) -> Expected:
    change(folder, "train/000.png", np.zeros_like)
    return {("mask.all_background", None)}


@plants("mask.palette")
def _(folder: Path) -> Expected:
    # Colours that would be other ids if they were read.
    change(folder, "train/000.png", lambda mask: palette_image(mask, np.array([[1, 1, 1], [2, 2, 2], [0, 0, 0]])))  # type: ignore[arg-type,return-value]
    return {("mask.palette", None)}


@plants("mask.depth")
def _(folder: Path) -> Expected:
    change(folder, "train/000.png", lambda mask: mask.astype(np.uint16))
    return {("mask.depth", None)}


@plants("mask.colour")
def _(folder: Path) -> Expected:
    change(folder, "train/000.png", lambda mask: np.stack([mask] * 3, 2))
    return {("mask.colour", None)}


@plants("image.palette")
def _(folder: Path) -> Expected:
    path = folder / "img/train/000.png"
    write(path, Image.open(path).quantize(16))
    return {("image.palette", None)}


@plants("image.alpha")
def _(folder: Path) -> Expected:
    path = folder / "img/train/000.png"
    write(path, Image.open(path).convert("RGBA"))
    return {("image.alpha", None)}


@plants("image.rotated")
def _(folder: Path) -> Expected:
    path = folder / "img/train/000.png"
    write(path, read(path), exif=turned(3))
    return {("image.rotated", None)}


@plants("split.missing")
def _(folder: Path) -> Expected:
    edit(folder, ', val: "val"', "")
    shutil.rmtree(folder / "img/val")
    return {("split.missing", None)}


@plants("split.near_leakage")
def _(folder: Path) -> Expected:
    write(folder / "img/test/copy.jpg", read(folder / "img/train/000.png"), quality=50)
    shutil.copy(folder / "labels/train/000.png", folder / "labels/test/copy.png")
    return {("split.near_leakage", "test/copy")}


@plants("image.near_duplicate")
def _(folder: Path) -> Expected:
    image = Image.open(folder / "img/train/000.png")
    write(folder / "img/train/small.png", image.resize((48, 36), Image.Resampling.BOX))
    write(folder / "labels/train/small.png", Image.open(folder / "labels/train/000.png").resize((48, 36), 0))
    return {("image.near_duplicate", "train/000")}


@plants("mask.duplicate")
def _(folder: Path) -> Expected:
    shutil.copy(folder / "labels/train/000.png", folder / "labels/train/001.png")
    return {("mask.duplicate", "train/000")}


@plants("mask.hidden")
def _(folder: Path) -> Expected:
    """A region below another one, so that the mask stays as it is."""
    mask = read(folder / "labels/train/000.png")
    block = np.argwhere(cv2.erode((mask == 2).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)[0]
    y, x = map(int, block)
    convert(folder, folder.parent / "coco", to="coco", progress=False)
    shutil.rmtree(folder)
    (folder.parent / "coco").rename(folder)
    file = folder / "annotations/instances_train.json"
    content = json.loads(file.read_text())
    image = next(entry["id"] for entry in content["images"] if entry["file_name"].endswith("000.png"))
    content["annotations"].insert(
        0,
        {
            "id": 10**6,
            "image_id": image,
            "category_id": 1,
            "bbox": [x, y, 2, 2],
            "area": 4,
            "segmentation": [[x, y, x + 2, y, x + 2, y + 2, x, y + 2]],
            "iscrowd": 0,
        },
    )
    file.write_text(json.dumps(content))
    return {("mask.hidden", None)}


@plants("image.constant")
def _(folder: Path) -> Expected:
    write(folder / "img/train/000.png", np.full((48, 64, 3), (10, 20, 30), np.uint8))
    return {("image.constant", None)}


@plants("image.tiny")
def _(folder: Path) -> Expected:
    for kind in ("img", "labels"):
        path = folder / kind / "train/000.png"
        write(path, read(path)[4:35].copy())
    return {("image.tiny", None)}


@plants("image.size_outlier")
def _(folder: Path) -> Expected:
    for kind in ("img", "labels"):
        path = folder / kind / "train/000.png"
        write(path, np.kron(read(path), np.ones((3, 3, 1)[: 3 if kind == "img" else 2], np.uint8)))
    return {("image.size_outlier", None)}


@plants("image.aspect")
def _(folder: Path) -> Expected:
    for kind in ("img", "labels"):
        path = folder / kind / "train/000.png"
        write(path, np.concatenate([read(path)] * 3, 1))
    return {("image.aspect", None)}


@plants("name.odd")
def _(folder: Path) -> Expected:
    for kind in ("img", "labels"):
        (folder / kind / "train/000.png").rename(folder / kind / "train/größe.png")
    return {("name.odd", None)}


@plants("class.rare_images")
def _(folder: Path) -> Expected:
    change(folder, "train/00[045].png", lambda mask: np.where(mask == 2, 0, mask).astype(np.uint8))
    return {("class.rare_images", None)}


@plants("mask.specks")
def _(folder: Path) -> Expected:
    def paint(mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        mask[:3, :3] = 0
        mask[1, 1] = 2
        return mask

    change(folder, "train/000.png", paint)
    return {("mask.specks", None)}


@plants("mask.slivers")
def _(folder: Path) -> Expected:
    def paint(mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        mask[:3] = 0
        mask[1, 2:40] = 2
        return mask

    change(folder, "train/000.png", paint)
    return {("mask.slivers", None)}


@plants("mask.pinholes")
def _(folder: Path) -> Expected:
    def paint(mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        mask[:7, :7] = 1
        mask[3, 3:5] = 0
        return mask

    change(folder, "train/000.png", paint)
    return {("mask.pinholes", None)}


@plants("split.same_name")
def _(folder: Path) -> Expected:
    for kind in ("img", "labels"):
        (folder / kind / "test/003.png").rename(folder / kind / "test/000.png")
    return {("split.same_name", None)}


# --- tests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["split_folders", "img_dir", "table"])
def test_clean_data_give_no_finding(tmp_path: Path, layout: str) -> None:
    assert found(make_dataset(tmp_path / "data", layout=layout, describe=True, seed=SEED)) == []
    assert found(make_dataset(tmp_path / "again", layout=layout, seed=SEED)) == []


@pytest.mark.parametrize("code", CHECKS)
def test_each_check_finds_its_planted_defect_and_nothing_else(clean: Path, code: str) -> None:
    expected = PLANTS[code](clean)
    before = fingerprint(clean)
    findings = found(clean)
    assert {(finding.code, finding.sample) for finding in findings} == expected
    assert len(findings) == len(expected)
    for finding in findings:
        assert finding.severity is CHECKS[code].severity
        assert finding.message
        assert finding.fix
        if finding.sample:
            assert finding.split == finding.sample.split("/")[0]
    assert fingerprint(clean) == before


def test_the_table_is_ordered_documented_and_tested() -> None:
    assert set(PLANTS) == set(CHECKS)
    severities = [row.severity for row in CHECKS.values()]
    assert severities == sorted(severities, reverse=True)
    assert len({row.meaning for row in CHECKS.values()}) == len(CHECKS)
    assert len({row.look for row in CHECKS.values()}) == len(CHECKS)
    for code, row in CHECKS.items():
        room, _, what = code.partition(".")
        assert room in ("image", "mask", "split", "class", "name")
        assert what
        assert not row.meaning.endswith(".")


def one(folder: Path) -> Finding:
    (finding,) = found(folder)
    return finding


def test_unreadable_files_speak_with_the_readers_words(clean: Path) -> None:
    PLANTS["mask.unreadable"](clean)
    finding = one(clean)
    assert str(clean / "labels/val/002.png") in finding.message
    assert finding.message.endswith("not a readable image (PNG, JPEG, JPEG2000, BMP, TIFF, WEBP, PPM, GIF)")
    assert finding.fix == "save it again or remove it"


def test_a_missing_file_is_a_finding(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "data", layout="table", describe=True, seed=SEED)
    (folder / "images/004.png").unlink()
    result = audit(folder, progress=False)
    assert [finding.code for finding in result.findings] == ["image.unreadable"]
    assert result.version is None


def test_masks_that_are_all_broken_are_named_each_and_together(clean: Path) -> None:
    for path in (clean / "labels").rglob("*.png"):
        path.write_bytes(b"")
    codes = [finding.code for finding in found(clean)]
    assert codes == ["mask.none"] + ["mask.unreadable"] * 12


def test_unknown_ids_are_counted(clean: Path) -> None:
    PLANTS["mask.unknown_ids"](clean)
    finding = one(clean)
    assert finding.evidence == {"count": 1, "ids": {"9": 5}}
    assert "9 (5 px)" in finding.message


def test_a_depth_map_is_not_listed_id_by_id(clean: Path) -> None:
    write(clean / "labels/train/000.png", np.arange(48 * 64, dtype=np.uint16).reshape(48, 64))
    finding = next(finding for finding in found(clean) if finding.code == "mask.unknown_ids")
    assert finding.evidence["count"] == 48 * 64 - 4  # three classes, and 255
    assert len(finding.evidence["ids"]) == 50
    assert len(finding.message) < 200


@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_a_mask_that_fits_the_turned_image_names_the_setting(clean: Path, exif: str) -> None:
    edit(clean, "exif: apply", f"exif: {exif}")
    image, mask = (read(clean / kind / "train/000.png") for kind in ("img", "labels"))
    write(clean / "img/train/000.png", np.rot90(image).copy(), exif=turned(6))  # upright: 48 x 64
    write(clean / "labels/train/000.png", mask)
    findings = {finding.code: finding for finding in found(clean)}
    if exif == "apply":
        assert set(findings) == {"image.rotated"}
    else:
        assert set(findings) == {"image.rotated", "mask.size"}
        assert "`exif: apply`" in findings["mask.size"].fix
        assert findings["mask.size"].evidence == {"image": [64, 48], "mask": [48, 64]}


def test_inexact_masks_come_worst_first(clean: Path) -> None:
    change(clean, "*/*", lambda mask: mask * 100)
    for name, pixels in (("000", 4), ("004", 8)):
        mask = read(clean / f"labels/train/{name}.png")
        mask[0, :pixels] = 3
        write(clean / f"labels/train/{name}.png", mask)
    edit(clean, "encoding: index", "encoding: levels\n  levels: {0: 0, 100: 1, 200: 2}")
    findings = found(clean)
    assert [finding.sample for finding in findings] == ["train/004", "train/000"]
    assert findings[0].evidence == {"pixels": 8, "share": 8 / (48 * 64), "becomes": "nearest"}
    assert findings[0].message == "8 pixels (0.26%) were moved to the nearest grey level"


def test_leakage_says_whether_the_masks_agree(clean: Path) -> None:
    PLANTS["split.leakage"](clean)
    finding = one(clean)
    assert finding.evidence["samples"] == ["test/copy", "train/000"]
    assert finding.evidence["splits"] == ["test", "train"]
    assert not finding.evidence["masks_differ"]
    change(clean, "test/copy.png", lambda mask: np.roll(mask, 3, 0))
    finding = one(clean)
    assert finding.evidence["masks_differ"]
    assert finding.message == "has the same pixels as train/000, but another mask"


def test_images_that_differ_in_one_pixel_or_in_shape_are_no_duplicates(clean: Path) -> None:
    image, mask = (read(clean / kind / "train/000.png") for kind in ("img", "labels"))
    turned_over = image[::-1].copy()  # the same histogram
    nearly = image.copy()
    nearly[0, 0, 0] ^= 1
    for name, pixels in (("flipped", turned_over), ("nearly", nearly)):
        write(clean / f"img/train/{name}.png", pixels)
        write(clean / f"labels/train/{name}.png", mask)
    flat = np.zeros((48, 64, 3), np.uint8)
    for name, pixels in (("wide", flat), ("high", flat.reshape(64, 48, 3))):
        write(clean / f"img/train/{name}.png", pixels)
        write(clean / f"labels/train/{name}.png", np.resize(mask, pixels.shape[:2]))
    codes = {finding.code for finding in found(clean)}
    assert "image.duplicate" not in codes
    assert codes >= {"image.near_duplicate", "image.constant"}  # the one that nearly is, and the two flat ones


def test_duplicates_without_splits_are_no_leakage(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "data", layout="flat", describe=True, seed=SEED)
    shutil.copy(folder / "images/000.png", folder / "images/twin.png")
    shutil.copy(folder / "masks/000.png", folder / "masks/twin.png")
    assert {finding.code for finding in found(folder)} == {"image.duplicate", "split.missing"}


def test_excluded_samples_are_left_out(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "data", layout="table", describe=True, seed=SEED)
    (folder / "masks/004.png").write_bytes(b"")
    table = folder / "labels.csv"
    table.write_text(
        table.read_text()
        .replace("image,mask,split", "image,mask,split,status")
        .replace("004.png,004.png,train", "004.png,004.png,train,exclude")
    )
    result = audit(folder, progress=False)
    assert result.findings == []
    assert (result.samples, result.excluded) == (11, 1)


def test_empty_masks_are_counted_by_split(clean: Path) -> None:
    change(clean, "train/00[01].png", np.zeros_like)
    finding = next(finding for finding in found(clean) if finding.code == "mask.all_background")
    assert finding.severity is Severity.INFO
    assert finding.split == "train"
    assert finding.evidence == {"count": 2, "samples": ["train/000", "train/001"]}
    assert finding.message == "masks with nothing but 'background': 2 of 6"


def test_missing_splits_are_named(clean: Path) -> None:
    edit(clean, ', val: "val", test: "test"', "")
    unlisted, missing = found(clean)
    assert unlisted.code == "image.unlisted" and unlisted.evidence["count"] == 6
    assert missing.message == "no val and no test split"
    edit(clean, 'train: "train"', 'fold1: "train"')
    assert found(clean)[-1].message == "no train, val or test split"


def test_the_classes_of_a_finding_are_listed(clean: Path) -> None:
    PLANTS["class.imbalance"](clean)
    finding = one(clean)
    assert finding.evidence["classes"] == ["class_2"]
    assert finding.evidence["shares"] == {"class_2": 9 / (48 * 64)}


def test_one_class_alone_has_no_background(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "data", classes=1, describe=True, seed=SEED)
    assert found(folder) == []


# --- images that look alike ------------------------------------------------------------------------------


def test_equal_images_are_not_told_again_as_look_alikes(clean: Path) -> None:
    """An exact copy in val, a re-encoded one in test: the first is leakage, the second near leakage of the first."""
    for split, name in (("val", "copy.png"), ("test", "copy.jpg")):
        write(clean / "img" / split / name, read(clean / "img/train/000.png"), quality=50)
        shutil.copy(clean / "labels/train/000.png", clean / "labels" / split / "copy.png")
    findings = {finding.code: finding for finding in found(clean)}
    assert findings["split.leakage"].evidence["samples"] == ["train/000", "val/copy"]
    assert findings["split.near_leakage"].evidence == {
        "count": 2,
        "samples": ["test/copy", "train/000"],
        "splits": ["test", "train"],
    }
    assert findings["split.near_leakage"].message == "looks like train/000"
    assert set(findings) == {"split.leakage", "split.near_leakage", "split.same_name"}


def test_samples_of_other_splits_are_named_first(clean: Path) -> None:
    for quality in range(60, 66):
        for split in ("test", "train")[: 1 + (quality == 65)]:
            write(clean / "img" / split / f"copy{quality}.jpg", read(clean / "img/train/000.png"), quality=quality)
            shutil.copy(clean / "labels/train/000.png", clean / "labels" / split / f"copy{quality}.png")
    finding = next(finding for finding in found(clean) if finding.code == "split.near_leakage")
    assert finding.sample == "test/copy60"
    assert finding.message.startswith("looks like train/000")
    assert finding.evidence["count"] == 7


def test_a_mask_of_a_single_class_may_occur_twice(clean: Path) -> None:
    change(clean, "*/*", np.ones_like)
    assert "mask.duplicate" not in {finding.code for finding in found(clean)}


# --- sizes, names, flaws ---------------------------------------------------------------------------------


def test_sizes_that_are_simply_mixed_are_no_outliers(clean: Path) -> None:
    for index in (0, 4, 8):
        PLANTS["image.aspect"](clean)
        for kind in ("img", "labels"):
            (clean / kind / "train/000.png").rename(clean / kind / f"train/wide{index}.png")
            shutil.copy(clean / kind / "train/001.png", clean / kind / "train/000.png")
    assert "image.aspect" not in {finding.code for finding in found(clean)}


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([" a.png"], "begin or end with a space"),
        (["a .png"], "begin or end with a space"),
        (["a?.png"], "have characters that Windows forbids"),
        (["x" * 201 + ".png"], "are longer than 200 characters"),
        (["Wide.png", "wide.png"], "differ only by case"),
        (["ünd.png"], "have letters beyond ASCII"),
    ],
)
def test_odd_names_say_why(clean: Path, names: list[str], reason: str) -> None:
    for index, name in enumerate(names):
        for kind in ("img", "labels"):
            (clean / kind / f"train/00{4 + index}.png").rename(clean / kind / "train" / name)
    finding = one(clean)
    samples = [f"train/{Path(name).stem}" for name in names]
    assert finding.evidence == {"count": len(names), "samples": samples, "reasons": {reason: samples}}
    assert finding.message == f"odd file names: {len(names)} of 12; {len(names)} {reason}"


def test_flaws_are_told_with_the_worst_masks_and_places(clean: Path) -> None:
    def paint(mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        mask[:8, :8] = 0
        mask[2, 4:6] = 2
        mask[6, 1] = 1
        return mask

    change(clean, "train/001.png", paint)
    PLANTS["mask.specks"](clean)
    finding = one(clean)
    assert finding.evidence == {
        "count": 2,
        "samples": ["train/001", "train/000"],
        "flaws": 3,
        "worst": [
            {"sample": "train/001", "count": 2, "class": "class_1", "region": [1, 6, 1, 1]},
            {"sample": "train/000", "count": 1, "class": "class_2", "region": [1, 1, 1, 1]},
        ],
    }


def test_colours_of_16_bits_lose_eight(clean: Path) -> None:
    path = clean / "img/train/000.png"
    image = read(path).astype(np.uint16) << 8
    path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    finding = one(clean)
    assert finding.code == "image.depth"
    assert finding.evidence["samples"] == ["train/000"]


def test_rare_classes_need_a_training_split_that_is_not_rare_itself(tmp_path: Path) -> None:
    assert found(make_dataset(tmp_path / "data", 8, describe=True, seed=SEED)) == []  # four training images in all


# --- what the reading of annotation files noted -----------------------------------------------------------


def test_notes_of_the_reader_are_findings_in_the_order_of_severity(clean: Path) -> None:
    PLANTS["mask.palette"](clean)
    (clean / "labels/val/002.png").unlink()
    notes = tuple(Finding(f"format.{severity.label}", severity, "what was seen", "what to do") for severity in Severity)
    result = audit(replace(load_dataset(clean), notes=notes), progress=False)
    severities = [finding.severity for finding in result.findings]
    assert severities == sorted(severities, reverse=True)
    assert {note.code for note in notes} < {finding.code for finding in result.findings}
    assert len(result.findings) > len(notes)


# --- what of an image is dropped ---------------------------------------------------------------------------


def with_fourth(folder: Path, fourth: npt.NDArray[Any] | int, name: str = "000.png", **options: Any) -> None:
    path = folder / "img/train/000.png"
    pixels = np.dstack([read(path)[..., :3], np.broadcast_to(np.uint8(fourth), (48, 64))])
    path.unlink()
    write(path.with_name(name), pixels, **options)


def test_a_fourth_channel_is_told_by_what_it_holds(clean: Path) -> None:
    with_fourth(clean, 255)
    finding = one(clean)
    assert (finding.code, finding.fix) == ("image.alpha", "nothing to do: all are opaque")
    cut = np.full((48, 64), 255, np.uint8)
    cut[:10], cut[10] = 0, 128
    with_fourth(clean, cut)
    finding = one(clean)
    assert finding.code == "image.alpha" and "1 of them has transparent pixels" in finding.message
    with_fourth(clean, read(clean / "img/train/001.png")[..., 0])
    finding = one(clean)
    assert (finding.code, finding.severity, finding.evidence["count"]) == ("image.bands", Severity.WARNING, 1)


@pytest.mark.parametrize("bands", [4, 5, 6])
def test_bands_of_a_tiff_are_told(clean: Path, bands: int) -> None:
    """As tifffile and GDAL write them, with the extra bands said to be of no agreed kind."""
    tifffile = pytest.importorskip("tifffile")
    path = clean / "img/train/000.png"
    pixels = np.dstack([read(path), *[read(path)[..., 0]] * (bands - 3)])
    path.unlink()
    tifffile.imwrite(path.with_suffix(".tif"), pixels, photometric="rgb", extrasamples=["unspecified"] * (bands - 3))
    finding = one(clean)
    assert finding.code == "image.bands" and finding.message.startswith("images with more than three bands: 1 of 12")


def test_a_second_band_of_grey_is_told(clean: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    path = clean / "img/train/000.png"
    grey = read(path)[..., 0] if read(path).ndim == 3 else read(path)
    path.unlink()
    tifffile.imwrite(
        path.with_suffix(".tif"),
        np.dstack([grey, grey]),
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=["unspecified"],
    )
    finding = one(clean)
    assert finding.code == "image.bands" and finding.message.startswith("grey images with a second band: 1 of 12")


def test_transparency_of_a_palette_or_a_colour_is_alpha_too(clean: Path) -> None:
    path = clean / "img/train/000.png"
    image = Image.open(path).convert("RGB")
    image.save(path, transparency=image.getpixel((0, 0)))
    finding = next(found for found in audit(clean).findings if found.code == "image.alpha")
    assert "1 of them has transparent pixels" in finding.message


def test_a_tiff_of_bands_without_colours_is_refused_by_their_number(
    clean: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile = pytest.importorskip("tifffile")
    path = clean / "img/train/000.png"
    path.unlink()
    tifffile.imwrite(
        path.with_suffix(".tif"), np.zeros((48, 64, 7), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a program that listens to no log
    finding = one(clean)
    assert finding.code == "image.unreadable" and "a TIFF of 7 bands" in finding.message
    assert "samples per pixel" not in capfd.readouterr().err


# --- masks that cannot be used -----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.25, 0.5, 2])
def test_a_scaled_copy_of_a_mask_is_told_and_never_excluded(clean: Path, scale: float) -> None:
    mask = read(clean / "labels/train/000.png")
    small = cv2.resize(mask, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    write(clean / "labels/train/000.png", small)
    finding = one(clean)
    assert finding.code == "mask.size" and finding.evidence["scale"] == scale
    assert f"as of a copy at {scale:.0%} of its size" in finding.message
    assert finding.fix.startswith("resize the mask to 64x48 without smoothing")
    assert audit(clean, fix=True, progress=False).fixed is None


@pytest.mark.parametrize("shape", [(48, 63), (47, 64), (48, 128), (24, 64), (30, 30), (3, 4)])
def test_a_mask_of_another_shape_is_no_scaled_copy(clean: Path, shape: tuple[int, int]) -> None:
    write(clean / "labels/train/000.png", np.zeros(shape, np.uint8))
    finding = found(clean)[0]
    assert finding.code == "mask.size" and "scale" not in finding.evidence
    assert finding.fix.startswith("draw the mask again")


@pytest.mark.parametrize("others", ["ignore", "nearest", None])
@pytest.mark.parametrize("encoding", ["levels", "colour", "index"])
def test_inexact_pixels_are_said_to_be_what_they_become(clean: Path, encoding: str, others: str | None) -> None:
    if encoding == "index" and others != "ignore":
        return  # unknown ids are refused
    greys = {"levels": 100, "colour": 100, "index": 1}[encoding]

    def drawn(mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        mask = mask * greys
        return np.dstack([mask] * 3) if encoding == "colour" else mask

    change(clean, "*/*", drawn)
    path = clean / "labels/train/000.png"
    mask = read(path)
    mask[0, :7] = 77
    write(path, mask)
    levels = "\n  levels: {0: 0, 100: 1, 200: 2}" if encoding == "levels" else ""
    edit(clean, "encoding: index", f"encoding: {encoding}{levels}" + (f"\n  others: {others}" if others else ""))
    if encoding == "colour":
        text = (clean / "dataset.yaml").read_text()
        colours = iter(("#000000", "#646464", "#C8C8C8"))
        (clean / "dataset.yaml").write_text(re.sub('"#[0-9A-F]{6}"', lambda _: f'"{next(colours)}"', text))
    finding = one(clean)
    what = {"levels": "grey level", "colour": "class colour", "index": "class id"}[encoding]
    assert finding.message == (
        f"7 pixels (0.23%) have no {what} and are ignored"
        if others == "ignore"
        else f"7 pixels (0.23%) were moved to the nearest {what}"
    )
    assert finding.evidence["becomes"] == ("ignored" if others == "ignore" else "nearest")


def broken(path: Path) -> None:
    path.write_bytes(b"no image")


def of_another_size(path: Path) -> None:
    write(path, np.zeros((7, 9), np.uint8))


def of_unknown_ids(path: Path) -> None:
    write(path, np.full((48, 64), 77, np.uint8))


def of_nothing_that_counts(path: Path) -> None:
    write(path, np.full((48, 64), 255, np.uint8))


def renamed(path: Path) -> None:
    path.rename(path.with_name(f"copy of {path.name}"))


@pytest.mark.parametrize(
    "spoil", [broken, of_another_size, of_unknown_ids, of_nothing_that_counts, renamed, Path.unlink]
)
@pytest.mark.parametrize("layout", ["split_folders", "flat"])
def test_an_audit_without_a_usable_mask_exits_with_1(
    tmp_path: Path, layout: str, spoil: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever way no mask is left to learn from, as text, as JSON, and with a page."""
    folder = make_dataset(tmp_path / "data", images=8, layout=layout, describe=True, seed=SEED)
    masks = folder / ("labels" if layout == "split_folders" else "masks")
    for path in list(masks.rglob("*.png")):
        spoil(path)
    for arguments in ([], ["--json"], ["--out", str(tmp_path / "page")]):
        with pytest.raises(SystemExit) as stopped:
            main(["audit", str(folder), *arguments])
        assert stopped.value.code == 1
    capsys.readouterr()
    first = found(folder)[0]
    assert first.code == "mask.none" and first.severity is Severity.ERROR


def test_masks_that_pair_with_nothing_are_named_with_an_image(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "data", images=3, layout="flat", describe=True, seed=SEED)
    for path in list((folder / "masks").iterdir()):
        path.rename(path.with_name(f"label of {path.name}"))
    first = found(folder)[0]
    assert first.message.endswith(
        "3 images, but 3 mask files belong to none of them: an image is called images/000.png, a mask "
        "masks/label of 000.png"
    )
    assert "draw masks" not in first.fix and "layout: table" in first.fix
