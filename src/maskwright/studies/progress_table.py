"""Shows a study to the person who waits: a table that is drawn anew on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from maskwright.base.progress import say, speaks
from maskwright.studies.status import StudyStatus

# Seconds between two looks at the runs, for a terminal and for a log.
DRAWN_EVERY, LINES_EVERY = 2.0, 30.0
_SHOWN = ("training", "evaluating", "failed")


@contextmanager
def shown_progress(look: Callable[[], StudyStatus]) -> Iterator[Callable[[], None]]:
    """Yields a function that is called often, and shows what `look` finds when it is time to."""
    if sys.stderr.isatty() and speaks():
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
            yield _seldom(lambda: live.update(Text("\n".join(_lines(look()))), refresh=True), DRAWN_EVERY)
    else:
        yield _seldom(lambda: say("\n".join(_lines(look()))), LINES_EVERY)


def _seldom(show: Callable[[], None], seconds: float) -> Callable[[], None]:
    shown = time.monotonic()

    def call() -> None:
        nonlocal shown
        if time.monotonic() - shown >= seconds:
            show()
            shown = time.monotonic()

    return call


def _lines(status: StudyStatus) -> list[str]:
    """The runs that something happens with, and one line for all."""
    width = max(len(run.name) for run in status.runs)
    return [*(run.human(width) for run in status.runs if run.state in _SHOWN), status.summary()]
