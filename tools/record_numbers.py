"""Runs the commands of `recorded_commands.py` and keeps all that they print and write.

FOLDER/work/ is the folder in which the commands run, FOLDER/output/NAME.txt what a command has printed,
FOLDER/errors/NAME.txt its progress and complaints, which are not compared, and FOLDER/exit-codes.json how each ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from recorded_commands import Command, commands, prepare

_PATIENCE = 1800.0  # seconds for one command
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)
_FIXED = {
    "COLUMNS": "120",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "LC_ALL": "C.UTF-8",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}


def record(folder: Path) -> int:
    """Records into a new folder; the number of commands that did not end as a recorded one may.

    Raises SystemExit where the folder already exists and is not empty.
    """
    folder = folder.resolve()
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty; give a new folder")
    work, output, errors = (folder / name for name in ("work", "output", "errors"))
    for each in (work, output, errors):
        each.mkdir(parents=True)
    prepare(work)
    environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1"), **_FIXED, "HOME": str(folder / "errors")}
    todo = commands()
    codes: dict[str, int] = {}
    start = time.monotonic()
    for place, command in enumerate(todo, start=1):
        began = time.monotonic()
        with (output / f"{command.name}.txt").open("wb") as out, (errors / f"{command.name}.txt").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "maskwright", *command.arguments],
                cwd=work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
            try:
                if command.stop is not None:
                    _stop(process, work / command.stop)
                codes[command.name] = process.wait(_PATIENCE)
            except BaseException:
                process.kill()
                raise
        print(
            f"[{place}/{len(todo)}] {command.name}: exit {codes[command.name]}, {time.monotonic() - began:.1f} s",
            flush=True,
        )
    (folder / "exit-codes.json").write_text(json.dumps(codes, indent=1) + "\n")
    bad = [name for name, code in codes.items() if not _may_end(todo, name, code)]
    print(f"{len(todo)} commands in {time.monotonic() - start:.0f} s; {folder}")
    for name in bad:
        print(f"failed: {name} (exit {codes[name]}), see {errors / name}.txt")
    return len(bad)


def _may_end(todo: list[Command], name: str, code: int) -> bool:
    """0 and 1 (findings); 130 where it was stopped."""
    command = next(command for command in todo if command.name == name)
    return code == 130 if command.stop is not None else code in (0, 1)


def _stop(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Interrupts a training as soon as its log has two lines. That of a resumed run holds what one that was never
    stopped has, wherever it was stopped."""
    end = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < end:
        if any(file.read_bytes().count(b"\n") >= 2 for file in folder.rglob("*.jsonl")):
            process.send_signal(signal.SIGINT)
            return
        time.sleep(0.02)
