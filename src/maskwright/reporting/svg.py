"""Charts as inline SVG: lines over iterations, a score with its interval, and bars.

Colours are CSS values, so that a page can swap its own in the dark. Every line also has a dash
pattern, a marker and its name at its end, so that nothing is told by colour alone. A chart is as wide
as a phone: charts stand side by side on a larger screen instead of growing.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

_WIDTH, _HEIGHT = 400, 270
_LEFT, _TOP, _BOTTOM = 48, 46, 46
_LETTER, _LINE, _LONGEST = 9.2, 15, 14  # width and height of a letter, letters of a name that are shown
_MARKED = 40  # a line of more points than this has no markers
DASHES = ("", "7 3", "2 3", "9 3 2 3", "14 3", "14 3 2 3", "5 6", "9 3 2 3 2 3")
_MARKERS = (
    "M-3.4 0a3.4 3.4 0 1 0 6.8 0a3.4 3.4 0 1 0-6.8 0z",
    "M-3-3h6v6h-6z",
    "M0-4l4 7h-8z",
    "M0-4.4l4.4 4.4-4.4 4.4-4.4-4.4z",
)
# Colours of lines on white; a page has its own of the same names, `var(--series-1)` to `var(--series-8)`.
COLOURS = ("#0072b2", "#d55e00", "#007a5a", "#b8528f", "#000000", "#4a9fd8", "#b87700", "#7f7f7f")

# What the page's style sheet says about charts, for one that stands alone.
_STYLE = """
:root { SERIES font-family: system-ui, sans-serif; }
text { font-size: 13px; fill: #55606b; } .name { fill: #1a2026; font-weight: 600; }
path { fill: none; } .grid { stroke: #dde2e7; } .axis, .mark { stroke: #55606b; } .mark { stroke-dasharray: 3 3; }
.line { stroke: var(--line-colour); stroke-width: 2.2; stroke-linejoin: round; }
.dot { fill: var(--line-colour); } .lead { stroke: #55606b; stroke-opacity: .55; }
.band { fill: var(--line-colour); fill-opacity: .18; } .heading { font-size: 15px; font-weight: 600; fill: #1a2026; }
.caption { font-size: 11px; }
""".replace("SERIES", " ".join(f"--series-{index}: {colour};" for index, colour in enumerate(COLOURS, 1)))


@dataclass(frozen=True)
class Series:
    """A named line of (x, y); y is None where it is undefined, which leaves a gap. `colour` is a CSS value. `band` is
    the range around it, (x, lowest, highest); `style` numbers dash and marker, in place of the line's place."""

    name: str
    points: Sequence[tuple[float, float | None]]
    colour: str
    band: Sequence[tuple[float, float, float]] = ()
    style: int | None = None

    @property
    def defined(self) -> list[tuple[float, float]]:
        """The points that have a value."""
        return [(x, y) for x, y in self.points if y is not None]


@dataclass(frozen=True)
class _Frame:
    """From data to the viewBox."""

    width: float
    x_start: float
    x_end: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        return round(_LEFT + self.width * (value - self.x_start) / (self.x_end - self.x_start), 1)

    def y(self, value: float) -> float:
        share = (self.y_high - value) / (self.y_high - self.y_low)
        return round(_TOP + (_HEIGHT - _TOP - _BOTTOM) * share, 1)


def line_chart(
    key: str,
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    mark: tuple[float, str] | None = None,
    x_text: Callable[[float], str] | None = None,
    start: float = 0.0,
    end: float | None = None,
) -> Markup:
    """Lines of ONE quantity over x from `start` >= 0 to `end`, or the last point; empty text when none is defined.

    `key` makes the ids of the chart unique in the page; `mark` is a vertical line at x with a name. `x_text`
    words the whole numbers on the x axis.
    """
    lines = [line for line in series if line.defined]
    if not lines:
        return Markup("")
    rows = ticks(*extent(lines))
    furthest = max(x for line in lines for x, _ in line.defined) if end is None else end
    furthest = furthest if furthest > start else start + 1.0
    names = _LETTER * max(min(len(line.name), _LONGEST) for line in lines)
    frame = _Frame(_WIDTH - _LEFT - names - 22, start, furthest, rows[0], rows[-1])
    parts = [_axes(frame, rows, x_label, y_label, x_text)]
    if mark:
        anchor = "end" if mark[0] > (start + furthest) / 2 else "start"
        parts.append(
            Markup('<path class="mark" d="M{0} {1}V{2}"/><text x="{0}" y="{3}" text-anchor="{4}">{5}</text>').format(
                frame.x(mark[0]), _TOP - 8, _HEIGHT - _BOTTOM, _TOP - 13, anchor, mark[1]
            )
        )
    shown = shortened([line.name for line in lines], _LONGEST)
    places = _spread([frame.y(line.defined[-1][1]) for line in lines])
    parts += [
        _line(frame, line, index if line.style is None else line.style, place, name)
        for index, (line, place, name) in enumerate(zip(lines, places, shown, strict=True))
    ]
    told = "; ".join(f"{line.name}: {line.defined[0][1]:.3g} to {line.defined[-1][1]:.3g}" for line in lines)
    chart = Markup(
        '<svg class="chart" viewBox="0 0 {0} {1}" role="img" aria-labelledby="{2}-t {2}-d">'
        '<title id="{2}-t">{3}</title><desc id="{2}-d">{4}, first to last value. {5}.</desc>{6}</svg>'
    )
    return chart.format(_WIDTH, _HEIGHT, key, title, y_label, told, Markup("").join(parts))


def extent(series: Sequence[Series]) -> tuple[float, float]:
    """The lowest and the highest y of lines and bands."""
    values = [y for line in series for _, y in line.defined]
    values += [y for line in series for _, *ends in line.band for y in ends]
    return min(values), max(values)


def standalone(chart: Markup, heading: str = "", caption: str = "") -> str:
    """A chart as a file of its own, with the colours of a page on white; `heading` above it, `caption` below."""
    above = [_text("heading", -12, heading)] if heading else []
    below = [_text("caption", _HEIGHT + 14 * row, text) for row, text in enumerate(textwrap.wrap(caption, 62), 1)]
    top, height = (-30, 30 + _HEIGHT) if above else (0, _HEIGHT)
    height += 14 * len(below) + 8 * bool(below)
    return (
        str(chart)
        .replace(
            "<svg ",
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * _WIDTH}" height="{2 * height}" '
            'style="background:#fff" ',
            1,
        )
        .replace(f'viewBox="0 0 {_WIDTH} {_HEIGHT}"', f'viewBox="0 {top} {_WIDTH} {height}"', 1)
        .replace("</title>", f"</title><style>{_STYLE}</style>", 1)
        .replace("</desc>", "</desc>" + "".join(above + below), 1)
        + "\n"
    )


def _text(kind: str, y: float, text: str) -> Markup:
    return Markup('<text class="{}" x="4" y="{}">{}</text>').format(kind, y, text)


def _axes(
    frame: _Frame, rows: list[float], x_label: str, y_label: str, x_text: Callable[[float], str] | None
) -> Markup:
    bottom, end = _HEIGHT - _BOTTOM, round(_LEFT + frame.width, 1)
    row_mark = Markup('<path class="grid" d="M{} {}H{}"/><text x="{}" y="{}" text-anchor="end">{}</text>')
    parts = [
        row_mark.format(_LEFT, frame.y(row), end, _LEFT - 7, frame.y(row) + 4, text)
        for row, text in zip(rows, _texts(rows), strict=True)
    ]
    # The axis ends at the last point, not at the round number behind it; iterations are whole.
    columns = [
        column
        for column in ticks(frame.x_start, frame.x_end, 4)
        if frame.x_start <= column <= frame.x_end and column == int(column)
    ]
    column_mark = Markup('<path class="axis" d="M{0} {1}v4"/><text x="{0}" y="{2}" text-anchor="middle">{3}</text>')
    parts += [
        column_mark.format(frame.x(column), bottom, bottom + 18, text)
        for column, text in zip(columns, map(x_text, columns) if x_text else _texts(columns), strict=True)
    ]
    parts.append(
        Markup(
            '<path class="axis" d="M{0} {1}H{2}"/><text x="{2}" y="{3}" text-anchor="end">{4}</text>'
            '<text x="0" y="13">{5}</text>'
        ).format(_LEFT, bottom, end, _HEIGHT - 8, x_label, y_label)
    )
    return Markup("").join(parts)


def _line(frame: _Frame, line: Series, index: int, place: float, name: str) -> Markup:
    path, pen = "", "M"
    for x, y in line.points:
        path += f"{pen}{frame.x(x)} {frame.y(y)}" if y is not None else ""
        pen = "M" if y is None else "L"
    dash = DASHES[index % len(DASHES)]
    marker = _MARKERS[(index + index // len(_MARKERS)) % len(_MARKERS)]
    # A class may be as dark or as light as the page; its edge is then what is seen.
    casing = Markup('<path class="casing" d="{}"/>').format(path) if line.colour.startswith("#") else ""
    parts = [Markup('<g stroke-dasharray="{}">{}<path class="line" d="{}"/></g>').format(dash, casing, path)]
    if line.band:
        around = [(x, high) for x, _, high in line.band] + [(x, low) for x, low, _ in reversed(line.band)]
        outline = "L".join(f"{frame.x(x)} {frame.y(y)}" for x, y in around)
        parts.insert(0, Markup('<path class="band" d="M{}z"/>').format(outline))
    # A long line has no markers; a single point, or one between gaps, would be invisible without.
    if len(line.points) <= _MARKED:
        dot = Markup('<path class="dot" d="{}" transform="translate({} {})"><title>{}: {:.4g} at {:g}</title></path>')
        parts += [dot.format(marker, frame.x(x), frame.y(y), line.name, y, x) for x, y in line.defined]
    x, y = line.defined[-1]
    parts.append(
        Markup('<path class="lead" d="M{} {}L{} {}"/><text class="name" x="{}" y="{}">{}</text>').format(
            frame.x(x) + 5, frame.y(y), _LEFT + frame.width + 13, place, _LEFT + frame.width + 16, place + 4, name
        )
    )
    return Markup('<g style="--line-colour:{}">{}</g>').format(line.colour, Markup("").join(parts))


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers, with steps of 1, 2 or 5 times a power of ten, the first <= `low` and the last >= `high`."""
    if not high > low:
        spread = abs(low) / 10 or 1.0
        low, high = low - spread, high + spread
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _texts(values: Sequence[float]) -> list[str]:
    """Ticks as text, all with as many decimals as the step between them needs."""
    step = values[1] - values[0] if len(values) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{value:,.{decimals}f}" for value in values]


def shortened(names: Sequence[str], longest: int) -> list[str]:
    """Names of at most `longest` letters: cut at their end, or at their beginning where several would be the same."""
    cut = [name if len(name) <= longest else name[: longest - 1] + "…" for name in names]
    return [
        short if short == name or cut.count(short) == 1 else "…" + name[1 - longest :]
        for name, short in zip(names, cut, strict=True)
    ]


def _spread(wanted: Sequence[float]) -> list[float]:
    """Heights of names that are as near to `wanted` as they can be without touching one another."""
    return spread(wanted, _TOP, _HEIGHT - _BOTTOM, _LINE)


def spread(wanted: Sequence[float], low: float, high: float, apart: float) -> list[float]:
    """Places as near to `wanted` as they can be, `apart` from one another, above `low` and, first of all, below
    `high`."""
    placed = dict.fromkeys(range(len(wanted)), 0.0)
    free = low
    for index in sorted(placed, key=lambda i: wanted[i]):
        placed[index] = max(wanted[index], free)
        free = placed[index] + apart
    limit = high
    for index in sorted(placed, key=lambda i: -placed[i]):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - apart
    return [round(placed[i], 1) for i in range(len(wanted))]


def bar(share: float | None) -> Markup:
    """A bar of `share` 0..1 of its full length, to stand beside the number itself; empty where it is undefined."""
    if share is None or math.isnan(share):
        return Markup("")
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="8"/><rect class="fill" width="{}" height="8"/></svg>'
    ).format(round(share * 100, 2))


def interval_strip(value: float, low: float | None, high: float | None, baselines: Sequence[float]) -> Markup:
    """A score on its scale 0..1: a dot, a line for its interval, and a rhombus for each trivial baseline."""

    def x(share: float) -> float:
        return round(8 + 204 * share, 1)

    parts = [Markup('<path class="axis" d="M8 12h204M8 8v8M110 9.5v5M212 8v8"/>')]
    parts += [Markup('<path class="baseline" d="M{} 5.5l6.5 6.5-6.5 6.5-6.5-6.5z"/>').format(x(b)) for b in baselines]
    if low is not None and high is not None:
        parts.append(Markup('<path class="whisker" d="M{0} 12H{1}M{0} 7v10M{1} 7v10"/>').format(x(low), x(high)))
    parts.append(Markup('<circle class="value" cx="{}" cy="12" r="5"/>').format(x(value)))
    return Markup('<svg class="strip" viewBox="0 0 220 24" aria-hidden="true">{}</svg>').format(Markup("").join(parts))
