"""Zip files: what goes in comes out, and hostile ones neither leave the folder, fill the disk nor crash."""

from __future__ import annotations

import os
import random
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import fingerprint, make_dataset
from maskwright.data.convert import convert
from maskwright.data.formats import archives
from maskwright.data.formats.archives import pack, unpacked
from maskwright.errors import DataError


def zipped(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def refused(path: Path, match: str) -> None:
    """One line of DataError, and nothing left behind in the folder for temporary files."""
    with pytest.raises(DataError, match=match) as error, unpacked(path):
        pass
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    assert not list(Path(tempfile.gettempdir()).glob("maskwright-*"))


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\:", exclude_categories=["C"]), min_size=1, max_size=12
).filter(lambda name: set(name) - {"."} and name == name.strip())


@settings(max_examples=30)
@given(st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=200), max_size=6))
def test_what_is_packed_comes_out(entries) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in"
        source.mkdir()
        (source / "beside").touch()  # else one folder in it is entered
        for name, data in entries.items():
            if not any(parent.is_file() for parent in (source / name).parents) and not (source / name).is_dir():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_bytes(data)
        pack(source, Path(folder) / "out.zip")
        assert [path.name for path in Path(folder).iterdir() if path.name != "in"] == ["out.zip"]
        with unpacked(Path(folder) / "out.zip") as found:
            assert {k: v for k, v in fingerprint(found).items() if v != "folder"} == {
                k: v for k, v in fingerprint(source).items() if v != "folder"
            }
        assert not found.exists()


def test_folders_and_other_files_are_taken_as_they_are(tmp_path) -> None:
    (tmp_path / "folder.zip").mkdir()
    (tmp_path / "a.txt").write_text("x")
    for path in (tmp_path / "folder.zip", tmp_path / "a.txt", tmp_path / "none.zip"):
        with unpacked(path) as found:
            assert found == path
    with unpacked(zipped(tmp_path / "A.ZIP", {"x/y": b"1", "z\\w": b"2"})) as found:
        assert (found / "x" / "y").read_bytes() == b"1" and (found / "z" / "w").read_bytes() == b"2"


@pytest.mark.parametrize(
    ("names", "entered"),
    [
        (["set/a", "set/b/c"], "set"),
        (["my data/a", "__MACOSX/._x", ".DS_Store", "Thumbs.db"], "my data"),
        (["a/b/c/images/x", "a/b/c/masks/x"], "a/b/c"),
        (["a/images/x"], "a"),
        (["images/x"], "."),
        (["Train/images/x", "Train/masks/x"], "."),
        (["Annotations/x.xml"], "."),
        (["one/a", "two/b"], "."),
        (["one/a", "labels.csv"], "."),
        (["a/b/c/d/e/f"], "a/b/c/d"),
        (["file"], "."),
    ],
)
def test_one_top_folder_is_entered(tmp_path, names, entered) -> None:
    with unpacked(zipped(tmp_path / "a.zip", dict.fromkeys(names, b"x"))) as found:
        root = next(path for path in (tmp_path / "tmp").iterdir() if path.name.startswith("maskwright-"))
        assert found == root / entered
    assert not root.exists()
    with (
        pytest.raises(DataError, match=r"a\.zip/") as error,
        unpacked(zipped(tmp_path / "a.zip", dict.fromkeys(names, b"x"))) as found,
    ):
        raise DataError(f"{found / 'x'}: is broken; mend it")
    assert "maskwright-" not in str(error.value)


def test_a_zipped_folder_is_converted_as_the_folder_is(tmp_path) -> None:
    make_dataset(tmp_path / "data", images=4, layout="flat")
    files = {
        f"my export/{path.relative_to(tmp_path / 'data').as_posix()}": path.read_bytes()
        for path in (tmp_path / "data").rglob("*")
        if path.is_file()
    }
    certificate = convert(zipped(tmp_path / "data.zip", files), tmp_path / "out", to="index", progress=False)
    assert certificate.exact and len(certificate.samples) == 4


def test_packing_again_replaces_and_an_error_leaves_nothing(tmp_path, monkeypatch) -> None:
    (tmp_path / "in" / "b").mkdir(parents=True)
    (tmp_path / "in" / "b" / "y").write_text("1")
    (tmp_path / "in" / "a").write_text("2")
    os.utime(tmp_path / "in" / "a", (0, 0))  # before the first year of zip files
    pack(tmp_path / "in", tmp_path / "out.zip")
    pack(tmp_path / "in", tmp_path / "out.zip")
    assert zipfile.ZipFile(tmp_path / "out.zip").namelist() == ["a", "b/", "b/y"]
    before = fingerprint(tmp_path)

    def broken(*_: object) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(zipfile.ZipFile, "write", broken)
    with pytest.raises(Exception, match="disk is full"):
        pack(tmp_path / "in", tmp_path / "out.zip")
    assert fingerprint(tmp_path) == before


def test_the_folder_is_removed_after_an_error_of_the_caller(tmp_path) -> None:
    with pytest.raises(KeyError), unpacked(zipped(tmp_path / "a.zip", {"x": b"1"})) as found:
        raise KeyError
    assert not found.exists()


# -- hostile archives -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../x", "a/../../x", "C:x", "\\\\server\\share\\x", "..\\x"])
def test_entries_that_lead_outside(tmp_path, name) -> None:
    refused(zipped(tmp_path / "a.zip", {"good": b"1", name: b"2"}), "only paths inside")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "tmp"]


def test_names_that_stand_there_twice_or_are_impossible(tmp_path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", "1")
        archive.writestr("a", "2")
    refused(tmp_path / "a.zip", "'a' stands there twice")
    for names in (["a", "a/b"], ["a/b", "a"], ["x" * 300], ["a/./b", "a//b"]):
        refused(zipped(tmp_path / "a.zip", dict.fromkeys(names, b"1")), "stands there twice|only paths inside")


def test_bombs(tmp_path) -> None:
    refused(zipped(tmp_path / "a.zip", {"a": bytes(11 << 20)}), "grows to over")
    with unpacked(zipped(tmp_path / "b.zip", {"a": bytes(10 << 20), "b": bytes(10 << 20)})) as found:  # small enough
        assert (found / "b").stat().st_size == 10 << 20


def rewritten(path: Path, **fields: int) -> Path:
    """Lies in the central directory about the last entry."""
    data = bytearray(path.read_bytes())
    start = data.rindex(b"PK\x01\x02")
    for name, value in fields.items():
        place, form = {
            "method": (10, "<H"),
            "flags": (8, "<H"),
            "packed": (20, "<I"),
            "size": (24, "<I"),
            "offset": (42, "<I"),
        }[name]
        struct.pack_into(form, data, start + place, value)
    path.write_bytes(data)
    return path


def test_lies_about_sizes_do_not_help_a_bomb(tmp_path) -> None:
    refused(
        rewritten(zipped(tmp_path / "a.zip", {"a": bytes(30 << 20)}), packed=1 << 30), "grows to over|ends too early"
    )
    refused(rewritten(zipped(tmp_path / "b.zip", {"a": bytes(30 << 20)}), size=1 << 20), "cannot be unpacked")
    with unpacked(rewritten(zipped(tmp_path / "c.zip", {"a": b"x" * 100}), size=1 << 31, packed=1 << 30)) as found:
        assert (found / "a").read_bytes() == b"x" * 100  # what is there, not what is said


def test_files_that_are_small_each_are_limited_together(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(archives, "SMALL_ARCHIVE", 20 << 20)
    with unpacked(zipped(tmp_path / "b.zip", {"a": bytes(9 << 20), "b": bytes(9 << 20)})):
        pass
    refused(zipped(tmp_path / "c.zip", {name: bytes(9 << 20) for name in "abc"}), "grows to over")


def test_too_many_files(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    refused(zipped(tmp_path / "a.zip", dict.fromkeys("abcd", b"")), "holds 4 files; at most 3")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"flags": 1}, "encrypted"),
        ({"method": 14}, "packed with method 14"),
        ({"method": 9}, "packed with method 9"),
        ({"method": 12}, "cannot be unpacked"),
        ({"offset": 10**6}, "cannot be unpacked"),
        ({"method": 0}, "cannot be unpacked"),
    ],
)
def test_entries_that_cannot_be_read(tmp_path, fields, match) -> None:
    refused(rewritten(zipped(tmp_path / "a.zip", {"a": random.Random(1).randbytes(500)}), **fields), match)


@pytest.mark.parametrize(
    "data", [b"", b"garbage", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"PK\x05\x06" + b"\xff" * 18, b"\x00" * 5000]
)
def test_files_that_are_no_archive(tmp_path, data) -> None:
    (tmp_path / "a.zip").write_bytes(data)
    if data == b"PK\x05\x06" + bytes(18):  # an empty one
        with unpacked(tmp_path / "a.zip") as found:
            assert not list(found.iterdir())
    else:
        refused(tmp_path / "a.zip", "cannot be unpacked")


def test_damage_anywhere_gives_one_line_or_the_content(tmp_path) -> None:
    """Bits flipped and ends cut off, all over a small archive of three methods."""
    good = {"a.png": random.Random(2).randbytes(300), "b/c.txt": b"hello " * 40, "d": b"\x00" * 200}
    rng = np.random.default_rng(3)
    outcomes = set()
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        data = zipped(tmp_path / "a.zip", good, method).read_bytes()
        for _ in range(150):
            broken = bytearray(data[: rng.integers(1, len(data))] if rng.random() < 0.2 else data)
            for place in rng.integers(0, len(broken), rng.integers(1, 4)):
                broken[place] ^= 1 << rng.integers(0, 8)
            (tmp_path / "b.zip").write_bytes(broken)
            try:
                with unpacked(tmp_path / "b.zip") as found:
                    outcomes.add("read")
                    assert sum(path.stat().st_size for path in found.rglob("*") if path.is_file()) <= 740
            except DataError as error:
                outcomes.add("refused")
                assert "\n" not in str(error)
    assert outcomes == {"read", "refused"} and not list((tmp_path / "tmp").iterdir())
