"""What the results of the verbs on data show in Python: short lines, escaped tables, the text of the terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from helpers import FOLDERS, make_dataset
from maskwright.base.display import Result
from maskwright.core.edits import edits
from maskwright.data.auditing import audit
from maskwright.data.convert import convert
from maskwright.data.init import init
from maskwright.data.opening import load_dataset
from maskwright.data.splitting.split import split
from maskwright.errors import ConfigError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "<b>pets", describe=True)


def results(data: Path) -> list[Result]:
    out = data.parent / "out"
    splitted = split(data, progress=False)
    return [
        init(data, images=FOLDERS["split_folders"][0]),
        audit(data, progress=False),
        convert(data, out, to="palette", progress=False),
        splitted,
        splitted.proposal,
        edits(data),
    ]


def test_every_result_has_a_short_line_a_table_and_a_text(data: Path) -> None:
    for result in results(data):
        name = type(result).__name__
        assert repr(result).startswith(f"{name}(")
        assert len(repr(result)) < 500 and "\n" not in repr(result)
        assert f"<th>{name}</th>" in result._repr_html_()
        assert "<b>" not in result._repr_html_()
        assert str(result) == result.human()


def test_init_says_what_it_wrote_and_why(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "pets")
    result = init(folder)
    file, detection = result
    assert file == result.file == folder / "dataset.yaml"
    assert (result.dataset, result.reasons) == (detection.file, detection.reasons)
    document = result.to_dict()
    assert document["file"] == str(file) and document["dataset"] == detection.file.model_dump()
    assert (document["images"], document["pairs"], document["exact"]) == (12, 12, 1.0)
    assert document["reasons"] == detection.reasons and sum(document["shares"].values()) == pytest.approx(1)
    text = result.human().splitlines()
    assert text[0].startswith(f"{folder}: img/ holds a folder for each split") and text[-1] == f"written: {file}"
    assert any(line.startswith("  classes") and "0 background" in line for line in text)
    again = init(folder, images=FOLDERS["split_folders"][0])
    assert not again.written
    assert again.human().endswith("is already there and says the same")


def test_init_of_an_opened_dataset_describes_its_folder(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "pets")
    assert init(load_dataset(folder)).file == folder / "dataset.yaml"
    with pytest.raises(ConfigError, match="already there"):
        init(load_dataset(folder))


def test_split_takes_an_opened_dataset(data: Path) -> None:
    opened = load_dataset(data)
    result = split(opened, seed=3, progress=False)
    assert result.proposal == split(data, seed=3, dry_run=True, progress=False).proposal
    again = load_dataset(data)
    assert {sample.name: sample.split for sample in again} == result.proposal.splits
    loose = replace(opened, home=None)
    with pytest.raises(ConfigError, match="give the folder"):
        split(loose, progress=False)
    assert split(loose, seed=3, dry_run=True, progress=False).proposal == result.proposal
