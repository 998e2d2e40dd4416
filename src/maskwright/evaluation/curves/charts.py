"""Which curves stand on which chart: by run, by network, by loss, or the best of them.

A chart shows ONE quantity. Losses are only comparable with themselves, so a chart of a loss holds trainings with that
very loss; where others were asked for as well, each gets a chart of its own. Runs that differ in nothing but the seed
are one line, their mean, in a band from the lowest to the highest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from maskwright.base.strictyaml import did_you_mean
from maskwright.errors import ConfigError, argument
from maskwright.evaluation.curves.curve import OWN, RANKED, Curves, Point, Points, base, is_loss
from maskwright.evaluation.curves.quantities import is_share
from maskwright.evaluation.naming import short_name

By = Literal["run", "network", "loss", "best"]
Bound = int | float | None
_MOST = 8  # lines of a chart, as many as can be told apart
_X_LABELS = {"iteration": "iterations", "epoch": "epochs", "share": "% of each training"}
_PARTS = {"": "training", "val_": "validation", "test_": "test"}
T = TypeVar("T")


@dataclass(frozen=True)
class Line:
    """A line of a chart and the runs it is made of; `band` has (x, lowest, highest) where these are several. `style`
    numbers its colour, dash and marker: the same name has the same in all charts, as far as eight go."""

    name: str
    style: int
    points: Points
    runs: tuple[str, ...]
    band: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class Chart:
    """A chart that is not drawn yet. `start` and `end` bound x; `mark` is an x with a name."""

    title: str
    quantity: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    start: float
    end: float
    caption: str
    mark: tuple[float, str] | None = None


@dataclass(frozen=True, eq=False)
class _Cell:
    """Runs with one recipe: usually one. `network` and `loss` are short names, None where unknown."""

    curves: tuple[Curves, ...]
    title: str
    network: str | None
    loss: str | None

    @property
    def of_loss(self) -> Hashable:
        """Equal for trainings whose losses can be compared; an unknown one can be with itself alone."""
        return self.curves[0].setup.loss or id(self.curves[0])

    def has(self, quantity: str) -> bool:
        return any(quantity in one.series for one in self.curves)

    def best(self, quantity: str) -> float | None:
        """The best value, as a mean over the runs, with a loss made negative: higher is better."""
        found = [
            max(-y if is_loss(quantity) else y for y in known)
            for one in self.curves
            if (known := [y for _, y in one.series.get(quantity, ()) if y is not None])
        ]
        return sum(found) / len(found) if found else None


def arrange(
    curves: Sequence[Curves], *, by: By = "run", quantities: Sequence[str] = (), from_: Bound = None, to: Bound = None
) -> list[Chart]:
    """The charts of `curves`, in the order of their groups.

    `by`: `run` gives a chart to each network and loss, `network` one to each network with its losses as lines, `loss`
    one to each loss with the networks as lines, `best` one with each network's best run and one with each loss's, by
    the best validation score. A network or loss that the log does not tell is a group of its own.

    `quantities`: names such as `loss`, `mIoU` or `lr`, of which a chart of one run shows training and validation and
    a chart of several the validation alone; `train_loss` or `val_loss` asks for one of the two. When left out: the
    loss and the main score, with `best` the score alone. `from_` and `to` bound x: whole numbers are iterations (or
    epochs), floats from 0 to 1 a share of the chart's longest training; y is fitted to what is left.

    Raises ConfigError when a quantity is in no log, or nothing lies between `from_` and `to`.
    """
    cells = _cells(curves)
    wanted = list(quantities) or [name for name in _main(curves) if by != "best" or not is_loss(name)]
    known = {base(name) for one in curves for name in one.series}
    if problems := [
        f"{argument('quantity')}: no log has {name!r}{did_you_mean(_plain(name), known)}"
        for name in wanted
        if not any(one.has(key) for one in cells for key in _keys(name))
    ]:
        raise ConfigError(problems)
    grouped = _GROUPS[by](cells)
    charts = []
    styles: dict[str, int] = {}
    for title, label, members, note in grouped:
        for quantity in wanted:
            for shown in _comparable(members, quantity):
                charts += _charts(title, label, shown, quantity, note, styles)
    zoomed = [chart for one in charts if (chart := _zoomed(one, from_, to))]
    if not zoomed:
        raise ConfigError(
            f"{argument('from_', '--from')}, {argument('to')}: no chart has a point in between; widen the range"
        )
    return zoomed


def bound(text: str | None, name: str) -> Bound:
    """A bound from the command line: `200` is an iteration, `0.5` and `50%` are shares. Raises ConfigError."""
    if text is None:
        return None
    try:
        if text.endswith("%"):
            return float(text[:-1]) / 100
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise ConfigError(
            f"{name}: {text!r} is neither an iteration such as 200 nor a share such as 0.5 or 50%"
        ) from None


def _cells(curves: Sequence[Curves]) -> list[_Cell]:
    networks = _short([one.setup.network for one in curves])
    losses = _short([one.setup.loss for one in curves])
    cells = []
    for _, members in _grouped(curves, lambda one: one.setup.recipe or id(one)):
        first = members[0]
        network, loss = networks.get(first.setup.network), losses.get(first.setup.loss)
        title = ", ".join(filter(None, (network, loss))) or first.name
        cells.append(_Cell(tuple(members), title, network, loss))
    counts = Counter(cell.title for cell in cells)
    return [
        cell if counts[cell.title] == 1 else replace(cell, title=f"{cell.title} ({cell.curves[0].name})")
        for cell in cells
    ]


def _short(texts: Iterable[str | None]) -> dict[str | None, str]:
    """For each text what stands before its bracket, with a number where that is not enough."""
    known = list(dict.fromkeys(text for text in texts if text))
    heads = [short_name(text) for text in known]
    return {
        text: head if heads.count(head) == 1 else f"{head} #{heads[: i + 1].count(head)}"
        for i, (text, head) in enumerate(zip(known, heads, strict=True))
    }


def _main(curves: Sequence[Curves]) -> list[str]:
    """Of each log the loss (or its parts, where there is no sum) and the score that tells most (or all)."""
    names: dict[str, None] = {}
    for one in curves:
        bases = list(dict.fromkeys(base(name) for name in one.series if not name.startswith("test_")))
        losses = [name for name in bases if is_loss(name)]
        scores = [name for name in RANKED if name in bases][:1] or [
            name for name in bases if f"val_{name}" in one.series and not is_loss(name)
        ]
        names |= dict.fromkeys((["loss"] if "loss" in losses else losses) + scores)
    return sorted(names, key=lambda name: not is_loss(name)) or ["lr"]


Group = tuple[str, Callable[[_Cell], str | None], list[_Cell], str]


def _by_run(cells: list[_Cell]) -> list[Group]:
    return [(cell.title, lambda _: None, [cell], "") for cell in cells]


def _by_network(cells: list[_Cell]) -> list[Group]:
    return [
        (members[0].network or members[0].title, lambda cell: cell.loss, members, "")
        for _, members in _grouped(cells, _network_of)
    ]


def _by_loss(cells: list[_Cell]) -> list[Group]:
    return [
        (members[0].loss or members[0].title, lambda cell: cell.network, members, "")
        for _, members in _grouped(cells, _loss_of)
    ]


def _best(cells: list[_Cell]) -> list[Group]:
    chosen_by = next((f"val_{name}" for name in RANKED if any(cell.has(f"val_{name}") for cell in cells)), None)
    ranked = {id(cell): value for cell in cells if chosen_by and (value := cell.best(chosen_by)) is not None}
    if not ranked:
        raise ConfigError(
            f"{argument('by')} best: no log has a validation score to go by ({', '.join(RANKED)}); use "
            f"{argument('by')} run, network or loss"
        )
    left = [cell.title for cell in cells if id(cell) not in ranked]
    note = f"The best of each by its best validation {base(chosen_by or '')}." + (
        f" Without one: {', '.join(left)}." if left else ""
    )
    groups: list[Group] = []
    for title, key in (("best of each network", _network_of), ("best of each loss", _loss_of)):
        best = [
            max(members, key=lambda cell: ranked[id(cell)])
            for _, members in _grouped([cell for cell in cells if id(cell) in ranked], key)
        ]
        if all(set(map(id, best)) != set(map(id, others)) for _, _, others, _ in groups):
            groups.append((title, lambda cell: " ".join(filter(None, (cell.network, cell.loss))), best, note))
    return groups


def _network_of(cell: _Cell) -> Hashable:
    return cell.network or id(cell)


def _loss_of(cell: _Cell) -> Hashable:
    return cell.loss or id(cell)


_GROUPS: dict[By, Callable[[list[_Cell]], list[Group]]] = {
    "run": _by_run,
    "network": _by_network,
    "loss": _by_loss,
    "best": _best,
}


def _grouped(items: Iterable[T], key: Callable[[T], Hashable]) -> list[tuple[Hashable, list[T]]]:
    """Items with equal keys together, in the order in which the keys come up."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.items())


def _comparable(cells: list[_Cell], quantity: str) -> list[list[_Cell]]:
    """The cells that may share an axis: all, unless the quantity is a loss."""
    if not is_loss(quantity):
        return [cells]
    return [members for _, members in _grouped(cells, lambda cell: cell.of_loss)]


def _plain(quantity: str) -> str:
    return base(quantity.removeprefix("train_"))


def _keys(quantity: str) -> list[str]:
    """The series that a quantity asks for, the one that is preferred among several runs first."""
    if quantity.startswith("train_"):
        return [quantity.removeprefix("train_")]
    return [quantity] if base(quantity) != quantity else [f"val_{quantity}", quantity]


def _charts(
    title: str,
    label: Callable[[_Cell], str | None],
    cells: list[_Cell],
    quantity: str,
    note: str,
    styles: dict[str, int],
) -> list[Chart]:
    """The charts of one group: of one cell a single one, of several one for those with the same part. `styles` learns
    the names that are new."""
    if len(cells) == 1:
        keys = [key for key in reversed(_keys(quantity)) if cells[0].has(key)]
        named = [(cells[0], key, _PARTS[key.removesuffix(base(key))]) for key in keys]
        title = cells[0].title if cells[0].title.startswith(title) else f"{title}: {cells[0].title}"
        return [_chart(title, quantity, named, [*_PARTS.values()], note, _mark(cells[0]))] if named else []
    charts, left = [], cells
    for key in _keys(quantity):
        shown = [cell for cell in left if cell.has(key)]
        left = [cell for cell in left if cell not in shown]
        if shown:
            loss = f", {shown[0].loss}" if is_loss(quantity) and shown[0].loss and shown[0].loss != title else ""
            named = _named(_highest(shown, key), key, label)
            less = f" The {_MOST} best of {len(shown)}." if len(shown) > _MOST else ""
            part = _PARTS[key.removesuffix(base(key))]
            styles |= {
                name: len(styles) + new for new, name in enumerate(name for _, _, name in named if name not in styles)
            }
            charts.append(_chart(f"{title}{loss}: {part} {base(key)}", quantity, named, [*styles], note + less, None))
    return charts


def _highest(cells: list[_Cell], key: str) -> list[_Cell]:
    best = sorted(cells, key=lambda cell: -value if (value := cell.best(key)) is not None else np.inf)[:_MOST]
    return [cell for cell in cells if cell in best]


def _named(cells: list[_Cell], key: str, label: Callable[[_Cell], str | None]) -> list[tuple[_Cell, str, str]]:
    names = [label(cell) or cell.curves[0].name for cell in cells]
    return [
        (cell, key, name if names.count(name) == 1 else cell.curves[0].name)
        for cell, name in zip(cells, names, strict=True)
    ]


def _mark(cell: _Cell) -> tuple[float, str] | None:
    summary = cell.curves[0].summary()
    if len(cell.curves) > 1 or summary.best_at is None:
        return None
    return summary.best_at, f"best: {summary.best_at:,.6g}"


def _chart(
    title: str,
    quantity: str,
    named: list[tuple[_Cell, str, str]],
    names: list[str],
    note: str,
    mark: tuple[float, str] | None,
) -> Chart:
    members = list({id(one): one for cell, _, _ in named for one in cell.curves}.values())
    axes = {one.axis for one in members}
    axis = axes.pop() if len(axes) == 1 else "share"
    styles = [names.index(name) % _MOST for _, _, name in named]
    styles = styles if len(set(styles)) == len(styles) else list(range(len(named)))
    lines = [
        _line(cell, key, name, style, axis == "share") for (cell, key, name), style in zip(named, styles, strict=True)
    ]
    several = [line for line in lines if len(line.runs) > 1]
    others = [f"{one.name} ({one.tool})" for one in members if one.tool != OWN]
    told = [
        note,
        f"Mean of {_counted({len(line.runs) for line in several})} that differ in their seed; the band goes "
        "from the lowest to the highest."
        if several
        else "",
        "Trainings counted in epochs and in iterations: x is the share of each." if axis == "share" else "",
        f"Of other tools, with their own split and scoring: {', '.join(others)}." if others else "",
    ]
    name = _plain(quantity)
    unit = "no unit" if is_loss(name) else "0 to 1" if is_share(name) else ""
    title = title if title.endswith(f" {name}") else f"{title}: {name}"
    xs = [x for line in lines for x, _ in line.points]
    return Chart(
        title,
        quantity,
        _X_LABELS[axis],
        f"{name} ({unit})" if unit else name,
        tuple(lines),
        0.0,
        max(xs, default=0.0),
        " ".join(filter(None, told)),
        mark,
    )


def _counted(numbers: set[int]) -> str:
    return " or ".join(f"{number} runs" for number in sorted(numbers))


def _line(cell: _Cell, key: str, name: str, style: int, share: bool) -> Line:
    def placed(one: Curves) -> Points:
        points = one.series[key]
        return tuple((100 * x / one.end, y) for x, y in points) if share and one.end else points

    members = [one for one in cell.curves if key in one.series]
    if len(members) == 1:
        return Line(name, style, placed(members[0]), (members[0].name,))
    middle, band = _mean([placed(one) for one in members])
    return Line(name, style, middle, tuple(one.name for one in members), band)


def _mean(lines: Sequence[Points]) -> tuple[Points, tuple[tuple[float, float, float], ...]]:
    """The mean of lines and their (x, lowest, highest), where all of them are; in between two points a line is
    straight."""
    known = [[(x, y) for x, y in line if y is not None] for line in lines]
    if not all(known):
        return (), ()
    first, last = max(line[0][0] for line in known), min(line[-1][0] for line in known)
    xs = sorted({x for line in known for x, _ in line if first <= x <= last})
    values = np.array([np.interp(xs, [x for x, _ in line], [y for _, y in line]) for line in known])
    points: list[Point] = list(zip(xs, values.mean(0).tolist(), strict=True))
    return tuple(points), tuple(zip(xs, values.min(0).tolist(), values.max(0).tolist(), strict=True))


def _zoomed(chart: Chart, from_: Bound, to: Bound) -> Chart | None:
    """The chart between two bounds; None when nothing is left."""
    first, last = _placed(from_, argument("from_", "--from"), chart), _placed(to, argument("to"), chart)
    start, end = first or 0.0, chart.end if last is None else min(last, chart.end)
    lines = tuple(
        replace(line, points=points, band=tuple(row for row in line.band if start <= row[0] <= end))
        for line in chart.lines
        if (points := tuple(point for point in line.points if start <= point[0] <= end))
    )
    if not any(y is not None for line in lines for _, y in line.points):
        return None
    mark = chart.mark if chart.mark and start <= chart.mark[0] <= end else None
    return replace(chart, lines=lines, start=start, end=end, mark=mark)


def _placed(value: Bound, name: str, chart: Chart) -> float | None:
    if value is None:
        return None
    if isinstance(value, int):
        if value < 0:
            raise ConfigError(f"{name}: {value} lies before the training; give an iteration or a share from 0 to 1")
        if chart.x_label == _X_LABELS["share"]:
            raise ConfigError(
                f"{name}: trainings counted in epochs and in iterations share a chart; give a share such as 50%"
            )
        return float(value)
    if not 0 <= value <= 1:
        raise ConfigError(f"{name}: {value:g} is no share from 0 to 1; give a whole number for an iteration")
    return value * chart.end
