"""Names on pictures: any text as it can be drawn with the fonts of this system, within the room that there is."""

from __future__ import annotations

import os
import unicodedata
from bisect import bisect_right
from contextlib import suppress
from functools import lru_cache

from PIL import ImageFont

# Looked for in the folders of the system, for names that Pillow's own letters (ASCII and little more) cannot write.
FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "segoeui.ttf",
    "msyh.ttc",
)


def lettered(text: str, letters: int, room: float, tail: str = "") -> tuple[str, ImageFont.FreeTypeFont]:
    """`text` and `tail` as they can be drawn within `room` pixels, and the font that has most of their letters.

    `text` is shortened in its middle. What the font lacks is written by the letters it is composed of, without
    accents, or else by its code (`\\u4e2d`); so are control characters and those that turn the writing round.
    """
    text = text if len(text) <= 400 else f"{text[:200]}…{text[-200:]}"
    number = max(range(len(fonts(16))), key=lambda n: (sum(_has(n, letter) for letter in text), -n))
    whole = "".join(letter if _has(number, letter) else _plain(number, letter) for letter in text)
    font = fonts(letters)[number]

    def shown(kept: int) -> str:
        return f"{whole[: (kept + 1) // 2]}…{whole[len(whole) - kept // 2 :]}{tail}"

    if font.getlength(whole + tail) <= room:
        return whole + tail, font
    return shown(max(bisect_right(range(len(whole)), room, key=lambda kept: font.getlength(shown(kept))) - 1, 0)), font


def _plain(number: int, letter: str) -> str:
    parts = [part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part)]
    if parts and all(_has(number, part) for part in parts):
        return "".join(parts)
    return letter.encode("unicode_escape").decode("ascii")


@lru_cache(maxsize=64)
def fonts(letters: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    """Pillow's own font, then those of `FONTS` that the system has."""
    if letters != 16:  # the system's are looked for once
        return tuple(font.font_variant(size=letters) for font in fonts(16))
    first = ImageFont.load_default(letters)
    assert isinstance(first, ImageFont.FreeTypeFont)  # Pillow is always built with FreeType
    found = [first]
    for name in FONTS:
        # One in the working folder would come first: not to be trusted, as that may be the folder of the data.
        if not os.path.exists(name):
            with suppress(OSError):
                found.append(ImageFont.truetype(name, letters))
    return tuple(found)


@lru_cache(maxsize=65536)
def _has(number: int, letter: str) -> bool:
    """Whether a font draws `letter`, and not the box that stands for what it lacks."""
    if not letter.isprintable():
        return False
    font = fonts(16)[number]
    drawn, lacking = font.getmask(letter), font.getmask("\U0010ffff")
    return (drawn.size, bytes(drawn)) != (lacking.size, bytes(lacking))
