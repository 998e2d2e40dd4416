"""What one look at an image and at a mask tells: about a kilobyte that stands for the file in every check."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

from maskwright.core.left_out import Fourth
from maskwright.data.auditing.objects import Flaw
from maskwright.data.auditing.statistics import Size

V = TypeVar("V")
# A channel behind the colours: there is none; alpha that is opaque everywhere, or not; or values as of a picture.


class PixelStorage(NamedTuple):
    """How a file stores its pixels: Pillow's mode, the EXIF orientation (a TIFF's own is applied by its decoder and
    not seen), and whether colours of 16 bits a channel are read as 8."""

    mode: str
    orientation: int
    deep: bool


# Of a mask that is drawn from an annotation file.
DRAWN = PixelStorage("", 1, False)


@dataclass(slots=True)
class ImageFacts:
    """A readable image: `file` is the hash of its bytes, `size` is (height, width) as read, `digest` is of the decoded
    pixels, `thumbnail` as `near_duplicates.thumbnail` makes it, `constant` when all pixels are the same, `fourth` what
    lies in a channel behind the colours, which is dropped."""

    kind: PixelStorage
    file: bytes
    size: Size
    digest: bytes
    thumbnail: bytes
    constant: bool
    fourth: Fourth = "none"


@dataclass(slots=True)
class MaskFacts:
    """A readable mask; `file` is the hash of its bytes, empty when it is drawn. `unknown_ids` of its ids are no class;
    `unknown` maps the most frequent of them to their pixels. Where there are none, `present` holds the class indices
    that occur and `flaws` what `measure` found. `inexact` pixels were moved to the nearest value, `hidden` ones of a
    drawn region lie below another class."""

    kind: PixelStorage
    file: bytes
    size: Size
    digest: bytes
    inexact: int = 0
    hidden: int = 0
    unknown_ids: int = 0
    unknown: dict[int, int] | None = None
    present: bytes | None = None
    flaws: tuple[Flaw, ...] = ()

    @property
    def area(self) -> int:
        """Pixels in all."""
        return self.size[0] * self.size[1]


# Text in place of facts is the reader's reason for refusing the file.
PairFacts = tuple[ImageFacts | str, MaskFacts | str | None]


@lru_cache(4096)
def shared(value: V) -> V:
    """One object for equal values."""
    return value
