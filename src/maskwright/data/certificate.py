"""The certificate of a conversion: what was kept, by reading back what was written, and how surely it was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from maskwright.base.display import Result
from maskwright.base.texts import counted, listing, percent, plural
from maskwright.core.findings import Finding, Severity

# Why a sample is left out that nobody has labelled.
NO_MASK = "has no mask"
# Notes of readers that tell of a choice, whatever their severity.
_GUESSES = frozenset({"annotation.conflict", "annotation.renamed", "annotation.duplicate"})


@dataclass
class Reading:
    """What the masks of the source do not say by themselves, over the samples that were written.

    `inexact` pixels have no value of a class and were given to the nearest one or `ignored`, `hidden` ones lie below
    the region of another class, and `boxes` became filled regions: each in so many `samples`. `inverted` masks store
    white as 0, of which the `values` that are stored or shown count. `channels` counts what lies behind the colours and
    is not read (`image alpha`, `image band`, `mask alpha`). `orphans` are mask files without an image, `unlabelled`
    images without a mask, `absent` classes without a pixel. `uncounted` of all `pixels` are ignored.
    """

    pixels: int = 0
    uncounted: int = 0
    inexact: int = 0
    ignored: bool = False
    value: str = "value of a class"
    hidden: int = 0
    boxes: int = 0
    inverted: int = 0
    values: Literal["stored", "shown"] = "shown"
    samples: Counter[str] = field(default_factory=Counter)
    channels: Counter[str] = field(default_factory=Counter)
    orphans: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Every mask and every pixel of it means what it was read as, and all files have found each other."""
        return not (self.inexact or self.hidden or self.samples["boxes"] or self.inverted or self.orphans)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "exact": self.exact,
            "pixels": self.pixels,
            "ignored_pixels": self.uncounted,
            "inexact": {
                "pixels": self.inexact,
                "samples": self.samples["inexact"],
                "become": "ignored" if self.ignored else "nearest",
            },
            "hidden": {"pixels": self.hidden, "samples": self.samples["hidden"]},
            "boxes": {"regions": self.boxes, "samples": self.samples["boxes"]},
            "inverted": {"masks": self.inverted, "values": self.values},
            "absent_classes": self.absent,
            "dropped_channels": dict(self.channels),
            "unpaired": {
                "masks": len(self.orphans),
                "images": len(self.unlabelled),
                "first_masks": self.orphans[:20],
                "first_images": self.unlabelled[:20],
            },
        }

    def lines(self) -> list[str]:
        """A sentence for each thing that there is."""
        share, masks = percent(self.inexact / max(self.pixels, 1)), plural(self.samples["inexact"], "mask")
        become = "{is|are} ignored" if self.ignored else "{was|were} given to the nearest"
        below, uncounted = plural(self.samples["hidden"], "mask"), percent(self.uncounted / max(self.pixels, 1))
        rows = [
            (self.inexact, f"pixel{{|s}} ({share}) of {masks} {{has|have}} no {self.value} and {become}"),
            (self.hidden, f"pixel{{|s}} of regions in {below} {{lies|lie}} below a region of another class"),
            (
                self.samples["boxes"],
                "sample{ is|s are} made of boxes"
                + (f" ({self.boxes:,} filled)" if self.boxes else "")
                + ", whose outlines nobody has drawn",
            ),
            (self.inverted, f"mask{{ stores|s store}} white as 0, and the {self.values} values count"),
            (len(self.orphans), f"mask file{{ belongs|s belong}} to no image ({listing(self.orphans)})"),
            (len(self.unlabelled), f"image{{ has|s have}} no mask ({listing(self.unlabelled)})"),
            (self.channels["image alpha"], "image{ has|s have} an alpha channel, which is copied and never read"),
            (self.channels["image band"], "image{ has|s have} more than three bands, of which three are read"),
            (self.channels["mask alpha"], "mask{ has|s have} an alpha channel, opaque everywhere, which is dropped"),
            (self.uncounted, f"pixel{{|s}} ({uncounted}) {{does|do}} not count (ignored)"),
            (len(self.absent), f"class{{ has|es have}} no pixel ({listing(self.absent)})"),
        ]
        return [counted(count, words) for count, words in rows if count]


@dataclass(frozen=True)
class SampleRecord:
    """What became of one sample: `exact` when every pixel has the same class as before; `changed` counts the others
    of `pixels`, `iou` (per class that occurs, 0..1) says how well the two agree, `dropped` names what is gone."""

    sample: str
    exact: bool
    changed: int
    pixels: int
    iou: Mapping[str, float]
    dropped: list[str]


@dataclass(frozen=True, repr=False)
class Certificate(Result):
    """What a conversion kept, by reading back what it wrote. `lost` lists what the source held and no mask can
    show (findings of the reading), `left_out` samples without a usable mask, with the reason; `class_pixels` maps a
    class to its pixels before and after, and the pixels that have it both times. `reading` says how sure the masks are
    that were compared: what of the source was taken for something that it does not say."""

    source: str
    target: str
    format: str
    samples: list[SampleRecord]
    left_out: Mapping[str, str]
    lost: list[Finding]
    class_pixels: Mapping[str, tuple[int, int, int]]
    reading: Reading = field(default_factory=Reading)

    @property
    def exact(self) -> bool:
        """Every pixel of every sample that was written has the class that it was read as."""
        return all(record.exact for record in self.samples)

    @property
    def certain(self) -> bool:
        """Nothing changed, and nothing had to be guessed when the source was read."""
        return self.exact and self.reading.exact and not any(map(_is_guess, self.lost))

    @property
    def iou(self) -> dict[str, float]:
        """IoU between before and after by class, over all samples together."""
        return {name: both / (before + after - both) for name, (before, after, both) in self.class_pixels.items()}

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        changed = sum(record.changed for record in self.samples)
        pixels = sum(record.pixels for record in self.samples)
        return {
            "source": self.source,
            "target": self.target,
            "format": self.format,
            "summary": {
                "samples": len(self.samples),
                "exact": sum(r.exact for r in self.samples),
                "pixels": pixels,
                "changed": changed,
                "pixel_exact": self.exact,
                "certain": self.certain,
                "iou": self.iou,
                "left_out": len(self.left_out),
            },
            "samples": [asdict(record) for record in self.samples],
            "left_out": dict(self.left_out),
            "lost": [finding.to_dict() for finding in self.lost],
            "reading": self.reading.to_dict(),
        }

    def facts(self) -> dict[str, object]:
        """What `repr` and the table in a notebook say."""
        total = self.to_dict()["summary"]
        return {
            "target": self.target,
            "format": self.format,
            "samples": total["samples"],
            "exact": total["exact"],
            "changed pixels": total["changed"],
            "left out": total["left_out"],
            "read exactly": "yes" if self.certain or not self.exact else "no",
        }

    def human(self) -> str:
        """For a terminal."""
        total = self.to_dict()["summary"]
        lines = [f"{self.target}: {plural(total['samples'], 'sample')} as {self.format}; read back: {self._verdict()}"]
        if not self.exact:
            lines += [f"  IoU {value:.4f}  {name}" for name, value in self.iou.items()]
            worst = sorted((r for r in self.samples if not r.exact), key=lambda r: -r.changed)[:3]
            lines += [f"  most changed: {r.sample}, {r.changed} of {r.pixels} pixels" for r in worst]
        lines += [f"  {line}" for line in self.reading.lines()]
        dropped = Counter(what for record in self.samples for what in record.dropped)
        lines += [
            f"  {what}" + (f" (in {count} samples)" if count > 1 else "") for what, count in dropped.most_common(5)
        ]
        guesses_first = sorted(self.lost, key=lambda finding: not _is_guess(finding))
        lines += [f"  {finding.message}" for finding in guesses_first[:5]]
        others = {name: why for name, why in self.left_out.items() if why != NO_MASK}
        lines += [f"  left out: {name}: {why}" for name, why in list(others.items())[:3]]
        if len(others) > 3:
            lines.append(f"  and {len(others) - 3} more left out")
        return "\n".join(lines)

    def _verdict(self) -> str:
        if not self.exact:
            total = self.to_dict()["summary"]
            return (
                f"{total['exact']} the same, {total['changed']} of {total['pixels']} pixels changed "
                f"({total['changed'] / max(total['pixels'], 1):.3%})"
            )
        if not self.certain:
            return "no pixel changed, but these were guessed or left out when it was read:"
        return "every pixel of these is the same" if self.left_out else "every pixel is the same"


def _is_guess(finding: Finding) -> bool:
    """Whether something may be missing or another than it was meant, and not only what no mask can hold."""
    return finding.severity > Severity.INFO or finding.code in _GUESSES
