"""Atomic writes, staged folders, locks, path confinement and journals, with failures put in the middle."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.base import storage
from maskwright.base.storage import (
    Journal,
    atomic_write_bytes,
    atomic_write_json,
    confine,
    dump_json,
    exclusive_lock,
    lock_owner,
    natural,
    next_free,
    numbered,
    read_json,
    require_absent,
    staged_folder,
)
from maskwright.errors import ConfigError, DataError, LockedError, SetupError


def failing(number: int):
    def fail(*_args: object, **_more: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


class TestAtomicWrite:
    def test_writes_new_and_replaces_old(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "file"
        for content in (b"first", b"", b"third"):
            atomic_write_bytes(path, content)
            assert path.read_bytes() == content
        assert [p.name for p in path.parent.iterdir()] == ["file"]

    @pytest.mark.parametrize("call", ["replace", "fsync"])
    @pytest.mark.parametrize("failure", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
    def test_a_failure_leaves_the_old_content_and_nothing_else(self, tmp_path, monkeypatch, call, failure) -> None:
        path = tmp_path / "file"
        atomic_write_bytes(path, b"old")
        monkeypatch.setattr(storage.os, call, failing(failure))
        with pytest.raises(SetupError, match=r"file: .*; (free some space|check the disk)") as raised:
            atomic_write_bytes(path, b"new")
        assert raised.value.exit_code == 4
        assert path.read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["file"]

    @pytest.mark.parametrize("failure", [errno.EROFS, errno.EACCES, errno.EPERM])
    def test_where_nothing_may_be_written_no_space_is_asked_for(self, tmp_path, monkeypatch, failure) -> None:
        monkeypatch.setattr(storage.os, "replace", failing(failure))
        with pytest.raises(
            SetupError, match=r"file: (the file system is read-only|no permission .*); make it writable"
        ):
            atomic_write_bytes(tmp_path / "file", b"new")

    @pytest.mark.parametrize("call", ["replace", "fsync"])
    def test_an_interruption_leaves_the_old_content_and_nothing_else(self, tmp_path, monkeypatch, call) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        path = tmp_path / "file"
        atomic_write_bytes(path, b"old")
        monkeypatch.setattr(storage.os, call, interrupt)
        with pytest.raises(KeyboardInterrupt):
            atomic_write_bytes(path, b"new")
        assert path.read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["file"]

    def test_killed_in_the_middle_the_old_content_stays(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        atomic_write_bytes(path, b"old")
        program = (
            "import os, signal, sys; from pathlib import Path; from maskwright.base import storage\n"
            "storage.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
            "storage.atomic_write_bytes(Path(sys.argv[1]), b'new')"
        )
        done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
        assert done.returncode == -signal.SIGKILL
        assert path.read_bytes() == b"old"
        assert all(p.name.startswith(storage.STAGING_PREFIX) for p in tmp_path.iterdir() if p != path)

    def test_it_flushes_the_file_before_the_rename_and_the_folder_after_it(self, tmp_path, monkeypatch) -> None:
        calls: list[str] = []
        fsync, replace = os.fsync, os.replace
        monkeypatch.setattr(
            storage.os,
            "fsync",
            lambda fd: (calls.append("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "file"), fsync(fd)),
        )
        monkeypatch.setattr(storage.os, "replace", lambda a, b: (calls.append("rename"), replace(a, b)))
        atomic_write_bytes(tmp_path / "file", b"content")
        assert calls == ["file", "rename", "folder"]

    @pytest.mark.parametrize("target", ["file/below", "folder", "n" * 300])
    def test_a_target_that_cannot_be_is_a_clear_error(self, tmp_path: Path, target: str) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "folder" / "inside").mkdir(parents=True)
        with pytest.raises(SetupError, match=r"stands where|too long"):
            atomic_write_bytes(tmp_path / target, b"x")


class TestJson:
    def test_only_strict_json_is_written(self) -> None:
        value = {
            "nan": float("nan"),
            1: np.float32("inf"),
            "a": np.arange(3),
            "p": Path("x/y"),
            "t": (1, np.int64(2)),
            "b": np.bool_(True),
            "u": "é",
        }
        assert json.loads(dump_json(value)) == {
            "nan": None,
            "1": None,
            "a": [0, 1, 2],
            "p": "x/y",
            "t": [1, 2],
            "b": True,
            "u": "é",
        }
        assert "é" in dump_json(value)

    def test_round_trip_and_errors(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        atomic_write_json(path, {"x": [1, None]})
        assert read_json(path) == {"x": [1, None]}
        for broken in (b"{", b"\xff", b"", b"[" * 100_000):
            path.write_bytes(broken)
            with pytest.raises(DataError, match=r"a\.json: not readable"):
                read_json(path)
        with pytest.raises(DataError, match="missing"):
            read_json(tmp_path / "b.json")
        with pytest.raises(DataError, match="not readable"):
            read_json(tmp_path)


class TestFolders:
    def test_staged_folder_appears_whole(self, tmp_path: Path) -> None:
        target = tmp_path / "deep" / "out"
        with staged_folder(target) as staging:
            (staging / "a").write_text("1")
            assert not target.exists()
            assert staging.parent == target.parent  # one file system, so one rename
        assert [p.name for p in target.parent.iterdir()] == ["out"]
        assert (target / "a").read_text() == "1"

    def test_staged_folder_leaves_nothing_when_its_block_fails(self, tmp_path: Path) -> None:
        with pytest.raises(ZeroDivisionError), staged_folder(tmp_path / "out") as staging:
            (staging / "a").write_text("1")
            raise ZeroDivisionError
        assert not list(tmp_path.iterdir())

    def test_staged_folder_leaves_nothing_when_the_rename_fails(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(storage.os, "rename", failing(errno.ENOSPC))
        with pytest.raises(SetupError, match="disk is full"), staged_folder(tmp_path / "out") as staging:
            (staging / "a").write_text("1")
        assert not list(tmp_path.iterdir())

    def test_outputs_are_never_overwritten(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert require_absent(tmp_path / "empty") == tmp_path / "empty"
        with staged_folder(tmp_path / "empty") as staging:
            (staging / "a").touch()
        (tmp_path / "file").touch()
        for taken in ("empty", "file"):
            with pytest.raises(ConfigError, match="never overwritten"), staged_folder(tmp_path / taken):
                pass

    def test_next_free(self, tmp_path: Path) -> None:
        assert next_free(tmp_path / "no", "run").name == "run-001"
        for name in ("run-001", "run-003", "running-002"):
            (tmp_path / name).mkdir()
        assert next_free(tmp_path, "run").name == "run-004"  # a higher number is always newer
        for name in ("run-999", "run-[a]-007", "page-998.html", "page-999.html"):
            (tmp_path / name).mkdir()
        assert next_free(tmp_path, "run").name == "run-1000" and next_free(tmp_path, "run-[a]").name == "run-[a]-008"
        (tmp_path / "run-1000").mkdir()
        assert next_free(tmp_path, "run").name == "run-1001"
        assert next_free(tmp_path, "page", ".html").name == "page-1000.html"

    def test_numbered_and_natural(self, tmp_path: Path) -> None:
        for name in ("test-999", "test-1000", ".partial-1-test-002", "val-001", "test-01", "test-001.html"):
            (tmp_path / name).mkdir()
        assert sorted(numbered(tmp_path)) == [
            ("test", 999, tmp_path / "test-999"),
            ("test", 1000, tmp_path / "test-1000"),
            ("val", 1, tmp_path / "val-001"),
        ]
        assert list(numbered(tmp_path / "none")) == []
        names = ["a", "a-2", "a-10", "a-999", "a-1000", "b-1"]
        assert sorted(map(Path, reversed(names)), key=natural) == list(map(Path, names))


class TestLock:
    def test_a_second_process_is_refused_with_the_first_ones_pid(self, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from maskwright.base.storage import exclusive_lock\n"
            "with exclusive_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout and other.stdout.readline() == "held\n"
            with pytest.raises(LockedError, match=rf"pid {other.pid}\)") as raised, exclusive_lock(tmp_path):
                pass
            assert raised.value.exit_code == 5
            other.kill()  # no chance to clean up: the kernel lets the lock go
            other.wait()
            with exclusive_lock(tmp_path):
                assert (tmp_path / ".lock").read_text() == str(os.getpid())
                assert lock_owner(tmp_path) == os.getpid()
            assert lock_owner(tmp_path) is None and lock_owner(tmp_path / "nowhere") is None

    def test_errors_of_the_block_are_its_own(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="somewhere else"), exclusive_lock(tmp_path):
            raise OSError(errno.ENOSPC, "somewhere else")
        with pytest.raises(LockedError), exclusive_lock(tmp_path), exclusive_lock(tmp_path):
            pass
        with exclusive_lock(tmp_path):
            pass


class TestConfine:
    @pytest.mark.parametrize(
        "path",
        [
            "",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            r"a\..",
            r"a\..\..\x",
            "/etc/passwd",
            r"\x",
            r"\\server\share\x",
            "C:/x",
            r"c:\x",
            "c:x",
            "a\0b",
            "\0",
            "a/\ud800.png",
            "a" * 300,
            "a/" * 3000,
        ],
    )
    def test_refuses(self, tmp_path: Path, path: str) -> None:
        with pytest.raises(DataError, match=r"^list\.csv: the path") as raised:
            confine(tmp_path, path, "list.csv")
        assert "\0" not in str(raised.value) and str(raised.value).isprintable() and len(str(raised.value)) < 700

    def test_accepts_what_is_inside(self, tmp_path: Path) -> None:
        assert confine(tmp_path, "a/b.png", "x") == tmp_path / "a/b.png"
        assert confine(tmp_path, r"a\b.png", "x") == tmp_path / "a/b.png"
        assert confine(tmp_path, "./a", "x") == tmp_path / "a"
        assert confine(tmp_path, "..a/b..", "x") == tmp_path / "..a/b.."
        assert confine(Path("relative"), "a", "x") == Path("relative/a")

    def test_symbolic_links(self, tmp_path: Path) -> None:
        root, outside = tmp_path / "root", tmp_path / "outside"
        (root / "real").mkdir(parents=True)
        outside.mkdir()
        (root / "in").symlink_to("real")
        (root / "out").symlink_to(outside)
        (root / "real" / "up").symlink_to("../../outside")
        (root / "circle").symlink_to("circle")
        assert confine(root, "in/a", "x") == root / "in/a"
        for path in ("out", "out/a", "real/up/a", "circle", "circle/a"):
            with pytest.raises(DataError, match="symbolic link"):
                confine(root, path, "x")

    def test_a_root_that_is_a_link_itself_is_fine(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "root").symlink_to("real")
        assert confine(tmp_path / "root", "a", "x") == tmp_path / "root/a"

    @given(st.text("ab./\\:\0~ ", max_size=12))
    def test_whatever_is_accepted_lies_inside(self, text: str) -> None:
        root = Path("/some/root")
        try:
            path = confine(root, text, "x")
        except DataError:
            return
        assert Path(os.path.normpath(path)).is_relative_to(root)


class TestJournal:
    def test_append_and_read(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "deep" / "j.jsonl")
        assert journal.read() == [] and journal.size == 0
        records = [{"a": 1}, {"text": "line\r\nbreak\u2028"}, {"n": None}]
        for record in records:
            journal.append(record)
        assert journal.read() == records

    @given(st.integers(1, 40))
    def test_a_torn_last_line_costs_only_itself(self, cut: int) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            journal = Journal(Path(folder) / "j")
            for number in range(3):
                journal.append({"number": number}, durable=False)
            content = journal.path.read_bytes()
            journal.path.write_bytes(content[:-cut])
            whole = content[:-cut].count(b"\n")
            assert journal.read() == [{"number": n} for n in range(whole)]
            journal.append({"number": 9}, durable=False)
            assert journal.read() == [{"number": n} for n in [*range(whole), 9]]

    @pytest.mark.parametrize("torn", [4095, 4096, 4097, 3 << 20])
    def test_a_torn_line_of_any_length_is_dropped(self, tmp_path: Path, torn: int) -> None:
        journal = Journal(tmp_path / "j")
        journal.append({"a": 1})
        with open(journal.path, "ab") as stream:
            stream.write(b"x" * torn)
        journal.append({"b": 2})
        assert journal.read() == [{"a": 1}, {"b": 2}]

    def test_truncate_forgets_and_repeats_the_same_bytes(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "j")
        journal.append({"a": 1})
        size = journal.size
        journal.append({"b": 2})
        content = journal.path.read_bytes()
        journal.truncate(size)
        assert journal.read() == [{"a": 1}]
        journal.append({"b": 2})
        assert journal.path.read_bytes() == content
        journal.truncate(10_000)
        assert journal.path.read_bytes() == content
        Journal(tmp_path / "none").truncate(0)
        assert not (tmp_path / "none").exists()

    def test_damage_in_the_middle_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "j"
        path.write_bytes(b'{"a": 1}\nbroken\n{"b": 2}\n')
        with pytest.raises(DataError, match=r"j:2: not valid JSON"):
            Journal(path).read()

    def test_a_full_disk_is_a_clear_error(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(storage.os, "fsync", failing(errno.ENOSPC))
        with pytest.raises(SetupError, match="disk is full"):
            Journal(tmp_path / "j").append({})


def test_staged_folder_clears_what_a_killed_process_of_the_same_pid_left(tmp_path):
    left = tmp_path / f".partial-{os.getpid()}-out"
    left.mkdir()
    (left / "old.txt").write_text("old")
    with staged_folder(tmp_path / "out") as staging:
        (staging / "new.txt").write_text("new")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new.txt"] and not left.exists()


def test_of_two_that_stage_the_same_folder_the_second_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="never overwritten"), staged_folder(tmp_path / "out") as staging:
        (staging / "mine.txt").write_text("mine")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "theirs.txt").write_text("theirs")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["theirs.txt"]
