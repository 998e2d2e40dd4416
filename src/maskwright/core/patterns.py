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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from maskwright.errors import DataError

_MARK = re.compile(r"\{([a-z]+|[0-9]+)\}|\*|\?")
_NUMBER = re.compile(r"\d+")
# Slots of masks that let an image have several files.
SEVERAL = ("class", "object")
SPLIT = "split"
# Where texts can be cut in so many places, a regular expression would try for ages what does not fit.
_CUTS = 2
_STEPS = 200_000


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
    def _parts(self) -> list[tuple[str, str]]:
        """(kind, text): `text`, `*`, `?`, `split`, `slot`, and `again` for a slot that stood before."""
        parts, end, seen = [], 0, set()
        for found in _MARK.finditer(self.text):
            parts.append(("text", nfc(self.text[end : found.start()])))
            end, name = found.end(), found[1]
            kind = found[0] if name is None else SPLIT if name == SPLIT else "again" if name in seen else "slot"
            parts.append((kind, name or ""))
            seen.add(name)
        return [*parts, ("text", nfc(self.text[end:]))]

    @cached_property
    def _is_simple(self) -> bool:
        """Whether a path can be cut into the slots in few ways."""
        folders = [0]
        for kind, text in self._parts:
            folders += [0] * text.count("/") if kind == "text" else []
            folders[-1] += kind in ("*", "slot")
        return sum(max(0, count - 1) for count in folders) <= _CUTS

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        any_split = "|".join(map(re.escape, self._split_words)) or r"(?!)"
        forms: dict[str, Callable[[int, str], str]] = {
            "text": lambda number, text: re.escape(text),
            "*": lambda number, text: "[^/]*",
            "?": lambda number, text: "[^/]",
            SPLIT: lambda number, text: f"(?P<split_{number}>(?i:{any_split}))",
            "slot": lambda number, text: f"(?P<slot_{text}>[^/]+?)",
            "again": lambda number, text: f"(?P=slot_{text})",
        }
        return re.compile("".join(forms[kind](number, text) for number, (kind, text) in enumerate(self._parts)))

    @property
    def _split_words(self) -> list[str]:
        return sorted(self._split_of, key=len, reverse=True)

    def match(self, path: str) -> Match | None:
        """What `path` says; None where it does not fit, or names two splits. `path` is in the Unicode form NFC.
        DataError where the slots are so many that this cannot be told in a short time."""
        if self._is_simple:
            texts: Mapping[str, str] | re.Match[str] | None = self._regex.fullmatch(path)
        else:
            texts = self._search(path)
        if texts is None:
            return None
        of_splits, of_slots = self._groups
        splits = {self._split_of[texts[name].lower()] for name in of_splits}
        if len(splits) > 1:
            return None
        return Match(next(iter(splits), None), {slot: texts[name] for name, slot in of_slots})

    @cached_property
    def _groups(self) -> tuple[list[str], list[tuple[str, str]]]:
        """The groups of `_regex`: of splits, and of slots with the names of these."""
        splits = [f"split_{number}" for number, (kind, _) in enumerate(self._parts) if kind == SPLIT]
        return splits, [(f"slot_{text}", text) for kind, text in self._parts if kind == "slot"]

    def _search(self, path: str) -> dict[str, str] | None:
        """What `_regex` finds, with the same order of trials, but none of them twice."""
        parts, texts, failed = self._parts, dict[str, str](), set[tuple[Any, ...]]()
        again = [{text for kind, text in parts[i:] if kind == "again"} for i in range(len(parts))]
        steps = 0

        def ends(kind: str, text: str, start: int) -> Iterable[int]:
            slash = path.find("/", start)
            furthest = len(path) if slash < 0 else slash
            if kind in ("text", "again"):
                wanted = text if kind == "text" else texts[f"slot_{text}"]
                return [start + len(wanted)] if path.startswith(wanted, start) else []
            if kind == SPLIT:
                low = [path[start : start + len(word)].lower() == word for word in self._split_words]
                return [start + len(word) for word, fits in zip(self._split_words, low, strict=True) if fits]
            if kind == "slot":
                return range(start + 1, furthest + 1)
            return range(furthest, start - 1, -1) if kind == "*" else range(start + 1, min(start + 1, furthest) + 1)

        def fits(i: int, start: int) -> bool:
            nonlocal steps
            if i == len(parts):
                return start == len(path)
            state = (i, start, *(texts.get(f"slot_{name}") for name in again[i]))
            if state in failed:
                return False
            kind, text = parts[i]
            for end in ends(kind, text, start):
                steps += 1
                if steps > _STEPS:
                    raise DataError(f"{path}: {self.text!r} has too many slots for this name; write it with fewer")
                if kind in (SPLIT, "slot"):
                    texts[f"split_{i}" if kind == SPLIT else f"slot_{text}"] = path[start:end]
                if fits(i + 1, end):
                    return True
            failed.add(state)
            return False

        return texts if fits(0, 0) else None


def literal(text: str) -> str:
    """Text in a pattern; the signs that have a meaning there become any sign."""
    return re.sub(r"[*?{}]", "?", text)


def nfc(text: str) -> str:
    """The form of Unicode in which names are compared: macOS writes letters and their accents apart."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def loose(text: str) -> str:
    """The same for texts that differ in upper and lower case, and in zeros before numbers."""
    return _NUMBER.sub(lambda found: str(int(found[0])) if len(found[0]) < 400 else found[0], text.casefold())
