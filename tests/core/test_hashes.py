"""Hashes of files: what has not changed is not read again, and no cache does harm."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from maskwright.core import hashes
from maskwright.core.hashes import file_hash, file_hashes
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError
from tiny import write_dataset

HOUR = 3_600_000_000_000


def age(path: Path, by: int = HOUR) -> None:
    """As if it had been written `by` ns earlier."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - by))


@pytest.fixture
def read(monkeypatch):
    """The files that were read."""
    seen: list[str] = []

    def counted(path: Path) -> str:
        seen.append(path.name)
        return file_hash(path)

    monkeypatch.setattr(hashes, "file_hash", counted)
    return seen


@pytest.fixture
def files(tmp_path):
    found = [tmp_path / "data" / name for name in ("a.png", "b.png", "c/a.png")]
    for number, path in enumerate(found):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * 100)
        age(path)
    return found


def test_nothing_is_read_twice(files, tmp_path, read):
    home = tmp_path / "data"
    first = file_hashes(files, home)
    assert first == {path: file_hash(path) for path in files} and len(read) == 3
    assert file_hashes(files, home) == first and len(read) == 3
    assert file_hashes([home / "c/../c/a.png", files[0]], home)[files[0]] == first[files[0]]


def test_what_has_changed_is_read_again(files, tmp_path, read):
    home = tmp_path / "data"
    file_hashes(files, home)
    read.clear()
    files[1].write_bytes(b"x" * 100)  # the same size
    age(files[1], HOUR // 2)
    assert file_hashes(files, home)[files[1]] == file_hash(files[1]) and read == ["b.png"]
    files[1].write_bytes(b"x" * 101)
    assert file_hashes(files, home)[files[1]] == file_hash(files[1])


def test_files_of_one_size_and_time_that_are_exchanged(files, tmp_path):
    home = tmp_path / "data"
    for path in files:
        os.utime(path, ns=(HOUR, HOUR))
    before = file_hashes(files, home)
    files[0].rename(home / "x")
    files[1].rename(files[0])
    (home / "x").rename(files[1])
    after = file_hashes(files, home)
    assert (after[files[0]], after[files[1]]) == (before[files[1]], before[files[0]])


def test_a_file_of_this_moment_is_not_trusted(files, tmp_path, read):
    """It may be written once more within the same tick of the clock."""
    home = tmp_path / "data"
    files[0].write_bytes(b"new")
    file_hashes(files, home)
    read.clear()
    file_hashes(files, home)
    assert read == ["a.png"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"format": 9, "files": {}}',
        '{"format": 1}',
        '{"format": 1, "files": {"a.png": 3, "b.png": ["x", 1, 1, 2]}}',
    ],
)
def test_a_damaged_cache_is_ignored(files, tmp_path, content, read):
    place = tmp_path / "data/.maskwright/hashes.json"
    place.parent.mkdir()
    place.write_text(content)
    assert file_hashes(files, tmp_path / "data") == {path: file_hash(path) for path in files}
    assert len(json.loads(place.read_text())["files"]) == 3
    read.clear()
    file_hashes(files, tmp_path / "data")
    assert read == []


def test_where_it_cannot_be_written_another_folder_serves(files, tmp_path, read):
    home, spare = tmp_path / "data", tmp_path / "run"
    (home / ".maskwright").write_text("a file in the way")
    expected = file_hashes(files, home)
    assert len(read) == 3
    assert file_hashes(files, home, spare) == expected and len(read) == 6
    assert file_hashes(files, home, spare) == expected and len(read) == 6
    other = Path(shutil.copytree(home, tmp_path / "other"))
    (other / "a.png").write_bytes(b"y" * 100)
    os.utime(other / "a.png", ns=(HOUR, files[0].stat().st_mtime_ns))
    assert (
        file_hashes([other / "a.png"], other, spare)[other / "a.png"]
        == file_hash(other / "a.png")
        != expected[files[0]]
    )
    spare.joinpath("hashes.json").unlink()
    spare.rmdir()
    spare.write_text("in the way too")
    assert file_hashes(files, home, spare) == expected


def test_the_runs_of_a_study_share_the_cache_of_its_folder(tmp_path, read):
    """Of two datasets that cannot be written to."""
    study, homes = tmp_path / "study", [tmp_path / "a", tmp_path / "b"]
    for home in homes:
        home.mkdir()
        (home / ".maskwright").write_text("")
        (home / "x.png").write_bytes(home.name.encode())
        age(home / "x.png")
        file_hashes([home / "x.png"], home, study)
    assert len(read) == 2
    for run in ("runs/one", "runs/cell/two"):
        for home in homes:
            assert file_hashes([home / "x.png"], home, study / run) == {home / "x.png": file_hash(home / "x.png")}
    assert len(read) == 2 and not (study / "runs").exists()


def test_the_cache_moves_with_its_dataset_and_forgets_what_is_gone(files, tmp_path, read):
    file_hashes(files, tmp_path / "data")
    moved = (tmp_path / "data").rename(tmp_path / "moved")
    read.clear()
    file_hashes([moved / "a.png", moved / "b.png"], moved)
    assert read == []
    (moved / "a.png").write_bytes(b"z")
    age(moved / "a.png")
    file_hashes([moved / "a.png", moved / "b.png"], moved)
    assert {*json.loads((moved / ".maskwright/hashes.json").read_text())["files"]} == {"a.png", "b.png"}


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"a\.png: cannot be read \(No such file"):
        file_hashes([tmp_path / "a.png"], tmp_path)


def test_a_dataset_has_the_same_version_with_and_without(tmp_path, read):
    root = write_dataset(tmp_path / "data", {"train": 3, "val": 2})
    for path in root.rglob("*.png"):
        age(path)
    dataset = load_dataset(root)
    fresh = dataset.version({})
    read.clear()
    assert dataset.version() == fresh and len(read) == 10
    assert load_dataset(root).version() == fresh and len(read) == 10
    (root / "masks/train/train_00.png").write_bytes((root / "masks/train/train_01.png").read_bytes())
    assert load_dataset(root).version() != fresh and len(read) == 11
