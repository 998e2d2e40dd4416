"""A refinement that is killed again and again ends as if it never had been."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
from pathlib import Path

import pytest
from test_refine import made, write_plan

import maskwright
from maskwright.labels.refining import running

KILLS = 50


def refine(place: Path, out: Path) -> None:
    maskwright.refine(write_plan(place) if not (place / "refine.yaml").exists() else place / "refine.yaml", out=out)


def results(out: Path) -> dict[str, bytes]:
    """All that was made: masks, what became of each pixel, weights, logs and scores; but for times, and for the paths
    of the folder."""
    kept = {}
    for file in sorted(out.rglob("*")):
        inside = file.relative_to(out)
        timed = file.name in ("timing.jsonl", "finished.json", "run.json", ".lock", "refine.json", "index.html")
        if (
            file.is_file()
            and not timed
            and ".maskwright" not in inside.parts
            and file.suffix in (".png", ".safetensors", ".jsonl")
        ):
            kept[str(inside)] = file.read_bytes()
    return kept


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fifty_kills_over_three_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By forks of this process, which have loaded everything: a kill comes at any moment of the work itself."""
    monkeypatch.setattr(running, "helps", lambda counts: True)
    place = made(tmp_path)
    context, luck = multiprocessing.get_context("fork"), random.Random(0)
    whole = context.Process(target=refine, args=(place, tmp_path / "whole"))
    whole.start()
    whole.join()
    assert whole.exitcode == 0
    kills, longest = 0, 0.3
    while True:
        process = context.Process(target=refine, args=(place, tmp_path / "killed"))
        process.start()
        process.join(luck.uniform(0.05, longest) if kills < KILLS else None)
        if process.is_alive():
            assert process.pid
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
            longest *= 1.02  # so that it gets on where a moment is not enough
        elif kills < KILLS:  # it got to its end too early: from the beginning
            assert process.exitcode == 0 and results(tmp_path / "killed") == results(tmp_path / "whole")
            shutil.rmtree(tmp_path / "killed")
        else:
            break
    assert process.exitcode == 0 and kills == KILLS
    whole_files, killed = results(tmp_path / "whole"), results(tmp_path / "killed")
    assert whole_files.keys() == killed.keys() and len(whole_files) > 50
    assert [name for name, content in whole_files.items() if killed[name] != content] == []
