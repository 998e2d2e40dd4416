"""From the names and scales of other tools to ours: `valid/mean_iou` becomes `val_mIoU`, and per cent become shares."""

from __future__ import annotations

import re
from pathlib import Path

from maskwright.errors import DataError
from maskwright.evaluation.curves.curve import Axis, Curves, Points, Setup, base

_WORDS = {
    "train": "",
    "training": "",
    "val": "val_",
    "valid": "val_",
    "validation": "val_",
    "eval": "val_",
    "test": "test_",
    "testing": "test_",
}
_PREFIX = re.compile(rf"({'|'.join(_WORDS)})[/_\-. ]+(.+)", re.I)
_SUFFIX = re.compile(rf"(.+?)[/_\-. ]+({'|'.join(_WORDS)})", re.I)
# Spellings without signs and capitals. What is merely called `iou` or `accuracy` keeps its name: it may be anything.
_SPELLINGS = {
    "miou": "mIoU",
    "meaniou": "mIoU",
    "mdice": "mDice",
    "meandice": "mDice",
    "macc": "mAcc",
    "meanacc": "mAcc",
    "meanaccuracy": "mAcc",
    "aacc": "aAcc",
    "pixelacc": "aAcc",
    "pixelaccuracy": "aAcc",
    "loss": "loss",
    "lr": "lr",
    "learningrate": "lr",
}
_SHARES = re.compile(r"mIoU|mDice|mAcc|aAcc|(IoU|Dice|Acc)\..+")

# Positions and costs, which are not curves of learning.
NOT_CURVES = frozenset({"epoch", "iter", "step", "time", "data_time", "memory", "eta", "mode"})


def quantity(tag: str, part: str = "") -> str:
    """Our name of `tag`; `part` (`val_` or nothing) is where it was measured unless the tag itself says it."""
    for pattern, word, rest in ((_PREFIX, 1, 2), (_SUFFIX, 2, 1)):
        if match := pattern.fullmatch(tag):
            part, tag = _WORDS[match[word].lower()], match[rest]
            break
    return part + _SPELLINGS.get(re.sub(r"[\W_]", "", tag).lower(), tag)


def is_share(name: str) -> bool:
    """Whether a quantity is a score that we know, between 0 and 1."""
    return bool(_SHARES.fullmatch(base(name)))


class Collector:
    """Takes values one by one and makes Curves of them: in order of x, the later record where two have the same x
    (a training that was resumed logs some steps again)."""

    def __init__(self) -> None:
        self._points: dict[str, dict[float, float | None]] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._notes: list[str] = []

    def add(self, tag: str, at: float, value: float | None, part: str = "") -> None:
        """A value of `tag` at x = `at`. Of two tags with the same name of ours, the second one keeps its own."""
        key = (part, tag)
        if key not in self._names:
            name = quantity(tag, part)
            self._names[key] = name if name not in self._names.values() else part + tag
        self._points.setdefault(self._names[key], {})[at] = value

    def note(self, text: str) -> None:
        """Something to be said about the reading, once."""
        if text not in self._notes:
            self._notes.append(text)

    def curves(self, path: Path, tool: str, axis: Axis, setup: Setup | None = None) -> Curves:
        """What was collected from `path`. Raises DataError when it is nothing, or scores are no shares."""
        if not self._points:
            raise DataError(f"{path}: holds no numbers over training; is it the log of a training that has begun?")
        series = {
            name: tuple(sorted(points.items(), key=lambda point: point[0])) for name, points in self._points.items()
        }
        return Curves(path.name, tool, path, axis, self._shares(series, path), setup or Setup(), tuple(self._notes))

    def _shares(self, series: dict[str, Points], path: Path) -> dict[str, Points]:
        """Scores as shares. All of a log are in per cent when one of them is above 1."""
        values = [y for name, points in series.items() if is_share(name) for _, y in points if y is not None]
        if not values:
            return series
        highest, lowest = max(values), min(values)
        if lowest < -1e-6 or highest > 100 + 1e-4:
            raise DataError(
                f"{path}: mIoU, mDice, mAcc or aAcc is {lowest if lowest < 0 else highest:g}, where 0 to 1 "
                "or 0 to 100 is expected; give the metric another name"
            )
        if highest <= 1 + 1e-6:
            return series
        self.note("scores were per cent and are divided by 100")
        return {name: scaled(points, 100) if is_share(name) else points for name, points in series.items()}


def scaled(points: Points, divisor: float) -> Points:
    """The points with y divided."""
    return tuple((x, None if y is None else y / divisor) for x, y in points)
