"""To another tool and back: only what was flagged goes, and only what was changed comes back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import maskwright
from helpers import make_dataset, write
from maskwright.cli import main
from maskwright.core.edits import Edit, add_edits, edits
from maskwright.errors import DataError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = make_dataset(tmp_path / "data", images=8, size=(20, 24), describe=True)
    names = [sample.name for sample in maskwright.load_dataset(folder)]
    add_edits(folder, [Edit("status", name, "suspect") for name in names[:3]], "by hand")
    return folder


def corrected(folder: Path) -> Path:
    """The first mask with a box of class 2 more, wherever the export keeps it."""
    exported = maskwright.load_dataset(folder)
    sample = exported[0]
    ids = np.array(exported.read_mask_pixels(sample).ids)
    ids[2:6, 3:8] = exported.classes.ids[2]
    sample.mask.unlink()
    write(sample.mask, ids.astype(np.uint8))
    return folder


@pytest.mark.parametrize("form", ["index", "cvat_masks", "coco"])
def test_the_way_there_and_back(data: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    certificate = maskwright.convert(data, out, to=form, flagged=True, progress=False)
    assert len(certificate.samples) == 3
    result = maskwright.import_edits(out, data=data)
    assert (result.changed, result.unchanged, result.left_out, result.batch) == ([], 3, {}, None)
    assert len(edits(data).batches) == 1


def test_what_changed_is_an_edit_with_its_pixels_by_class(data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    maskwright.convert(data, out, to="index", flagged=True, progress=False)
    dataset = maskwright.load_dataset(data)
    name = maskwright.load_dataset(corrected(out))[0].name
    before = dataset.read_mask(dataset[name])
    after = before.copy()
    after[2:6, 3:8] = 2
    tried = maskwright.import_edits(out, data=data, dry_run=True)
    assert tried.batch is None and len(edits(data).batches) == 1
    with pytest.raises(SystemExit) as stopped:
        main(["import-edits", str(out), "--data", str(data), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert stopped.value.code == 0 and told["unchanged"] == 2 and told["changed"] == tried.to_dict()["changed"]
    (row,) = told["changed"]
    gone = before[2:6, 3:8][before[2:6, 3:8] != 2]
    names = dataset.classes.names
    assert row["pixels"] == len(gone) and row["gained"] == {names[2]: len(gone)}
    assert row["lost"] == {names[index]: int((gone == index).sum()) for index in np.unique(gone)}
    dataset = maskwright.load_dataset(data)
    assert (dataset.read_mask(dataset[name]) == after).all() and dataset[name].status == "keep"
    assert [sample.status for sample in dataset].count("suspect") == 2
    edits(data, undo=True)
    dataset = maskwright.load_dataset(data)
    assert (dataset.read_mask(dataset[name]) == before).all() and dataset[name].status == "suspect"
    assert "pixels gained" in tried.human() and "1 mask changed, 2 the same" in tried.human()


def test_what_has_no_partner_is_left_out_and_strange_classes_end_it(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    image = np.zeros((20, 24, 3), np.uint8)
    first = maskwright.load_dataset(data)[0].name.rpartition("/")[2]
    for name, shape in (
        (first, (20, 24)),
        ("stranger", (20, 24)),
        (maskwright.load_dataset(data)[1].name[-3:], (5, 5)),
    ):
        write(other / "images" / f"{name}.png", image[: shape[0], : shape[1]])
        write(other / "masks" / f"{name}.png", np.ones(shape, np.uint8))
    classes = {"layout": "flat", "images": {"folder": "images"}, "masks": {"folder": "masks"}}
    names = maskwright.load_dataset(data).classes.names
    known = [{"id": 0, "name": names[0]}, {"id": 1, "name": names[1]}]
    (other / "dataset.yaml").write_text(json.dumps(classes | {"classes": known}))
    result = maskwright.import_edits(other, data=data, dry_run=True)
    assert [one.sample.rpartition("/")[2] for one in result.changed] == [first] and len(result.left_out) == 2
    assert any("5x5, but its image is 24x20" in why for why in result.left_out.values())
    (other / "dataset.yaml").write_text(json.dumps(classes | {"classes": [known[0], {"id": 1, "name": "dragon"}]}))
    with pytest.raises(DataError, match="dragon, which .* does not have"):
        maskwright.import_edits(other, data=data)
    for folder in ("images", "masks"):
        for path in (other / folder).iterdir():
            path.rename(path.with_name(f"other {path.name}"))
    with pytest.raises(DataError, match="give the export of this dataset"):
        maskwright.import_edits(other, data=data)
    assert len(edits(data).batches) == 1


def test_nothing_flagged_is_said(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", images=4, describe=True)
    with pytest.raises(DataError, match="no sample is marked as needing fixing"):
        maskwright.convert(data, tmp_path / "out", to="index", flagged=True, progress=False)
    assert not (tmp_path / "out").exists()


def test_a_mask_that_is_missing_is_added(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    maskwright.convert(data, out, to="index", progress=False)
    sample = maskwright.load_dataset(data)[5]
    sample.mask.unlink()
    result = maskwright.import_edits(out, data=data)
    assert [one.sample for one in result.changed] == [sample.name] and "ignored" in result.changed[0].lost
    dataset = maskwright.load_dataset(data)
    assert dataset[sample.name].edited and (dataset.read_mask(dataset[sample.name]) != 255).all()
