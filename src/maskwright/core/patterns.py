"""Patterns of paths: which files are images and masks, which of them belong together, and which split they are of.

A pattern is a path inside the dataset, with `/` between folders, in which these stand for text:

    {split}     one of the words of a split, in upper or lower case
    {1} {2} …   any text without `/`; image and mask belong together where these are the same
    {class}     in masks: any text; it says which class the file marks, one file a class
    {object}    in masks: any text; an image has several such files, one an object
    *           any text without `/` that says nothing
    ?           one sign, as for braces and stars in names

`images/{split}/{1}.jpg` and `labels/{split}/{1}_L.png` pair `images/train/a.jpg` with `labels/train/a_L.png`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

_MARK = re.compile(r"\{([a-z]+|[0-9]+)\}|\*|\?")
_NUMBER = re.compile(r"\d+")
# Slots of masks that let an image have several files.
SEVERAL = ("class", "object")
SPLIT = "split"


@dataclass(frozen=True, slots=True)
class Match:
    """What a path says by a pattern: its split, and the texts of the slots by their names."""

    split: str | None
    slots: Mapping[str, str]


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern; `words` maps each split to its words, with `|` between several."""

    text: str
    words: Mapping[str, str]

    @cached_property
    def slots(self) -> tuple[str, ...]:
        """The names of its slots in their order, without `split`."""
        names = dict.fromkeys(found[1] for found in _MARK.finditer(self.text) if found[1] and found[1] != SPLIT)
        return tuple(names)

    @cached_property
    def _split_of(self) -> dict[str, str]:
        return {word.lower(): split for split, words in self.words.items() for word in words.split("|")}

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        parts, end, seen = [], 0, set()
        any_split = "|".join(map(re.escape, sorted(self._split_of, key=len, reverse=True))) or r"(?!)"
        for number, found in enumerate(_MARK.finditer(self.text)):
            parts.append(re.escape(nfc(self.text[end : found.start()])))
            end, name = found.end(), found[1]
            if name is None:
                parts.append("[^/]*" if found[0] == "*" else "[^/]")
            elif name == SPLIT:
                parts.append(f"(?P<split_{number}>(?i:{any_split}))")
            elif name in seen:
                parts.append(f"(?P=slot_{name})")
            else:
                seen.add(name)
                parts.append(f"(?P<slot_{name}>[^/]+?)")
        return re.compile("".join(parts) + re.escape(nfc(self.text[end:])))

    def match(self, path: str) -> Match | None:
        """What `path` says; None where it does not fit, or names two splits. `path` is in the Unicode form NFC."""
        found = self._regex.fullmatch(path)
        if found is None:
            return None
        texts = found.groupdict()
        splits = {self._split_of[text.lower()] for name, text in texts.items() if name.startswith("split_")}
        if len(splits) > 1:
            return None
        slots = {name.removeprefix("slot_"): text for name, text in texts.items() if name.startswith("slot_")}
        return Match(next(iter(splits), None), slots)


def literal(text: str) -> str:
    """Text in a pattern; the signs that have a meaning there become any sign."""
    return re.sub(r"[*?{}]", "?", text)


def nfc(text: str) -> str:
    """The form of Unicode in which names are compared: macOS writes letters and their accents apart."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def loose(text: str) -> str:
    """The same for texts that differ in upper and lower case, and in zeros before numbers."""
    return _NUMBER.sub(lambda found: str(int(found[0])) if len(found[0]) < 400 else found[0], text.casefold())
