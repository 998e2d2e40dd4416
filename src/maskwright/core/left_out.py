"""What the one reader of images leaves out of a file: alpha, further bands, and bits beyond eight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import BinaryIO, Literal

from PIL import Image, ImageFile

from maskwright.base.texts import counted
from maskwright.core.sample import dropped_channel

# What lies in a channel behind the colours.
Fourth = Literal["none", "opaque", "transparent", "band"]
Kind = Literal["bands", "alpha", "bits", "dark"]
# 16-bit values below this, of 12 bits mostly, turn out nearly black when they are divided by 256.
_DARK = 1 << 12
_SAID: dict[Kind, str] = {
    "bands": "{has|have} further bands, which are dropped: grey, or the first three as red, green and blue, are read",
    "alpha": "{has|have} transparent pixels, whose alpha is dropped",
    "bits": "{is|are} of 16 bits, whose values are divided by 256",
    "dark": "of these {is|are} nearly black then, with no value above 4,095: say `bits: 16` in dataset.yaml",
}


class Opened:
    """Learns about an image file while it is opened to be decoded (see `sample.Tell`); asked when it is decoded."""

    def __init__(self) -> None:
        self.deep, self._dropped = False, ""
        self._image: Image.Image | None = None

    def __call__(self, image: Image.Image, stream: BinaryIO) -> None:
        """Is shown the file."""
        stored = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else ""
        self.deep = ";16" in str(stored) or image.mode.startswith("I")
        self._dropped = dropped_channel(image)
        self._image = image if self._dropped == "alpha" or image.mode.startswith("I") else None

    def fourth(self) -> Fourth:
        """What is in the channel behind the colours. Alpha is mostly nothing or everything; where half of its values
        lie between, it is a band that shows something, such as infrared."""
        if self._dropped != "alpha" or self._image is None:
            return "band" if self._dropped else "none"
        name = next((band for band in self._image.getbands() if band in "Aa"), None)
        alpha = self._image.getchannel(name) if name else self._image.convert("RGBA").getchannel("A")
        counts = alpha.histogram()
        if counts[255] == sum(counts):
            return "opaque"
        return "transparent" if 2 * (counts[0] + counts[255]) >= sum(counts) else "band"

    def kinds(self) -> list[Kind]:
        """What of the file is left out."""
        found: list[Kind] = []
        if (fourth := self.fourth()) in ("band", "transparent"):
            found.append("bands" if fourth == "band" else "alpha")
        if self.deep:
            found.append("bits")
            most = self._image.getextrema()[1] if self._image is not None and self._image.mode.startswith("I") else None
            if isinstance(most, int | float) and most < _DARK:
                found.append("dark")
        return found


class LeftOut:
    """Counts what is left out of files that are read one after the other; given to their reader as `tell`."""

    def __init__(self) -> None:
        self._counts: Counter[Kind] = Counter()
        self._files = 0
        self._opened: Opened | None = None

    def __call__(self, image: Image.Image, stream: BinaryIO) -> None:
        """Is shown the next file."""
        self._count()
        self._opened = Opened()
        self._opened(image, stream)

    def _count(self) -> None:
        if self._opened:
            self._files += 1
            self._counts.update(self._opened.kinds())
        self._opened = None

    def sentence(self) -> str:
        """What was left out of the files so far, empty where nothing was."""
        self._count()
        return sentence(self._counts, self._files)


def sentence(counts: Mapping[Kind, int], files: int) -> str:
    """What was left out of so many files, by how many; empty where nothing was."""
    said = "; ".join(counted(counts[kind], text) for kind, text in _SAID.items() if counts.get(kind))
    return f"of {files:,} images, {said} (`maskwright audit` names them)" if said else ""
