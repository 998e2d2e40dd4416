"""What reaches the disk, and in which order: files before their names, names before what speaks of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from maskwright.base import storage
from maskwright.base.storage import Journal, atomic_write_bytes, flush, move_into_place, publish, staged_folder
from maskwright.data.formats.archives import pack
from maskwright.errors import SetupError


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """Every flush and rename as (what, path), in order; a flush of all file systems of the machine is refused."""
    seen: list[tuple[str, Path]] = []

    def noted(what: str, call: Callable[..., None], place: Callable[..., Path]) -> Callable[..., None]:
        def noting(*args: object) -> None:
            seen.append((what, place(*args)))
            call(*args)

        return noting

    def everything() -> None:
        raise AssertionError("os.sync flushes what other programs wrote")

    monkeypatch.setattr(os, "sync", everything)
    monkeypatch.setattr(os, "fsync", noted("flush", os.fsync, lambda file: Path(os.readlink(f"/proc/self/fd/{file}"))))
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, noted("rename", getattr(os, name), lambda old, new: Path(new)))
    return seen


@pytest.mark.parametrize("files", [2, 40])
def test_a_staged_folder_flushes_what_is_in_it_then_its_name(tmp_path: Path, events, files: int) -> None:
    outside = tmp_path / "other.txt"
    outside.write_text("not ours")
    with staged_folder(tmp_path / "out") as staging:
        (staging / "deep" / "er").mkdir(parents=True)
        for number in range(files):
            (staging / "deep" / "er" / f"{number}").write_text("x")
        (staging / "link").symlink_to(outside)
        (staging / "nowhere").symlink_to("gone")
    named = events.index(("rename", tmp_path / "out"))
    before = [path for what, path in events[:named] if what == "flush"]
    written = {staging / "deep/er" / f"{number}" for number in range(files)}
    assert written | {staging, staging / "deep", staging / "deep/er"} <= set(before)
    assert max(before.index(path) for path in written) < before.index(staging / "deep/er")
    assert outside not in before
    assert events[named + 1 :] == [("flush", tmp_path)]


def test_folders_that_are_made_on_the_way_are_flushed_too(tmp_path: Path, events) -> None:
    """Else the power may go and take them with all that was flushed into them."""
    atomic_write_bytes(tmp_path / "a" / "b" / "file", b"x")
    assert {("flush", tmp_path), ("flush", tmp_path / "a"), ("flush", tmp_path / "a" / "b")} <= set(events)
    events.clear()
    Journal(tmp_path / "c" / "journal").append({"a": 1})
    assert [path for _, path in events] == [tmp_path, tmp_path / "c" / "journal", tmp_path / "c"]
    events.clear()
    Journal(tmp_path / "c" / "journal").append({"a": 2}, {"a": 3})
    assert events == [("flush", tmp_path / "c" / "journal")]
    assert Journal(tmp_path / "c" / "journal").read() == [{"a": 1}, {"a": 2}, {"a": 3}]
    events.clear()
    with staged_folder(tmp_path / "d" / "out"):
        pass
    assert events[0] == ("flush", tmp_path) and events[-1] == ("flush", tmp_path / "d")


def test_many_files_are_flushed_together(tmp_path: Path, events) -> None:
    files = [tmp_path / "deep" / str(number % 2) / f"{number}.bin" for number in range(30)]
    for file in files:
        atomic_write_bytes(file, b"x", durable=False)
    assert not [path for what, path in events if what == "flush"]
    events.clear()
    flush(files, tmp_path)
    assert {path for _, path in events[:30]} == set(files)
    assert {path for _, path in events[30:]} == {tmp_path, tmp_path / "deep", tmp_path / "deep/0", tmp_path / "deep/1"}
    assert len(events) == 34


@pytest.mark.parametrize("files", [1, 20])
def test_a_disk_that_fails_while_it_flushes_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    for number in range(files):
        (tmp_path / f"{number}").touch()

    def fail(_: int) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(storage.os, "fsync", fail)
    with pytest.raises(SetupError, match="the disk is full"):
        flush(tmp_path.iterdir(), tmp_path)


def test_a_zip_file_is_flushed_before_and_after_it_gets_its_name(tmp_path: Path, events) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a")
    pack(tmp_path / "in", tmp_path / "out.zip")
    partial = tmp_path / f"{storage.STAGING_PREFIX}{os.getpid()}-out.zip"
    assert events == [("flush", partial), ("rename", tmp_path / "out.zip"), ("flush", tmp_path)]


def test_what_is_moved_into_place_is_whole(tmp_path: Path, events) -> None:
    (tmp_path / "part").write_text("x")
    move_into_place(tmp_path / "part", tmp_path / "file")
    assert events == [("flush", tmp_path / "part"), ("rename", tmp_path / "file"), ("flush", tmp_path)]
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a").touch()
    (tmp_path / "empty").mkdir()
    events.clear()
    publish(tmp_path / "work", tmp_path / "empty")
    assert events == [
        ("flush", tmp_path / "work/a"),
        ("flush", tmp_path / "work"),
        ("rename", tmp_path / "empty"),
        ("flush", tmp_path),
    ]
