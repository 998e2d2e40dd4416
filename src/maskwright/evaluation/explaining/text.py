"""An explanation as text for a terminal: what is worth most first, at most about 40 lines."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from maskwright.base.texts import percent
from maskwright.evaluation.explaining.kinds import KINDS
from maskwright.evaluation.explaining.results import KindResult, Ranked, percentages
from maskwright.evaluation.metrics import Interval

if TYPE_CHECKING:
    from maskwright.evaluation.explaining.results import Explanation
    from maskwright.evaluation.explaining.slices import Slice

_IMAGES, _SLICES = 3, 8


def human(result: Explanation) -> str:
    """The result as text for a terminal."""
    overall = result.scores
    lines = [
        f"{result.split}: {result.images} images, mIoU {overall.mIoU:.4f}, {result.wrong:,} of {overall.pixels:,} "
        f"counted pixels are wrong ({percent(result.wrong / overall.pixels)})"
    ]
    if result.wrong:
        lines += [*_kinds(result), *_directions(result)]
        lines += [f"  worst images by {_ranked_by(result)}: " + "; ".join(map(_image, result.worst[:_IMAGES]))] * bool(
            result.worst
        )
    lines += _slices(result)
    return "\n".join([*lines, *(f"  note: {note}" for note in result.notes)])


def _ranked_by(result: Explanation) -> str:
    return f"the Dice of {result.by!r}" if result.by else "mean Dice"


def _kinds(result: Explanation) -> Iterator[str]:
    shares = dict(zip(KINDS, percentages([kind.pixels for kind in result.kinds]), strict=True))
    yield "  kind            wrong pixels    share   mending all of them is worth"
    for kind in result.by_worth:
        yield (
            f"  {kind.name.replace('_', ' '):<14}  {kind.pixels:>12,}  {shares[kind.name]:>5.1f} %   "
            f"{_worth(kind.worth['mIoU'])} mIoU{_whole(kind)}"
        )
    top = result.by_worth[0]
    yield f"  first: {top.name.replace('_', ' ')}: {KINDS[top.name].meaning}; {KINDS[top.name].fix}"
    yield f"  tolerance of boundaries: {result.tolerance_rule}; background: {result.background or 'none'}"


def _whole(kind: KindResult) -> str:
    return f"; {percent(kind.whole / kind.pixels)} of it whole objects" if kind.whole is not None else ""


def _worth(worth: Interval) -> str:
    ends = "" if math.isnan(worth.low) else f"  [{worth.low:+.4f}, {worth.high:+.4f}]"
    return f"{worth.value:+.4f}{ends}"


def _directions(result: Explanation) -> Iterator[str]:
    """Whether outlines lie too far out or too far in, where nearly all of a class's do."""
    boundary = result.kinds[0]
    for name, lost, invented in zip(result.classes.names, boundary.lost, boundary.invented, strict=True):
        share = invented / max(1, lost + invented)
        if name != result.background and lost + invented >= 0.1 * boundary.pixels and not 0.2 < share < 0.8:
            yield (
                f"  outlines of {name!r} are too {'far out' if share > 0.5 else 'far in'}: "
                f"{percent(max(share, 1 - share))} of its boundary pixels lie "
                f"{'outside' if share > 0.5 else 'inside'} of it"
            )


def _image(row: Ranked) -> str:
    kind = max(row.kinds, key=lambda name: row.kinds[name])
    mostly = f", mostly {kind.replace('_', ' ')}" if row.kinds[kind] else ""
    return f"{row.sample} {row.dice:.3f}{mostly}"


def _slices(result: Explanation) -> Iterator[str]:
    worse = sorted((one for one in result.slices if one.worse), key=lambda one: one.difference.value)
    few = sum(one.few for one in result.slices)
    yield (
        f"  {len(result.slices) - few} slices compared with the rest, {few} with too few images or objects to tell; "
        f"worse beyond noise: {len(worse) or 'none'}"
    )
    for one in worse[:_SLICES]:
        yield f"    {_named(one)}: {one.measure} {one.score.value:.3f}, {one.difference.value:+.3f} to the rest"
    if len(worse) > _SLICES:
        yield f"    and {len(worse) - _SLICES} more"


def _named(one: Slice) -> str:
    return f"{one.axis} {one.name!r}"
