"""What the images of a folder hold, where that is not 8-bit grey or RGB: for `images` in `dataset.yaml`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskwright.core.bands import Bands, Stored, said
from maskwright.core.sample import Held, Sample, read_bands, read_held
from maskwright.errors import DataError

# Headers that are read, evenly spread, and images that are decoded.
_HEADERS, _DECODED = 1000, 20
# The share of images that have to agree.
_AGREE = 0.9


@dataclass(frozen=True)
class FoundBands:
    """`bands` is None where images are read as 8-bit RGB; `doubt` is what a person should look at, empty mostly."""

    bands: Bands | None
    reason: str = ""
    doubt: str = ""


def bands_of(samples: Sequence[Sample]) -> FoundBands:
    """What the images of these samples hold, from their headers, and from the values of a few of them."""
    chosen = samples[:: max(1, -(-len(samples) // _HEADERS))]
    found: list[tuple[Sample, Held]] = []
    for sample in chosen:
        try:
            found.append((sample, read_held(sample.image, sample.page)))
        except DataError:
            continue  # the audit names it
    counts = Counter(held for _, held in found)
    if not any(_other(held) for held in counts):
        return FoundBands(None)
    usual, often = counts.most_common(1)[0]
    alike = [sample for sample, held in found if held == usual]
    decoded = _decoded(alike, usual)
    channels = usual.channels - (usual.alpha and _is_alpha(decoded, usual.bits))
    mixed = ", ".join(f"{count} with {said(held.channels, held.bits)}" for held, count in counts.most_common(4))
    if often < _AGREE * len(found):
        return FoundBands(None, "", f"images hold different bands ({mixed}), and all are read as 8-bit RGB")
    if channels in (1, 3) and usual.bits == 8:
        return FoundBands(None)
    reason = f"{often:,} of {len(found):,} images hold {said(channels, usual.bits)}"
    bands = Bands.of(channels, 8)
    if usual.bits == 16:
        most = max((int(pixels.max(initial=0)) for pixels in decoded), default=(1 << 16) - 1)
        bits = max(8, most.bit_length())
        reason += f"; the highest value in {len(decoded)} of them is {most:,}, as of {bits} bits"
        bands = Bands.of(channels, 16, (0, (1 << bits) - 1))
    doubt = f"images hold different bands ({mixed}): those that differ are refused" if often < len(found) else ""
    return FoundBands(bands, reason, doubt)


def _other(held: Held) -> bool:
    return held.bits != 8 or held.channels not in (1, 3)


def _decoded(samples: Sequence[Sample], held: Held) -> list[Stored]:
    bands = Bands.of(held.channels, 16 if held.bits == 16 else 8)
    if bands.plain:
        return []
    found = []
    for sample in samples[:: max(1, -(-len(samples) // _DECODED))]:
        try:
            found.append(read_bands(sample.image, bands, page=sample.page))
        except DataError:
            continue
    return found


def _is_alpha(images: Sequence[Stored], bits: int) -> bool:
    """Whether the last band is nothing or everything mostly, in any of the images; else it shows something."""
    last = [pixels[..., -1] for pixels in images]
    return any(2 * np.count_nonzero((one == 0) | (one == (1 << bits) - 1)) >= one.size for one in last)
