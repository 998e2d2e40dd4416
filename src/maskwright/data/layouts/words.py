"""Paths as tokens: words, numbers, and the signs between them; the words of splits among them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from maskwright.core.folder_names import SPLIT_NAMES
from maskwright.core.patterns import nfc

_RUN = re.compile(r"[^\W_]+|.", re.DOTALL)
_TOKEN = re.compile(r"[0-9]+|[^\W\d_](?:(?![A-Z])[^\W\d_])*", re.DOTALL)
_UPPER = re.compile(r"[A-Z]{2,}(?![a-z])")
# A run of letters and digits that changes between the two so often is one word: an id in hexadecimal.
_CHANGES = 3
_KNOWN = 100_000  # runs whose tokens are kept


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a path. `value` is what is compared: words in lower case, numbers without zeros in front, the split of
    a word that names one. `split` is then that split. `is_word`: it is no sign."""

    text: str
    value: str
    split: str | None = None
    is_word: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_word", self.text[0].isalnum())  # asked for more often than all else


@dataclass(frozen=True)
class SplitWords:
    """Which words name a split in a tree: the usual ones, those with a remainder that other splits have too
    (`trainannot` beside `valannot`), and `Tr` and `Ts` where both are there."""

    peeled: dict[str, tuple[str, str, str]] = field(
        default_factory=dict
    )  # word -> (split word, split, where: "", "end")
    short: bool = False
    known: dict[str, list[Token]] = field(default_factory=dict, repr=False)

    def split_of(self, word: str) -> str | None:
        """The split that a token names."""
        if self.short and word in ("Tr", "Ts"):
            return "train" if word == "Tr" else "test"
        return SPLIT_NAMES.get(word.lower())


def split_words(folders: Iterable[str]) -> SplitWords:
    """The split words of a tree, from the names of its folders."""
    words = {run for name in folders for run in _runs(name)}
    short = {"Tr", "Ts"} <= {token for word in words for token in _pieces(word)}
    remainders: dict[tuple[str, bool], dict[str, tuple[str, str]]] = {}
    for word in words:
        low = word.lower()
        for name, split in SPLIT_NAMES.items():
            if len(low) > len(name) and low.isalpha() and low not in SPLIT_NAMES:
                if low.startswith(name):
                    remainders.setdefault((low[len(name) :], True), {}).setdefault(split, (word, name))
                if low.endswith(name):
                    remainders.setdefault((low[: -len(name)], False), {}).setdefault(split, (word, name))
    peeled = {
        word: (name, split, "" if front else "end")
        for (rest, front), found in remainders.items()
        if len(found) > 1 and len({word for word, _ in found.values()}) == len(found)
        for split, (word, name) in found.items()
        if _pieces(word) == [word] and rest not in SPLIT_NAMES
    }
    return SplitWords(peeled, short)


def _runs(text: str) -> list[str]:
    return [run for run in _RUN.findall(nfc(text)) if run[0].isalnum()]


@lru_cache(1 << 15)
def _pieces(run: str) -> list[str]:
    """The tokens of a run of letters and digits."""
    if len(run) >= 6 and len(re.findall(r"[0-9](?=[^0-9])|[^0-9](?=[0-9])", run)) >= _CHANGES:
        return [run]
    found: list[str] = []
    end = 0
    for upper in _UPPER.finditer(run):  # ABCDef: AB|CDef is undecided; whole words in capitals stay together
        found += [*_TOKEN.findall(run[end : upper.start()]), upper[0]]
        end = upper.end()
    return found + _TOKEN.findall(run[end:])


def tokens(text: str, words: SplitWords) -> list[Token]:
    """The tokens of a path or a part of one, in order; joined, their texts are the path."""
    found: list[Token] = []
    for run in _RUN.findall(nfc(text)):
        known = words.known.get(run)
        if known is None:
            known = _tokens_of(run, words)
            if len(words.known) < _KNOWN:
                words.known[run] = known
        found += known
    return found


def _tokens_of(run: str, words: SplitWords) -> list[Token]:
    """The tokens of a run of letters and digits, or of one sign."""
    if not run[0].isalnum():
        return [Token(run, run)]
    if peeled := words.peeled.get(run):
        name, split, place = peeled
        cut = len(name) if not place else len(run) - len(name)
        pieces = [run[:cut], run[cut:]]
        at = 0 if not place else 1
        return [
            Token(piece, f"\0{split}" if i == at else piece.lower(), split if i == at else None)
            for i, piece in enumerate(pieces)
        ]
    named = [(piece, words.split_of(piece)) for piece in _pieces(run)]
    return [Token(piece, f"\0{split}" if split else _value(piece), split) for piece, split in named]


def _value(piece: str) -> str:
    return str(int(piece)) if piece.isascii() and piece.isdigit() and len(piece) < 400 else piece.casefold()
