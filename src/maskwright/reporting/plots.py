"""The verb `plot`: curves of one or many trainings, of our own or of other tools, as SVG and PNG files."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from maskwright.base.display import Result
from maskwright.base.progress import say
from maskwright.base.storage import atomic_write_bytes, atomic_write_text, next_free, require_absent, staged_folder
from maskwright.errors import ConfigError
from maskwright.evaluation.curves.charts import Bound, By, Chart, Line, arrange
from maskwright.evaluation.curves.curve import Curves, Points
from maskwright.evaluation.curves.finding import read_curves
from maskwright.reporting.png import draw_figure, draw_png, require_matplotlib
from maskwright.reporting.svg import Series, line_chart, standalone
from maskwright.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 400  # of a line that are drawn; a chart is about as many wide


@dataclass(frozen=True, repr=False)
class Plots(Result):
    """The charts of `plot`, each with its files in `folder`, one or two, and the curves they show. With `show` nothing
    is written: `folder` is None, and no chart has a file. A notebook shows the charts themselves."""

    folder: Path | None
    charts: tuple[tuple[Chart, tuple[Path, ...]], ...]
    curves: tuple[Curves, ...]

    def facts(self) -> Mapping[str, object]:
        """For `repr`."""
        return {"folder": self.folder and str(self.folder), "charts": len(self.charts), "trainings": len(self.curves)}

    def _repr_html_(self) -> str:
        """The charts as inline SVG, each as an image of its own: its style sheet and its ids stay in it."""
        images = []
        for number, (chart, _) in enumerate(self.charts, 1):
            svg = standalone(draw_svg(chart, f"c{number}"), chart.title, chart.caption)
            code = b64encode(svg.encode()).decode()
            images.append(f'<img src="data:image/svg+xml;base64,{code}" alt="{escape(chart.title)}" width="560">')
        return "<div>" + "".join(images) + "</div>"

    def figures(self) -> list[Figure]:
        """A figure of matplotlib for each chart, in their order; shown by a notebook, saved by `savefig`. SetupError
        when matplotlib is not installed (the extra `plots`)."""
        require_matplotlib()
        return [draw_figure(chart, [_thin(line) for line in chart.lines]) for chart, _ in self.charts]

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `plot`: the charts without their points, and the summary of each training."""
        return {
            "folder": None if self.folder is None else str(self.folder),
            "charts": [_chart_dict(chart, files) for chart, files in self.charts],
            "curves": [one.summary().to_dict() for one in self.curves],
        }

    def human(self) -> str:
        """A line for each chart, then what was changed in reading."""
        lines = [f"{files[0].name}: {chart.title}" if files else chart.title for chart, files in self.charts]
        return "\n".join(lines + [f"{one.name} ({one.tool}): {note}" for one in self.curves for note in one.notes])


def plot(
    sources: str | Path | Run | Curves | Iterable[str | Path | Run | Curves],
    *,
    by: By = "run",
    quantity: str | Sequence[str] = (),
    from_: Bound = None,
    to: Bound = None,
    out: str | Path | None = None,
    png: bool = False,
    show: bool = False,
) -> Plots:
    """Draws the curves of runs, studies and logs of other tools, one quantity a chart and never two losses on one axis.

    `sources` are what `read_curves` takes, or Curves. `by`, `quantity`, `from_` and `to` are explained at
    `maskwright.evaluation.curves.charts.arrange`. SVG files go to the new folder `out`, or `plots/NAME-001`, with `png`
    the same charts as PNG too, which needs matplotlib. With `show` nothing is written: in a notebook the result shows
    the charts, and its `figures()` are those of matplotlib. Raises ConfigError, DataError, SetupError.
    """
    if show and (png or out is not None):
        raise ConfigError("plot: `show` writes no files; leave it out, or leave out `out` and `png`")
    if png:
        require_matplotlib()
    given = [sources] if isinstance(sources, (str, Path, Run, Curves)) else list(sources)
    logs = [source for source in given if not isinstance(source, Curves)]
    curves = [source for source in given if isinstance(source, Curves)]
    curves += read_curves(logs) if logs or not curves else []
    quantities = [quantity] if isinstance(quantity, str) else quantity
    charts = arrange(curves, by=by, quantities=quantities, from_=from_, to=to)
    if show:
        return Plots(None, tuple((chart, ()) for chart in charts), tuple(curves))
    folder = require_absent(Path(out) if out else next_free(Path("plots"), _slug(curves[0].name)))
    say(f"plots: {folder}")
    drawn = []
    with staged_folder(folder) as staging:
        for number, chart in enumerate(charts, 1):
            stem = f"{number:02d}-{_slug(chart.title)}"
            files = [folder / f"{stem}.svg"]
            atomic_write_text(
                staging / files[0].name, standalone(draw_svg(chart, f"c{number}"), chart.title, chart.caption)
            )
            if png:
                files.append(folder / f"{stem}.png")
                atomic_write_bytes(staging / files[1].name, draw_png(chart, [_thin(line) for line in chart.lines]))
            drawn.append((chart, tuple(files)))
    say(f"{len(drawn)} charts of {len(curves)} trainings: {folder}")
    return Plots(folder, tuple(drawn), tuple(curves))


def draw_svg(chart: Chart, key: str) -> Markup:
    """A chart for a page whose style sheet has `--series-1` to `--series-8`; `key` makes its ids unique there. Title
    and caption are left to the page."""
    series = [
        Series(line.name, line.points, f"var(--series-{line.style + 1})", line.band, line.style)
        for line in map(_thin, chart.lines)
    ]
    return line_chart(
        key,
        chart.title,
        series,
        x_label=chart.x_label,
        y_label=chart.y_label,
        mark=chart.mark,
        start=chart.start,
        end=chart.end,
    )


def _chart_dict(chart: Chart, files: Sequence[Path]) -> dict[str, Any]:
    found = asdict(chart) | {"files": [str(file) for file in files]}
    found["lines"] = [{"name": line.name, "runs": list(line.runs)} for line in chart.lines]
    return found


def _thin(line: Line) -> Line:
    """A line with about as many points as can be seen."""
    return replace(line, points=thinned(line.points), band=line.band[:: -(-len(line.band) // POINTS) or 1])


def thinned(points: Points) -> Points:
    """`points`, or about `POINTS` of them: of each stretch the first, the lowest, the highest and a gap."""
    if len(points) <= POINTS:
        return points
    length = -(-len(points) * 3 // POINTS)
    kept = {len(points) - 1}
    for start in range(0, len(points), length):
        stretch = range(start, min(start + length, len(points)))
        known = [(y, index) for index in stretch if (y := points[index][1]) is not None]
        kept |= {
            start,
            *((min(known)[1], max(known)[1]) if known else ()),
            next((index for index in stretch if points[index][1] is None), start),
        }
    return tuple(points[index] for index in sorted(kept))


def _slug(text: str) -> str:
    """`text` as a part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80] or "plot"
