"""What a plan does for classes with few pixels: nothing where there are none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskwright.base.texts import counted, listing, percent
from maskwright.core.class_facts import NARROW, SMALL, ClassFacts
from maskwright.core.class_weights import MOST_RATIO, inverse_root
from maskwright.training.planning.fingerprint import Fingerprint


def rare(found: Fingerprint) -> list[int]:
    """The classes that have less than a hundredth of the pixels, but some; the rarest first."""
    few = [i for i, facts in enumerate(found.classes) if 0 < facts.share < SMALL]
    return sorted(few, key=lambda i: found.classes[i].share)


def about_classes(names: Sequence[str], found: Fingerprint, scale: float) -> list[str]:
    """Comments: which classes are rare, which are narrow at the model's `scale`, and which have no pixel at all."""
    lines = []
    if few := rare(found):
        lines.append(
            f"# {counted(len(few), 'rare class{|es}')}, each less than {100 * SMALL:.0f} % of the pixels: "
            + listing([_seen(names[i], found.classes[i], found) for i in few], 6)
        )
    thin = [(name, one.width * scale) for name, one in zip(names, found.classes, strict=False) if one.width]
    if thin := [(name, width) for name, width in thin if width < NARROW]:
        lines.append(
            f"# At the model's size {listing([f'{name!r} is {width:.1f} px wide' for name, width in thin], 6)}: where "
            "that is not found, take a larger image_size and a longer budget."
        )
    if absent := [name for name, one in zip(names, found.classes, strict=False) if not one.pixels]:
        where = "the training masks" if found.read == found.train else f"the {found.read:,} masks that were read"
        lines.append(f"# Not in {where}: {listing(map(repr, absent), 6)}. What is in none of them cannot be learnt.")
    return lines


def _seen(name: str, one: ClassFacts, found: Fingerprint) -> str:
    return f"{name!r} ({percent(one.share)}, in {one.images:,} of {found.read:,} images, median {one.size:,.0f} px)"


def entropy_term(found: Fingerprint) -> str:
    """The cross entropy, with class weights where there are rare classes."""
    if not rare(found):
        return "  - {name: ce, weight: 1.0}"
    weights = inverse_root(np.array([one.pixels for one in found.classes])).round(3).tolist()
    return (
        f"  - {{name: ce, weight: 1.0, class_weights: [{', '.join(f'{weight:g}' for weight in weights)}]}}  "
        f"# 1/sqrt(pixels), at most {MOST_RATIO:.0f}:1, so that rare classes are learnt at all"
    )
