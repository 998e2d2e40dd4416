"""`audit --fix`: edits that fix, sources untouched, and nothing where a person has to decide."""

import csv
import json
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from test_checks import PLANTS, edit, read, turned

from helpers import draw_pair, make_dataset, write
from maskwright.core.edits import FOLDER, edits
from maskwright.data.auditing import audit
from maskwright.data.auditing.fixes import FIXES
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError
from maskwright.reporting.audit_report import write_audit

SEED = 1


@pytest.fixture
def data(tmp_path):
    return make_dataset(tmp_path / "data", describe=True, seed=SEED)


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and FOLDER not in path.parts}


def excluded(folder):
    return {sample.name for sample in load_dataset(folder).samples if sample.status == "exclude"}


@pytest.mark.parametrize("code", FIXES)
def test_what_is_fixed_is_found_no_more_and_no_file_is_changed(data, code):
    PLANTS[code](data)
    before, sources = load_dataset(data), files_of(data)
    found = [finding for finding in audit(data, progress=False).findings if finding.code == code]
    result = audit(data, fix=True, progress=False)
    assert result.fixed is not None and code in result.fixed.batch.reason
    assert [finding for finding in result.fixed.findings if finding.code == code] == found
    assert code not in {finding.code for finding in result.findings}
    assert files_of(data) == sources
    edits(data, undo=True)
    assert load_dataset(data).samples == before.samples


@pytest.mark.parametrize("code", FIXES)
def test_the_result_is_that_of_the_dataset_after_the_fix(data, tmp_path, code):
    PLANTS[code](data)
    result = audit(data, fix=True, progress=False)
    after = audit(data, progress=False)
    assert result.to_dict() == after.to_dict() | {"fixed": result.to_dict()["fixed"]}
    assert result.version == load_dataset(data).version()
    assert (result.samples, result.excluded) == (after.samples, len(excluded(data)))
    document = json.loads(
        (write_audit(result, tmp_path / "out", dataset=load_dataset(data)).parent / "audit.json").read_text()
    )
    assert [row["code"] for row in document["fixed"]["findings"]] == [f.code for f in result.fixed.findings]
    assert len(document["fixed"]["edits"]) == len(result.fixed.batch.edits) and document["summary"]["findings"] == len(
        after.findings
    )
    page = (tmp_path / "out" / "index.html").read_text()
    said = "1 mask stored as read" if code in ("mask.unknown_ids", "mask.inexact") else "1 sample excluded"
    assert f"Fixed automatically: {said} (edit batch 1; {code} x 1)" in page
    assert result.human().splitlines()[-1] == (
        f"fixed: {said} (edit batch 1; {code} x 1); `maskwright edits DIR --undo` takes it back"
    )
    assert "fixed" not in after.human() and "Fixed automatically" not in (
        write_audit(after, tmp_path / "later", dataset=load_dataset(data)).read_text()
    )


def test_clean_data_and_findings_that_need_a_person_are_left_alone(data):
    assert audit(data, fix=True, progress=False).fixed is None
    PLANTS["mask.specks"](data)
    assert audit(data, fix=True, progress=False).fixed is None
    assert not (data / FOLDER).exists()


def copies(folder, rows, masks=None):
    """A dataset of a table: equal images, one for each of `rows` (split, labelled), and one of another kind in each
    split. The copies have the same mask, but for those in `masks`, by place."""
    rng = np.random.default_rng(SEED)
    image, mask = draw_pair(rng, (32, 40))
    table = [["image", "mask", "split"]]
    for place, (split, labelled) in enumerate(rows):
        name = f"copy{place:03d}.png"
        write(folder / "images" / name, image)
        if labelled:
            write(folder / "masks" / name, (masks or {}).get(place, mask))
        table.append([name, name if labelled else "", split])
    for split in ("train", "val", "test"):
        for pixels, kind in zip(draw_pair(rng, (32, 40)), ("images", "masks"), strict=True):
            write(folder / kind / f"{split}.png", pixels)
        table.append([f"{split}.png", f"{split}.png", split])
    with open(folder / "labels.csv", "w", newline="") as stream:
        csv.writer(stream).writerows(table)
    return folder


@pytest.mark.parametrize("splits", [("train",), ("train", "val"), ("train", "val", "test")])
@pytest.mark.parametrize("labels", ["all", "some", "one", "none"])
@pytest.mark.parametrize("size", [2, 3, 51, 60, 120])
def test_of_any_group_of_copies_one_stays(tmp_path, size, labels, splits):
    chance = random.Random(f"{size} {labels} {splits}")
    rows = [
        (chance.choice(splits), labels == "all" or (labels == "some" and chance.random() < 0.5)) for _ in range(size)
    ]
    if labels == "one":
        rows[chance.randrange(size)] = (chance.choice(splits), True)
    data = copies(tmp_path, rows)
    result = audit(data, fix=True, progress=False, workers=1)
    (kept,) = set(range(size)) - {int(name.removeprefix("copy")) for name in excluded(data)}
    candidates = [split for split, labelled in rows if labelled] or [split for split, _ in rows]
    assert rows[kept][0] == next(split for split in ("test", "val", "train") if split in candidates)
    assert rows[kept][1] == any(labelled for _, labelled in rows)
    assert len(result.fixed.batch.edits) == size - 1 and result.samples == 4
    assert not {"split.leakage", "image.duplicate"} & {finding.code for finding in result.findings}


@pytest.mark.parametrize(
    "rows",
    [
        [("train", True), ("train", True)],
        [("train", True), ("test", True)],
        [("train", True)] * 59 + [("val", True)],
        [("train", False), ("val", True), ("test", True)],
        [("test", True), ("test", True), ("test", False)],
    ],
)
def test_copies_with_other_masks_need_a_person_and_the_finding_says_so(tmp_path, rows):
    last = max(place for place, (_, labelled) in enumerate(rows) if labelled)
    other = np.zeros((32, 40), np.uint8)
    other[10:20, 10:20] = 1
    data = copies(tmp_path, rows, {last: other})
    result = audit(data, fix=True, progress=False, workers=1)
    assert result.fixed is None and not excluded(data)
    (finding,) = [f for f in result.findings if f.code in ("split.leakage", "image.duplicate")]
    assert finding.evidence["masks_differ"] and "a person has to choose" in finding.fix


def test_a_copy_that_cannot_be_used_does_not_outlive_one_that_can(tmp_path):
    """The test copy's mask has the wrong size and is excluded for that; the copy in train must not go with it."""
    data = copies(tmp_path, [("train", True), ("test", True)], {1: np.zeros((32, 39), np.uint8)})
    audit(data, fix=True, progress=False, workers=1)
    assert excluded(data) == {"copy001"}


def test_a_mask_that_is_all_ignored_does_not_stay_for_one_that_counts(tmp_path):
    data = copies(tmp_path, [("train", True), ("test", True), ("test", True)], {2: np.full((32, 40), 255, np.uint8)})
    audit(data, fix=True, progress=False, workers=1)
    assert excluded(data) == {"copy000", "copy002"}


@pytest.mark.parametrize(("setting", "orientation"), [("apply", 6), ("apply", 8), ("ignore", 6), ("ignore", 5)])
def test_a_mask_that_another_exif_setting_makes_right_is_left(data, setting, orientation):
    image, mask = data / "img/train/000.png", data / "labels/train/000.png"
    edit(data, "exif: apply", f"exif: {setting}")
    if setting == "apply":
        write(image, read(image), exif=turned(orientation))  # the mask fits the image as stored
    else:
        write(image, read(image), exif=turned(orientation))
        write(mask, np.ascontiguousarray(np.swapaxes(read(mask), 0, 1)))  # the mask fits the image as shown
    (data / "labels/train/001.png").write_bytes(b"nothing")
    result = audit(data, fix=True, progress=False)
    assert excluded(data) == {"train/001"}
    (finding,) = [f for f in result.findings if f.code == "mask.size"]
    assert finding.sample == "train/000" and f"set `exif: {'ignore' if setting == 'apply' else 'apply'}`" in finding.fix


def test_a_copy_whose_mask_another_setting_makes_right_is_left_too(data):
    path = data / "img/train/000.png"
    write(path, read(path), exif=turned(6))
    write(data / "img/test/twin.png", np.rot90(read(path), -1).copy())  # the same pixels as read
    result = audit(data, fix=True, progress=False)
    assert {"mask.size", "split.leakage"} <= {f.code for f in result.findings} and result.fixed is None


def test_masks_that_another_encoding_makes_right_are_left(data):
    colours = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0)], np.uint8)
    for path in (data / "labels").glob("*/*.png"):
        write(path, colours[read(path)])
    result = audit(data, fix=True, progress=False)
    assert result.fixed is None and not excluded(data)
    assert all("set `encoding: colour`" in f.fix for f in result.findings if f.code == "mask.unreadable")


def test_when_nothing_is_left_the_audit_says_so(data):
    for path in (data / "labels").glob("*/*.png"):
        path.write_bytes(b"nothing")
    result = audit(data, fix=True, progress=False)
    assert (result.samples, result.excluded) == (0, 12)
    assert [f.message for f in result.findings if f.code == "mask.none"] == [
        f"{data}: no sample is left, 12 samples excluded"
    ]
    assert "fixed: 12 samples excluded" in result.human()


def test_unknown_ids_become_ignored_pixels_and_nothing_else_changes(data):
    path = data / "labels/train/000.png"
    mask = np.array(Image.open(path))
    mask[:2, :5] = 77
    write(path, mask)
    audit(data, fix=True, progress=False)
    dataset = load_dataset(data)
    sample = next(s for s in dataset.samples if s.name == "train/000")
    found = dataset.read_mask(sample)
    assert (found[:2, :5] == 255).all() and (found[2:] == mask[2:]).all() and (found[:, 5:] == mask[:, 5:]).all()


def test_the_fixes_of_an_opened_dataset_go_to_its_folder(data):
    write(data / "labels/train/000.png", np.full((48, 64), 255, np.uint8))
    opened = load_dataset(data)
    result = audit(opened, fix=True, progress=False)
    assert result.excluded == 1
    assert opened["train/000"].status == "keep"  # the object itself is not changed
    assert load_dataset(data)["train/000"].status == "exclude"
    assert audit(load_dataset(data), progress=False).version == result.version
    assert len(edits(opened).batches) == 1
    assert edits(opened, undo=True).batches == ()
    assert load_dataset(data)["train/000"].status == "keep"


def test_a_dataset_without_a_folder_has_no_place_for_edits(data):
    loose = replace(load_dataset(data), home=None)
    with pytest.raises(ConfigError, match="give the folder"):
        audit(loose, fix=True, progress=False)
    with pytest.raises(ConfigError, match="give the folder"):
        edits(loose)
