"""Copies of a dataset with other masks: for every layout and format, with its edits, and nothing touched."""

import numpy as np
import pytest

from helpers import FOLDERS, fingerprint, make_dataset
from maskwright.core.edits import Edit, add_edits, mask_edit, read_batches, take_back
from maskwright.data.convert import convert
from maskwright.data.formats import FORMATS
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError
from maskwright.labels.suspecting.copies import planted_copy


def check(source, folder):
    """The copy differs in the one mask that was given, and in nothing else."""
    untouched, dataset = fingerprint(source), load_dataset(source)
    same = load_dataset(planted_copy(source, folder / "same", {}, "nothing"))
    assert same.version() == dataset.version()
    chosen = next(sample for sample in dataset.samples if sample.labelled)
    mask = dataset.read_mask(chosen)
    mask[:4] = 255
    mask[4:9] = 1
    copy = load_dataset(planted_copy(source, folder / "changed", {chosen.name: mask}, "planted"))
    assert [(s.name, s.image.resolve(), s.split, s.status, s.provenance) for s in copy.samples] == [
        (s.name, s.image.resolve(), s.split, s.status, s.provenance) for s in dataset.samples
    ]
    for before, after in zip(dataset.samples, copy.samples, strict=True):
        if before.labelled:
            expected = mask if before.name == chosen.name else dataset.read_mask(before)
            assert (copy.read_mask(after) == expected).all()
    assert fingerprint(source) == untouched
    return copy


@pytest.mark.parametrize("layout", FOLDERS)
@pytest.mark.parametrize("describe", [True, False])
def test_folders(tmp_path, layout, describe):
    check(make_dataset(tmp_path / "data", images=4, layout=layout, describe=describe), tmp_path)


@pytest.mark.parametrize("name", [name for name, row in FORMATS.items() if row.write])
def test_formats(tmp_path, name):
    convert(make_dataset(tmp_path / "data", images=4), tmp_path / "written", to=name)
    check(tmp_path / "written", tmp_path)


def test_a_description_elsewhere_whose_names_look_like_numbers(tmp_path, monkeypatch):
    make_dataset(tmp_path / "data", images=4)
    home = tmp_path / "home"
    home.mkdir()
    (home / "own.yaml").write_text(
        "root: ../data\nlayout: split_folders\nimages: {folder: img}\n"
        "masks: {folder: labels}\nsplits: {train: train, test: test}\nclasses:\n"
        "  - {id: 0, name: '1e3'}\n  - name: '010'\n    children: [{id: 1, name: 'no'},\n"
        "      {id: 2, name: '#2', colour: '#0000FF'}]\n"
    )
    monkeypatch.chdir(tmp_path)
    copy = check(home / "own.yaml", tmp_path / "out")
    assert copy.classes.names == ["1e3", "no", "#2"] and copy.classes.parents[1] == ("010",)


def test_edits_hold_in_the_copy(tmp_path):
    home = make_dataset(tmp_path / "data", images=4, describe=True)
    dataset = load_dataset(home)
    a, b, c, _ = dataset.samples
    edited = 1 - dataset.read_mask(c).clip(0, 1)
    add_edits(home, [Edit("split", a.name, "val"), Edit("status", b.name, "exclude")], "by hand")
    add_edits(home, [mask_edit(home, a, np.zeros_like(edited), dataset.classes)], "undone")
    take_back(home)
    add_edits(home, [mask_edit(home, c, edited, dataset.classes)], "repaired")
    copy = check(home, tmp_path / "out")
    assert copy.samples[0].split == "val" and copy.samples[1].status == "exclude"
    assert [batch.reason for batch in read_batches(tmp_path / "out" / "changed")] == ["by hand", "repaired", "planted"]
    twice = load_dataset(planted_copy(home, tmp_path / "twice", iter([(c.name, 1 - edited)]), "planted"))
    assert (twice.read_mask(twice.samples[2]) == 1 - edited).all()


def test_what_cannot_be_copied(tmp_path):
    home = make_dataset(tmp_path / "data", images=4, describe=True)
    with pytest.raises(DataError, match="has no sample 'strange'"):
        planted_copy(home, tmp_path / "out", {"strange": np.zeros((48, 64), np.uint8)}, "planted")
    assert not (tmp_path / "out").exists()
    planted_copy(home, tmp_path / "out", {}, "planted")
    with pytest.raises(ConfigError, match="never overwritten"):
        planted_copy(home, tmp_path / "out", {}, "planted")
