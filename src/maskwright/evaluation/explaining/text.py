"""An explanation as text for a terminal: what would gain most first, at most about 40 lines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from maskwright.base.texts import percent, plural
from maskwright.evaluation.explaining.kinds import KINDS
from maskwright.evaluation.metrics import Interval

if TYPE_CHECKING:
    from maskwright.evaluation.explaining.results import Explanation, KindResult, RankedImage
    from maskwright.evaluation.explaining.slices import Slice

_IMAGES, _SLICES = 3, 8
_WHOLE = {"missed": "objects missed completely", "hallucinated": "objects where there is none"}


def explanation_text(result: Explanation) -> str:
    """The result as text for a terminal."""
    overall = result.scores
    lines = [
        f"{result.split}: {plural(result.images, 'image')}, mIoU {overall.mIoU:.4f}, {result.wrong:,} of "
        f"{overall.pixels:,} counted pixels are wrong ({percent(result.wrong / overall.pixels)})"
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
    yield "  kind            wrong pixels    share   mIoU gained if fixed"
    for kind in result.by_worth:
        yield (
            f"  {kind.name.replace('_', ' '):<14}  {kind.pixels:>12,}  {shares[kind.name]:>5.1f} %   "
            f"{_worth(kind.worth['mIoU'])}{_whole(kind)}"
        )
    top = result.by_worth[0]
    yield f"  start with: {top.name.replace('_', ' ')}: {KINDS[top.name].meaning}; {KINDS[top.name].fix}"
    yield f"  tolerance of boundaries: {result.tolerance_rule}; background: {result.background or 'none'}"


def _whole(kind: KindResult) -> str:
    return f"; {percent(kind.whole / kind.pixels)} of them {_WHOLE[kind.name]}" if kind.whole is not None else ""


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


def _image(row: RankedImage) -> str:
    kind = max(row.kinds, key=lambda name: row.kinds[name])
    mostly = f", mostly {kind.replace('_', ' ')}" if row.kinds[kind] else ""
    return f"{row.sample} {row.dice:.3f}{mostly}"


def _slices(result: Explanation) -> Iterator[str]:
    worse = sorted((one for one in result.slices if one.worse), key=lambda one: one.difference.value)
    few = sum(one.few for one in result.slices)
    yield (
        f"  {len(result.slices) - few} slices compared with the rest, {few} with too few images or objects for a "
        f"conclusion; significantly worse: {len(worse) or 'none'}"
    )
    for one in worse[:_SLICES]:
        yield f"    {_named(one)}: {one.measure} {one.score.value:.3f}, {one.difference.value:+.3f} against the rest"
    if len(worse) > _SLICES:
        yield f"    and {len(worse) - _SLICES} more"


def _named(one: Slice) -> str:
    return f"{one.axis} {one.name!r}"


def percentages(counts: Sequence[int]) -> list[float]:
    """Shares of whole numbers in per cent, to one decimal, so that they add up to 100.0 as written (largest
    remainders); zeros where all are 0."""
    total = sum(counts)
    if not total:
        return [0.0] * len(counts)
    exact = [count * 1000 for count in counts]
    tenths = [count // total for count in exact]
    by_remainder = sorted(range(len(counts)), key=lambda place: (-(exact[place] % total), place))
    for place in by_remainder[: 1000 - sum(tenths)]:
        tenths[place] += 1
    return [part / 10 for part in tenths]
