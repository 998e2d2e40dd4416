"""`audit --fix`: edits that mend, sources untouched, and nothing where a person has to look."""

import shutil

import numpy as np
import pytest
from PIL import Image
from test_checks import PLANTS

from helpers import make_dataset, write
from maskwright.auditing import audit
from maskwright.auditing.fixes import FIXES
from maskwright.core.edits import FOLDER, edits
from maskwright.errors import ConfigError
from maskwright.formats.opening import load_dataset

SEED = 1


@pytest.fixture
def data(tmp_path):
    return make_dataset(tmp_path / "data", describe=True, seed=SEED)


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and FOLDER not in path.parts}


@pytest.mark.parametrize("code", FIXES)
def test_what_is_mended_is_found_no_more_and_no_file_is_changed(data, code):
    PLANTS[code](data)
    before, sources = load_dataset(data), files_of(data)
    result = audit(data, fix=True, progress=False)
    assert code in {finding.code for finding in result.findings}
    assert result.fixed is not None and code in result.fixed.reason
    assert code not in {finding.code for finding in audit(data, progress=False).findings}
    assert files_of(data) == sources
    edits(data, undo=True)
    assert load_dataset(data).samples == before.samples


def test_clean_data_and_findings_that_need_a_person_are_left_alone(data):
    assert audit(data, fix=True, progress=False).fixed is None
    PLANTS["mask.specks"](data)
    assert audit(data, fix=True, progress=False).fixed is None
    assert not (data / FOLDER).exists()


@pytest.mark.parametrize(("splits", "stays"), [(("train", "test"), "test"), (("train", "val"), "val"), (("val", "test"), "test")])
def test_of_copies_in_two_splits_the_scored_one_stays(data, splits, stays):
    names = [next(iter(sorted((data / "img" / split).iterdir()))).name for split in splits]
    shutil.copy(data / "img" / splits[0] / names[0], data / "img" / splits[1] / names[1])
    audit(data, fix=True, progress=False)
    excluded = [sample for sample in load_dataset(data).samples if sample.status == "exclude"]
    assert [sample.split for sample in excluded] == [split for split in splits if split != stays]


def test_copies_with_other_masks_in_one_split_need_a_person(data):
    shutil.copy(data / "img/train/000.png", data / "img/train/001.png")
    result = audit(data, fix=True, progress=False)
    assert "image.duplicate" in {finding.code for finding in result.findings} and result.fixed is None


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


def test_a_dataset_object_has_no_place_for_edits(data):
    with pytest.raises(ConfigError, match="give the folder"):
        audit(load_dataset(data), fix=True, progress=False)
