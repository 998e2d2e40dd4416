"""Samples marked by name: `edits --status`."""

from __future__ import annotations

from pathlib import Path

import pytest

import maskwright
from maskwright.cli import main
from maskwright.errors import ConfigError, DataError
from tiny import write_dataset


def cli(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    return int(ended.value.code or 0)


def statuses(folder: Path) -> dict[str, str]:
    return {sample.name: sample.status for sample in maskwright.load_dataset(folder).samples if sample.status != "keep"}


def test_samples_are_marked_by_name_and_by_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    write_dataset(data, {"train": 4, "val": 1})
    first, second, third = sorted(sample.name for sample in maskwright.load_dataset(data).samples)[:3]
    (tmp_path / "list.txt").write_text(f"{first}\n\n{second}\n{first}\n", "utf-8-sig")  # as some editors save
    batch = maskwright.set_status(data, "exclude", [tmp_path / "list.txt"])
    assert statuses(data) == {first: "exclude", second: "exclude"} and len(batch.edits) == 2
    assert cli("edits", data, "--status", "suspect", "--samples", second, "--samples", third) == 0
    assert statuses(data) == {first: "exclude", second: "suspect", third: "suspect"}
    assert "status suspect for 2 samples" in capsys.readouterr().out
    assert cli("edits", data, "--undo") == 0
    assert statuses(data) == {first: "exclude", second: "exclude"}
    maskwright.set_status(data, "keep", [first])
    assert statuses(data) == {second: "exclude"}


def test_what_cannot_be_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    write_dataset(data, {"train": 2})
    name = maskwright.load_dataset(data).samples[0].name
    with pytest.raises(ConfigError, match=f"{name}x: is no sample of data; did you mean '{name}'"):
        maskwright.set_status(data, "exclude", [name + "x", name])
    with pytest.raises(ConfigError, match="bad: is not a status; known: keep, exclude, suspect"):
        maskwright.set_status(data, "bad", [name])  # type: ignore[arg-type]
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ConfigError, match="names no sample"):
        maskwright.set_status(data, "exclude", [tmp_path / "empty.txt"])
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as a list of names"):
        maskwright.set_status(data, "exclude", [tmp_path / "binary"])
    assert statuses(data) == {} and not (data / ".maskwright" / "edits.jsonl").exists()
    for options in (["--status", "exclude"], ["--samples", name], ["--undo", "--status", "keep", "--samples", name]):
        assert cli("edits", data, *options) == 2
        assert "--status and --samples go together" in capsys.readouterr().err
