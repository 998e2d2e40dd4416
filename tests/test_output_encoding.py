"""Terminals, files and pipes that cannot hold every character: no verb dies of a name, and exit codes are as ever."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
import yaml

import tiny
from maskwright.base.storage import atomic_write_text
from maskwright.cli import main
from maskwright.run import Run
from maskwright.training.train import train

NAMES = ["fond é", "Überzug 漆 😀"]


def printed(monkeypatch: pytest.MonkeyPatch, encoding: str, *arguments: object) -> tuple[int, bytes, bytes]:
    """The exit code, and what a stream of this encoding gets, which is strict as Python's own are."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        with pytest.raises(SystemExit) as stopped:
            main([*map(str, arguments)])
    out, err = ((stream.flush(), stream.buffer.getvalue())[1] for stream in streams)  # type: ignore[attr-defined]
    assert isinstance(stopped.value.code, int)
    return stopped.value.code, out, err


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("données")
    data = tiny.write_dataset(folder / "data", {"train": 6, "val": 2, "test": 3})
    described = yaml.safe_load((data / "dataset.yaml").read_text("utf-8"))
    for row, name in zip(described["classes"], NAMES, strict=True):
        row["name"] = name
    atomic_write_text(data / "dataset.yaml", yaml.safe_dump(described, allow_unicode=True))
    return train(tiny.config(data), out=folder / "run")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
@pytest.mark.parametrize(
    "verb",
    [
        "init DATA",
        "audit DATA",
        "audit NOWHERE",
        "edits DATA",
        "split DATA --dry-run",
        "plan DATA",
        "evaluate RUN",
        "compare RUN",
        "explain RUN",
        "doctor RUN",
        "predict RUN DATA/images/test --out OUT",
        "predict --help",
    ],
)
def test_what_a_stream_cannot_hold_is_printed_as_an_escape(
    verb: str, encoding: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"RUN": run.path, "DATA": run.path.parent / "data", "NOWHERE": run.path / "é", "OUT": tmp_path / "é"}
    words = [
        f"{places.get(first, first)}{slash}{rest}" for first, slash, rest in (w.partition("/") for w in verb.split())
    ]
    expected, said, _ = printed(monkeypatch, "utf-8", *words)
    code, out, err = printed(monkeypatch, encoding, *words)
    assert code == expected and b"UnicodeEncodeError" not in err and b"defect" not in err
    if NAMES[1] in said.decode():
        assert b"\\u6f06 \\U0001f600" in out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("verb", ["evaluate RUN", "audit DATA"])
def test_json_is_utf8_in_every_encoding(verb: str, encoding: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = verb.replace("RUN", str(run.path)).replace("DATA", str(run.path.parent / "data")).split()
    code, out, err = printed(monkeypatch, encoding, *words, "--json")
    assert code == 0, err
    assert NAMES[1] in str(json.loads(out.decode("utf-8")))
