"""What a split amounts to: images, groups and classes of each part, beside the target; as numbers and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskwright.base import texts
from maskwright.base.texts import plural
from maskwright.core.classes import ClassTree

if TYPE_CHECKING:
    from maskwright.data.splitting import Proposal

# What keeps the text within a screen.
_CLASSES, _NOTES = 8, 6


@dataclass(frozen=True)
class ClassShare:
    """A class in a split: `images` that hold it and its `pixels`, and their shares of the class in all splits (0..1).
    `deviation`: of `pixel_share` from the share of images that was wished for the split."""

    id: int
    name: str
    images: int
    pixels: int
    image_share: float
    pixel_share: float
    deviation: float


@dataclass(frozen=True)
class SplitShare:
    """A split: its number of images and groups, its `share` of all images, the share that was `wished` for it, and
    the `deviation` of one from the other; the classes that occur anywhere."""

    split: str
    images: int
    groups: int
    share: float
    wished: float
    deviation: float
    classes: tuple[ClassShare, ...]


def tabulate(
    splits: Sequence[str],
    groups: Sequence[str],
    class_pixels: npt.NDArray[np.int64],
    fractions: Mapping[str, float],
    classes: ClassTree,
) -> tuple[SplitShare, ...]:
    """splits, groups: (N) of each sample; class_pixels: (N, K); a row for each of the `fractions`, of 0 as well."""
    held = class_pixels > 0
    all_images, all_pixels = held.sum(axis=0), class_pixels.sum(axis=0)
    of, rows = np.array(splits), []
    for split, wished in fractions.items():
        inside = of == split
        images, pixels = held[inside].sum(axis=0), class_pixels[inside].sum(axis=0)
        found = tuple(
            ClassShare(
                leaf.id,
                leaf.name,
                int(images[k]),
                int(pixels[k]),
                float(images[k] / all_images[k]),
                share := float(pixels[k] / all_pixels[k]),
                share - wished,
            )
            for k, leaf in enumerate(classes.leaves)
            if all_images[k]
        )
        part = float(inside.mean())
        rows.append(
            SplitShare(
                split,
                int(inside.sum()),
                len({groups[i] for i in np.flatnonzero(inside).tolist()}),
                part,
                wished,
                part - wished,
                found,
            )
        )
    return tuple(rows)


def absent(table: Sequence[SplitShare]) -> list[str]:
    """A note for each class that a split with images has none of."""
    notes = []
    for column in zip(*(row.classes for row in table), strict=True):
        lacking = [row.split for row, found in zip(table, column, strict=True) if row.images and not found.images]
        if lacking:
            total = sum(found.images for found in column)
            notes.append(
                f"class {column[0].name!r} is not in {' and '.join(lacking)}: it is in "
                f"{plural(total, 'image')} in all; label more of it, or expect no score for it there"
            )
    return notes


def proposal_text(proposal: Proposal) -> str:
    """A proposal as text for a terminal: at most about 25 lines, whatever the size of the dataset."""
    table = proposal.table
    images, groups = sum(row.images for row in table), sum(row.groups for row in table)
    lines = [f"{proposal.name}: {plural(images, 'image')} in {plural(groups, 'group')}, seed {proposal.seed}"]
    lines += texts.table(
        [
            ["split", "images", "groups", "share", "target"],
            *([row.split, str(row.images), str(row.groups), f"{row.share:.1%}", f"{row.wished:.1%}"] for row in table),
        ]
    )
    columns = list(zip(*(row.classes for row in table), strict=True))
    if columns:
        # Those that fit least, in the order of classes.
        worst = sorted(range(len(columns)), key=lambda k: -max(abs(c.deviation) for c in columns[k]))[:_CLASSES]
        lines += texts.table(
            [
                ["class", *(f"{row.split}: images, pixels" for row in table)],
                *(
                    [columns[k][0].name, *(f"{cell.images} {cell.pixel_share:>6.1%}" for cell in columns[k])]
                    for k in sorted(worst)
                ),
            ]
        )
        if len(columns) > len(worst):
            lines.append(f"  (without {plural(len(columns) - len(worst), 'class')} nearer to the target)")
    if proposal.trusted:
        halves = list(proposal.trusted.values())
        split = proposal.splits[next(iter(proposal.trusted))]
        lines.append(
            f"to label by hand: {plural(len(halves), 'image')} of {split}, {halves.count('baseline')} to train on "
            f"(BASELINE) and {halves.count('eval')} to judge by (EVAL)"
        )
    lines += [f"note: {note}" for note in proposal.notes[:_NOTES]]
    if len(proposal.notes) > _NOTES:
        lines.append(f"and {plural(len(proposal.notes) - _NOTES, 'more note')}")
    return "\n".join(lines)
