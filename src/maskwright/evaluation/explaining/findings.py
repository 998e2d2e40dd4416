"""What of an explanation is worth acting on, as findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from maskwright.base.texts import plural
from maskwright.core.findings import Finding, Severity
from maskwright.evaluation.explaining.kinds import KINDS
from maskwright.evaluation.explaining.results import KindResult
from maskwright.evaluation.explaining.slices import AXES, Slice

# A kind matters when fixing it gains so much mIoU, or when it is so large a share of the wrong pixels.
_WORTH, _SHARE = 0.005, 0.1
_SLICE_FIX = "look at its images; more training examples like them help more than more of the others"
FINDINGS = {
    **{f"error.{name}": kind.meaning for name, kind in KINDS.items()},
    "slice.worse": "a part of the data scores significantly worse than the rest",
}


def findings_of(
    kinds: Sequence[KindResult], slices: Sequence[Slice], splits: Mapping[str, str | None]
) -> list[Finding]:
    """One finding for each kind of errors that matters, those first that gain most if fixed, then one for each
    worse slice. `splits` are those of the samples by name."""
    worth = sorted(kinds, key=lambda kind: -kind.worth["mIoU"].value)
    return [*_kinds(worth, splits), *map(_slice, (one for one in slices if one.worse))]


def _kinds(kinds: Sequence[KindResult], splits: Mapping[str, str | None]) -> Iterator[Finding]:
    for kind in kinds:
        gain = kind.worth["mIoU"].value
        if not kind.pixels or (gain < _WORTH and kind.share < _SHARE):
            continue
        first = kind.regions[0]
        yield Finding(
            f"error.{kind.name}",
            Severity.WARNING if kind.name == "label_suspect" else Severity.INFO,
            f"{kind.pixels:,} wrong pixels in {plural(kind.images, 'image')} ({100 * kind.share:.1f} % of all): "
            f"{KINDS[kind.name].meaning}; mIoU gained if fixed: {gain:+.4f}",
            KINDS[kind.name].fix,
            first.sample,
            splits.get(first.sample),
            first.region,
            {
                "pixels": kind.pixels,
                "share": kind.share,
                "images": kind.images,
                "mIoU": kind.worth["mIoU"].to_dict(),
                "regions": [asdict(region) for region in kind.regions],
            },
        )


def _slice(one: Slice) -> Finding:
    axis = AXES[one.axis]
    return Finding(
        "slice.worse",
        Severity.WARNING,
        f"{one.axis} {one.name!r} ({plural(one.images, 'image')}): {axis.measure} {one.score.value:.3f}, "
        f"{one.difference.value:+.3f} against the rest",
        _SLICE_FIX,
        evidence={
            "axis": one.axis,
            "slice": one.name,
            "p": one.p,
            "images": one.images,
            "objects": one.objects,
            "difference": one.difference.to_dict(),
        },
    )
