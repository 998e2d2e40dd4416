"""A folder at a URL is copied whole or not at all, and resumed from where it stopped."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import maskwright
from maskwright.errors import ConfigError, DataError, SetupError

URL = "memory://bucket/data"


@pytest.fixture
def store() -> Iterator[MemoryFileSystem]:
    """An object store in this process, with 150 files in two folders."""
    system = fsspec.filesystem("memory")
    for number in range(150):
        system.pipe(
            f"/bucket/data/{'images' if number % 2 else 'masks/deep'}/{number:03}.png", bytes([number]) * number
        )
    system.pipe("/bucket/other/secret.txt", b"not asked for")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def expected() -> dict[str, bytes]:
    return {
        f"{'images' if number % 2 else 'masks/deep'}/{number:03}.png": bytes([number]) * number for number in range(150)
    }


def test_all_files_and_nothing_else(store: MemoryFileSystem, tmp_path: Path) -> None:
    result = maskwright.fetch(URL, tmp_path / "copy")
    assert held(tmp_path / "copy") == expected()
    assert (result.files, result.bytes, result.url) == (150, sum(range(150)), URL)
    assert json.loads(json.dumps(result.to_dict()))["out"] == str(tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    with pytest.raises(ConfigError, match="already exists"):
        maskwright.fetch(URL, tmp_path / "copy")


def test_what_stopped_goes_on_where_it_was(store: MemoryFileSystem, tmp_path: Path, monkeypatch) -> None:
    asked: list[str] = []
    whole = MemoryFileSystem.get

    def failing(self, names, places, **options):
        asked.extend(names)
        if len(asked) > 100:
            raise OSError("the line is down")
        return whole(self, names, places, **options)

    monkeypatch.setattr(MemoryFileSystem, "get", failing)
    with pytest.raises(
        DataError, match=r"^memory://bucket/data: cannot be read \(the line is down\); the same command"
    ):
        maskwright.fetch(URL, tmp_path / "copy")
    assert not (tmp_path / "copy").exists() and len(held(tmp_path / "copy.unfinished" / "files")) == 64
    monkeypatch.setattr(MemoryFileSystem, "get", whole)
    store.pipe("/bucket/data/images/later.png", b"was not listed")
    maskwright.fetch(URL, tmp_path / "copy")
    assert held(tmp_path / "copy") == expected()


def test_a_file_that_has_changed_since_it_was_listed(store: MemoryFileSystem, tmp_path: Path, monkeypatch) -> None:
    whole = MemoryFileSystem.get

    def shorter(self, names, places, **options):
        self.pipe("/bucket/data/images/003.png", b"x")
        return whole(self, names, places, **options)

    monkeypatch.setattr(MemoryFileSystem, "get", shorter)
    with pytest.raises(
        DataError, match=r"data/images/003\.png: 1 byte arrived, and the list says 3; if the folder has"
    ):
        maskwright.fetch(URL, tmp_path / "copy")


@pytest.mark.parametrize("name", ["../../escaped.txt", "/etc/escaped.txt", "C:/escaped.txt", "images\\up.png", "a\0b"])
def test_names_that_would_lie_outside(store: MemoryFileSystem, tmp_path: Path, monkeypatch, name: str) -> None:
    def walk(self, root, **options):
        yield root, {}, {name: {"type": "file", "size": 1}}

    monkeypatch.setattr(MemoryFileSystem, "walk", walk)
    with pytest.raises(DataError, match="only paths inside|has a backslash"):
        maskwright.fetch(URL, tmp_path / "deep" / "copy")
    assert not [path for path in tmp_path.rglob("*") if "escaped" in path.name or "up.png" in path.name]


def test_addresses_that_are_none(tmp_path: Path, monkeypatch) -> None:
    for url, kind, text in (
        (str(tmp_path), ConfigError, "is no address"),
        ("gopher://host/data", ConfigError, "give an address that fsspec knows"),
        ("memory://nothing/here", DataError, "nothing/here"),
    ):
        with pytest.raises(kind, match=text):
            maskwright.fetch(url, tmp_path / "copy")
    known = importlib.import_module("fsspec.registry").known_implementations
    monkeypatch.setitem(known, "store", {"class": "no.such.Store", "err": "Install storefs"})
    with pytest.raises(SetupError, match=r"^store://bucket: Install storefs$"):
        maskwright.fetch("store://bucket?token=secret", tmp_path / "copy")


def test_a_name_and_a_password_are_never_shown(tmp_path: Path) -> None:
    class Refusing(MemoryFileSystem):
        protocol = "refusing"

        @classmethod
        def _strip_protocol(cls, path):
            return "/data"

        def walk(self, root, **options):
            raise PermissionError("refusing://me:secret@host/data?key=hidden: no entry")

    fsspec.register_implementation("refusing", Refusing, clobber=True)
    with pytest.raises(DataError) as error:
        maskwright.fetch("refusing://me:secret@host/data?key=hidden", tmp_path / "copy")
    assert "refusing://host/data: cannot be read (refusing://host/data: no entry)" in str(error.value)
    facts = (tmp_path / "copy.unfinished" / "facts.json").read_text()
    assert "secret" not in facts and "hidden" not in facts


def test_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "far" / "images").mkdir(parents=True)
    (tmp_path / "far" / "images" / "a.png").write_bytes(b"abc")
    command = [
        sys.executable,
        "-m",
        "maskwright",
        "fetch",
        (tmp_path / "far").as_uri(),
        str(tmp_path / "near"),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "url": (tmp_path / "far").as_uri(),
        "out": str(tmp_path / "near"),
        "files": 1,
        "bytes": 3,
    }
    assert held(tmp_path / "near") == {"images/a.png": b"abc"}
