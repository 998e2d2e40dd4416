"""Progress of long work on stderr: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from maskwright.base.texts import clock

if TYPE_CHECKING:
    from rich.progress import Progress


class Advance(Protocol):
    """Told how many are done so far, with a short note, and of how many if that has changed."""

    def __call__(self, done: int, note: str = "", of: int | None = None) -> None:
        """`done`: how many in all."""


_LINE_EVERY = 10.0


def speaks() -> bool:
    """Whether this process reports: of several that torchrun has started only the first one does."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK") == "0"


def say(text: str) -> None:
    """One line for the person who waits; stdout is left to results."""
    if speaks():
        print(text, file=sys.stderr, flush=True)


@contextmanager
def progress(what: str, total: int, unit: str = "images", done: int = 0) -> Iterator[Advance]:
    """Yields `advance(done, note)`, which takes the number done so far and a short note."""
    if sys.stderr.isatty() and speaks():
        with _bar(what, total, unit, done) as advance:
            yield advance
        return
    began = said = time.monotonic()
    first = done

    def line(done: int, note: str = "", of: int | None = None) -> None:
        nonlocal said, total
        total = of or total
        now = time.monotonic()
        if now - said >= _LINE_EVERY or (done == total and now - began >= _LINE_EVERY):
            said = now
            rate = (done - first) / (now - began)
            left = f", {clock((total - done) / rate)} left" if rate > 0 else ""
            say(f"{what}: {done}/{total} {unit}, {rate:.1f}/s{left}{', ' + note if note else ''}")

    yield line


# The display, while there is one: work inside other work has a bar below its bar.
_shown: list[Progress] = []


@contextmanager
def _bar(what: str, total: int, unit: str, done: int) -> Iterator[Advance]:
    began, first = time.monotonic(), done
    with nullcontext(_shown[0]) if _shown else _bars() as bars:
        task = bars.add_task(what, total=total, completed=done, rate="", note="")
        inner = len(bars.task_ids) > 1

        def advance(done: int, note: str = "", of: int | None = None) -> None:
            rate = (done - first) / max(time.monotonic() - began, 1e-9)
            bars.update(task, total=of, completed=done, rate=f"{rate:.1f} {unit}/s", note=note)

        try:
            yield advance
        finally:
            if inner:
                bars.remove_task(task)


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Left(TimeRemainingColumn):
        def render(self, task: Task) -> Text:
            left = task.time_remaining
            return Text("" if left is None else f"{clock(left)} left")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        Left(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        _shown.append(bars)
        try:
            yield bars
        finally:
            _shown.remove(bars)
