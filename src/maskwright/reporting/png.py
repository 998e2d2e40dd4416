"""Charts as figures and PNG, by matplotlib (the extra `plots`): lines, colours, dashes and names of the SVG."""

from __future__ import annotations

import importlib.util
import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskwright.errors import SetupError
from maskwright.evaluation.curves.charts import Chart, Line
from maskwright.reporting.svg import COLOURS, DASHES, Series, extent, shortened, spread, ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT, _DPI = 8.0, 5.2, 150  # inches, and pixels in one
_LEFT, _RIGHT, _ABOVE, _BELOW = 0.72, 1.9, 0.95, 0.55  # inches around the axes
_ROW, _LONGEST = 0.17, 18  # inches of a row of the caption, letters of a name that are shown
_MARKERS, _MARKED = ("o", "s", "^", "D"), 40  # a line of more points has no markers
_INK, _SOFT, _GRID = "#1a2026", "#55606b", "#dde2e7"


def require_matplotlib() -> None:
    """SetupError when matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SetupError(
            "a figure or PNG needs matplotlib: not installed; `pip install maskwright[plots]`, or use the SVG"
        )


def draw_png(chart: Chart, lines: Sequence[Line]) -> bytes:
    """`lines` of a chart, 1,200 pixels wide, with its title above and its caption below."""
    stream = io.BytesIO()
    draw_figure(chart, lines).savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def draw_figure(chart: Chart, lines: Sequence[Line]) -> Figure:
    """The same as a figure of matplotlib, apart from pyplot: no window, no global state."""
    from matplotlib.figure import Figure

    caption = textwrap.wrap(chart.caption, 105)
    foot = _ROW * len(caption) + 0.1
    height = _HEIGHT + foot
    figure = Figure((_WIDTH, height), dpi=_DPI, facecolor="white")
    axes = figure.add_axes(
        (
            _LEFT / _WIDTH,
            (_BELOW + foot) / height,
            (_WIDTH - _LEFT - _RIGHT) / _WIDTH,
            (_HEIGHT - _ABOVE - _BELOW) / height,
        )
    )
    series = [
        Series(line.name, line.points, COLOURS[line.style], line.band, line.style)
        for line in lines
        if any(y is not None for _, y in line.points)
    ]
    rows = ticks(*extent(series))
    axes.set_xlim(chart.start, chart.end if chart.end > chart.start else chart.start + 1)
    axes.set_ylim(rows[0], rows[-1])
    axes.set_yticks(rows)
    for line in series:
        _draw(axes, line)
    _name(axes, series, rows)
    if chart.mark:
        axes.axvline(chart.mark[0], color=_SOFT, linewidth=1, linestyle=(0, (3, 3)))
        axes.annotate(
            chart.mark[1],
            (chart.mark[0], 1),
            (0, 5),
            xycoords=("data", "axes fraction"),
            fontsize=9,
            textcoords="offset points",
            ha="center",
            color=_SOFT,
            parse_math=False,
        )
    axes.grid(axis="y", color=_GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(colors=_SOFT, left=False, labelsize=9)
    axes.set_xlabel(chart.x_label, loc="right", color=_SOFT, parse_math=False)
    figure.text(0.02, 1 - 0.32 / height, chart.title, fontsize=12, weight="bold", color=_INK, parse_math=False)
    figure.text(0.02, 1 - 0.58 / height, chart.y_label, fontsize=9, color=_SOFT, parse_math=False)
    for row, text in enumerate(caption, 1):
        figure.text(0.02, (foot - _ROW * row) / height, text, fontsize=8, color=_SOFT, parse_math=False)
    return figure


def _draw(axes: Axes, line: Series) -> None:
    style = line.style or 0
    if line.band:
        xs, low, high = zip(*line.band, strict=True)
        axes.fill_between(xs, low, high, color=line.colour, alpha=0.18, linewidth=0)
    dash = tuple(map(float, DASHES[style].split()))
    marker = _MARKERS[(style + style // len(_MARKERS)) % len(_MARKERS)] if len(line.points) <= _MARKED else ""
    axes.plot(
        [x for x, _ in line.points],
        [float("nan") if y is None else y for _, y in line.points],
        color=line.colour,
        linewidth=1.8,
        linestyle=(0, tuple(part / 1.5 for part in dash)) if dash else "-",
        marker=marker,
        markersize=4,
        clip_on=False,
    )


def _name(axes: Axes, series: Sequence[Series], rows: Sequence[float]) -> None:
    """The name of each line to the right of its end."""
    share = [(line.defined[-1][1] - rows[0]) / (rows[-1] - rows[0]) for line in series]
    places = spread([1000 * (1 - one) for one in share], 0, 1000, 52)  # downwards, in thousandths
    names = shortened([line.name for line in series], _LONGEST)
    for line, place, short in zip(series, places, names, strict=True):
        axes.annotate(
            short,
            line.defined[-1],
            (1.03, 1 - place / 1000),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            weight="bold",
            color=_INK,
            parse_math=False,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": line.colour, "alpha": 0.6},
        )
