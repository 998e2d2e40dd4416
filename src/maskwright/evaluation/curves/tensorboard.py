"""TensorBoard: a folder of `events.out.tfevents.…`, or one such file; several in a folder are sessions of one training.

x is the step that was given to the writer, which is an iteration in most tools.
"""

from __future__ import annotations

from pathlib import Path

from maskwright.base.storage import natural
from maskwright.evaluation.curves.curve import Curves
from maskwright.evaluation.curves.events import scalars, starts_like_one
from maskwright.evaluation.curves.lines import Start, finite
from maskwright.evaluation.curves.quantities import NOT_CURVES, Collector

FILES = "events.out.tfevents.*"


def detect(start: Start) -> bool:
    """Whether it begins with a framed record."""
    return starts_like_one(start.head)


def read(path: Path) -> Curves:
    """A folder of event files, or one file. Raises DataError."""
    found = Collector()
    found.note("x is the step as it was logged")
    for file in sorted(path.glob(FILES), key=natural) if path.is_dir() else [path]:
        for tag, step, value in scalars(file):
            if step < 0:
                found.note("values at steps below 0 are left out")
            elif tag not in NOT_CURVES:
                found.add(tag, float(step), finite(value))
    return found.curves(path, "tensorboard", "iteration")
