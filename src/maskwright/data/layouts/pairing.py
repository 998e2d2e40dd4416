"""Finds the rules by which masks are named after images, from the names that are there.

A few masks of every kind are compared with the images that have the rarest words in common with them. What is the same
in the paths of a mask and an image becomes a slot, the rest stays as it is: a pair of patterns. Each is tried on all
files, and the one that pairs the most is kept. Nothing is known of how tools name their files.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from maskwright.core.pattern_listing import Key
from maskwright.core.patterns import Match, Pattern, literal, loose, nfc
from maskwright.data.layouts.files import IMAGE_WORDS, MASK_WORDS, SHOWN_WORDS, File, Tree
from maskwright.data.layouts.words import Token

_SEEDS = 4  # masks of a kind that are compared with images in vain
_MOST = 40  # rules of a kind
_NEAR = 6  # images that each is compared with
_COMMON = 500  # images that have a word which tells nothing

# What a split word is in a pattern.
_SPLIT = "{split}"


@dataclass(frozen=True)
class Rule:
    """Two patterns, and the pairs that they make: (image, mask) paths. `several`: an image has more than one mask.
    `fitting` counts the pairs of equal size."""

    image: str
    mask: str
    pairs: tuple[tuple[str, str], ...] = field(repr=False)
    several: bool = False
    fitting: int = 0

    @property
    def images(self) -> frozenset[str]:
        """The images that have a mask by it."""
        return frozenset(image for image, _ in self.pairs)

    def by_image(self) -> dict[str, list[str]]:
        """The masks of each image."""
        found: dict[str, list[str]] = defaultdict(list)
        for image, mask in self.pairs:
            found[image].append(mask)
        return dict(found)


class Pairing:
    """The rules of a tree. `splits` maps each split to the words that stand for it in patterns, with `|` between."""

    def __init__(self, tree: Tree, images: Sequence[File], masks: Sequence[File]) -> None:
        self.tree, self.images, self.masks = tree, images, masks
        self.splits = _splits([*images, *masks])
        self._sizes = {file.path: file.size for file in (*images, *masks)}
        self._files = {file.path: file for file in images}
        self._forms = {file.path: nfc(file.path) for file in (*images, *masks)}
        self._by_word: dict[str, list[int]] = defaultdict(list)
        for number, file in enumerate(images):
            for word in {token.value for token in file.tokens if token.is_word}:
                self._by_word[word].append(number)
        self._tables: dict[str, dict[str, Match]] = {}

    def rules(self) -> list[Rule]:
        """The best rule for each kind of masks, those that pair the most first. A mask is paired by one rule."""
        left = {file.path: file for file in self.masks}
        found: list[Rule] = []
        tried: set[str] = set()
        for kind in _kinds(self.masks):
            waiting = [file for file in kind if file.path in left]
            failures = 0
            for _ in range(_MOST):
                seed = next((file for file in waiting if file.path in left and file.path not in tried), None)
                if seed is None or failures == _SEEDS:
                    break
                tried.add(seed.path)
                rule = self._best(seed, left)
                # What one image has in common with one mask may be chance, but where there are no others.
                if rule is not None and (len(rule.images) > 1 or len(self.images) < 4 or _is_whole(rule.image)):
                    found.append(rule)
                    for _, mask in rule.pairs:
                        left.pop(mask, None)
                else:
                    failures += 1
        return sorted(found, key=lambda rule: -len(rule.pairs))

    def _best(self, seed: File, left: dict[str, File]) -> Rule | None:
        candidates: dict[tuple[str, str], tuple[str, str, bool]] = {}
        for image in self._nearest(seed):
            for patterns in _patterns(image, seed):
                candidates.setdefault(patterns[:2], patterns)
        rules = [rule for found in candidates.values() if (rule := self._try(*found, left)) is not None]
        if not rules:
            return None

        def worth(rule: Rule) -> tuple[float, ...]:
            share = rule.fitting / len(rule.pairs)
            covered = len(rule.images)
            literals = len(re.sub(r"\{[a-z0-9]+\}|\*", "", rule.image + rule.mask))
            return (
                round(covered * (0.2 + share), 3),
                self._likeness(rule),
                len(self._tables[rule.image]),
                len(rule.pairs),
                -rule.several,
                -_slots(rule.mask),
                literals,
            )

        best = max(rules, key=worth)
        alike = re.sub(r".*/|\.[^.]*$", "", best.image) == re.sub(r".*/|\.[^.]*$", "", best.mask)
        return best if alike or best.fitting >= 0.5 * len(best.pairs) or len(best.pairs) > 2 else None

    def _likeness(self, rule: Rule) -> float:
        """How much the images of a rule are like those that masks are drawn on: in colour, and called images."""
        file = self._files[rule.pairs[0][0]]
        words = file.words
        return (
            2 * (min(file.bands, 3) == 3)
            + len(words & IMAGE_WORDS)
            - len(words & (MASK_WORDS - IMAGE_WORDS))
            - 4 * bool(words & SHOWN_WORDS)
        )

    def _nearest(self, seed: File) -> list[File]:
        """The images that share the rarest words with a mask, of its size first."""
        score: dict[int, float] = defaultdict(float)
        name = {token.value for token in seed.stem if token.is_word}
        for word in {token.value for token in seed.tokens if token.is_word}:
            having = self._by_word.get(word, ())
            if 0 < len(having) <= max(_COMMON, len(self.images) // 20) or len(self.images) <= _COMMON:
                weight = math.log(1 + len(self.images) / (1 + len(having))) + 0.01
                for number in having:
                    score[number] += weight * (2 if word in name else 1)
        split = _split(seed.tokens)
        best: list[tuple[float, float, File]] = []
        for number, value in score.items():
            image = self.images[number]
            other = _split(image.tokens)
            if image.path == seed.path or (split and other and split != other):
                continue
            same = image.size is None or seed.size is None or image.size == seed.size
            extra = sum(token.is_word for token in image.tokens)
            best.append((value * (1.0 if same else 0.4), -extra, image))
        best.sort(key=lambda row: (-row[0], -row[1], row[2].path))
        return [image for _, _, image in best[:_NEAR]]

    def _try(self, image: str, mask: str, several: bool, left: dict[str, File]) -> Rule | None:
        """The pairs that two patterns make of the masks that are left; None where they are no rule."""
        words = self.splits
        of_images, of_masks = Pattern(image, words), Pattern(mask, words)
        shared = tuple(name for name in of_masks.slots if name in of_images.slots)
        both = "{split}" in image and "{split}" in mask
        if not (shared or both) or not set(of_masks.slots) - {"object"} <= set(of_images.slots):
            return None
        if image not in self._tables:
            self._tables[image] = {
                file.path: match for file in self.images if (match := of_images.match(self._forms[file.path]))
            }
        images = self._tables[image]
        split = "{split}" in image and "{split}" in mask
        exact, near = _owners(images, shared, split, True), None
        pairs: list[tuple[str, str]] = []
        for path in left:
            match = of_masks.match(self._forms[path])
            if match is None:
                continue
            owner = exact.get(_key(match, shared, split, True))
            if owner is None:
                near = near if near is not None else _owners(images, shared, split, False)
                owner = near.get(_key(match, shared, split, False))
            if owner is not None and owner != path:
                pairs.append((owner, path))
        counts = Counter(owner for owner, _ in pairs)
        if not several:
            pairs = [pair for pair in pairs if counts[pair[0]] == 1]
        if not pairs:
            return None
        if several and counts.most_common(1)[0][1] == 1:
            mask, several = mask.replace("{object}", "*"), False
        fitting = sum(_fit(self._sizes[owner], self._sizes[path]) for owner, path in pairs)
        return Rule(image, mask, tuple(pairs), several, fitting)


def _is_whole(pattern: str) -> bool:
    """Whether the name of a file is nothing but one slot."""
    return bool(re.fullmatch(r"\{[0-9]+\}", pattern.rpartition("/")[2].rpartition(".")[0]))


def _fit(first: tuple[int, int] | None, second: tuple[int, int] | None) -> bool:
    """Whether two sizes are the same, or not known; images may be turned by their EXIF orientation."""
    return first is None or second is None or first in (second, second[::-1])


def _owners(images: dict[str, Match], shared: tuple[str, ...], split: bool, exact: bool) -> dict[Key, str | None]:
    owners: dict[Key, str | None] = {}
    for path, match in images.items():
        key = _key(match, shared, split, exact)
        owners[key] = None if key in owners else path
    return owners


def _key(match: Match, shared: tuple[str, ...], split: bool, exact: bool) -> Key:
    texts = tuple(match.slots[name] if exact else loose(match.slots[name]) for name in shared)
    return (match.split if split else None, texts)


def _split(found: Iterable[Token]) -> str | None:
    return next((token.split for token in found if token.split), None)


def _splits(files: Iterable[File]) -> dict[str, str]:
    """The words of each split in the paths of some files."""
    words: dict[str, dict[str, None]] = defaultdict(dict)
    for file in files:
        for token in file.tokens:
            if token.split:
                words[token.split].setdefault(token.text)
    ordered = [split for split in ("train", "val", "test") if split in words]
    return {split: "|".join(_without_case(words[split])) for split in ordered}


def _without_case(words: Iterable[str]) -> list[str]:
    found: dict[str, str] = {}
    for word in words:
        found.setdefault(word.lower(), word)
    return list(found.values())


def _kinds(masks: Sequence[File]) -> list[list[File]]:
    """Masks by what of their names is no number, those with many first."""
    found: dict[tuple[str, ...], list[File]] = defaultdict(list)
    often = Counter(token.value for file in masks for token in file.tokens if token.is_word)
    for file in masks:
        form = tuple(
            token.value
            for token in file.tokens
            if token.is_word and not token.text[0].isdigit() and not token.split and often[token.value] > 1
        )
        found[(*form, file.ending.lower())].append(file)
    return sorted(found.values(), key=len, reverse=True)


def _slots(pattern: str) -> int:
    return pattern.count("{object}") + pattern.count("*")


def _patterns(image: File, mask: File) -> Iterator[tuple[str, str, bool]]:
    """Pairs of patterns that explain this image and this mask, with whether several masks an image are meant."""
    first, second = image.tokens, mask.tokens
    blocks = _blocks(first, second)
    for kept in _choices(blocks, first, second):
        for free in (None, "number", "stem", "folder"):
            for repeated in (True, False):
                built = _build(image, mask, kept, free, repeated)
                if built is not None:
                    yield built


Block = tuple[int, int, int]


def _blocks(first: Sequence[Token], second: Sequence[Token]) -> list[Block]:
    """Where two paths are the same: (place in the first, place in the second, length), with a word in each."""
    matcher = SequenceMatcher(None, [token.value for token in first], [token.value for token in second], autojunk=False)
    found = []
    for a, b, size in matcher.get_matching_blocks():
        # Signs at the edges of a block belong to what is constant, but for those within.
        while size and not first[a].is_word:
            a, b, size = a + 1, b + 1, size - 1
        while size and not first[a + size - 1].is_word:
            size -= 1
        if size:
            found.append((a, b, size))
    return found


def _choices(blocks: list[Block], first: Sequence[Token], second: Sequence[Token]) -> Iterator[list[Block]]:
    """All blocks, and those of the file names alone, where the folders agree by chance."""
    yield blocks
    slash = max((i for i, token in enumerate(first) if token.text == "/"), default=-1)
    names = [block for block in blocks if block[0] > slash]
    if names and len(names) < len(blocks):
        yield names
    if len(names) > 1:  # the longest piece of the name alone, and the folders
        longest = max(names, key=lambda block: block[2])
        yield [block for block in blocks if block[0] <= slash or block == longest]
    folders = [block for block in blocks if block[0] <= slash]
    if folders and names:
        yield folders


def _build(
    image: File, mask: File, blocks: list[Block], free: str | None, repeated: bool
) -> tuple[str, str, bool] | None:
    """The patterns by which blocks are slots. `free`: of the mask's name, what is left and holds a `number`, or all of
    its `stem`, is free text that tells one mask of an image from another. `repeated`: a text that stands again is the
    same slot."""
    names: dict[int, str] = {}
    others: dict[int, str] = {}
    number = 0
    start = len(image.tokens) - len(image.stem)
    by_folder = any(token.split for token in image.tokens[:start])
    for a, b, size in blocks:
        begin = True
        for step in range(size):
            token = image.tokens[a + step]
            # A split in a name, behind that of a folder, is text like any other where the mask has it too.
            if token.text == "/" or (token.split and not (by_folder and a + step >= start)):
                begin = True
                continue
            if begin:
                number += 1
                begin = False
            names[a + step] = others[b + step] = str(number)
    if not number and not any(image.tokens[a + step].split for a, _, size in blocks for step in range(size)):
        return None
    if repeated:
        _repeat(image.tokens, names, image.tokens, names)
        _repeat(image.tokens, names, mask.tokens, others)
    slash = max((i for i, token in enumerate(mask.tokens) if token.text == "/"), default=-1)
    rest = [i for i in range(slash + 1, len(mask.tokens)) if i not in others]
    several = False
    if free == "folder":  # numbers of folders, which hold so many files each
        runs = [i for i in range(slash) if i not in others and mask.tokens[i].text.isdigit()]
        if not runs:
            return None
        others |= dict.fromkeys(runs, "*")
    if free == "stem":
        if any(i in others for i in range(slash + 1, len(mask.tokens))):
            return None
        others |= dict.fromkeys(rest, "object")
        several = True
    elif free == "number":
        runs = [i for i in rest if mask.tokens[i].text[0].isdigit() or _opaque(mask.tokens[i].text)]
        if not runs:
            return None
        others |= dict.fromkeys(
            range(runs[0], runs[-1] + 1) if not any(i in others for i in range(runs[0], runs[-1] + 1)) else [runs[-1]],
            "object",
        )
        several = True
    first = _text(image.tokens, names)
    slash = max((i for i, token in enumerate(image.tokens) if token.text == "/"), default=-1)
    if free == "stem" and not any(i in names for i in range(slash + 1, len(image.tokens))):
        first = first.rpartition("/")[0] + "/*" if "/" in first else "*"
    return first + literal(image.ending), _text(mask.tokens, others) + literal(mask.ending), several


def _repeat(source: Sequence[Token], names: dict[int, str], target: Sequence[Token], found: dict[int, str]) -> None:
    """Where the text of a slot stands again, it is the same slot: `0001/0001_lesion`."""
    slots: dict[str, list[int]] = defaultdict(list)
    for place, name in sorted(names.items()):
        slots[name].append(place)
    for name, places in sorted(slots.items(), key=lambda row: -len(row[1])):
        texts = [source[place].text for place in places]
        if len(texts) < 2 and not (texts[0].isdigit() and len(texts[0]) > 1) and not _opaque(texts[0]):
            continue
        for start in range(len(target) - len(texts) + 1):
            run = range(start, start + len(texts))
            if not any(i in found for i in run) and [target[i].text for i in run] == texts:
                found |= dict.fromkeys(run, name)


def _opaque(text: str) -> bool:
    return any(letter.isdigit() for letter in text)


def _text(found: Sequence[Token], names: dict[int, str]) -> str:
    parts: list[str] = []
    last = ""
    for i, token in enumerate(found):
        name = names.get(i)
        if token.split and name is None:
            parts.append(_SPLIT)
            last = ""
        elif name is None:
            parts.append(literal(token.text))
            last = ""
        elif name != last:
            parts.append("*" if name == "*" else "{" + name + "}")
            last = name
    return "".join(parts)


def plain_patterns(rule: Rule, images: Sequence[File], splits: dict[str, str]) -> tuple[str, str]:
    """The patterns of a rule with slots that are always the same written out, and the others numbered from 1."""
    pattern = Pattern(rule.image, splits)
    matches = [match for file in images if (match := pattern.match(nfc(file.path)))]
    image, mask = rule.image, rule.mask
    for slot in pattern.slots:
        texts = {match.slots[slot] for match in matches}
        if len(texts) == 1 and len(matches) > 1:
            text = literal(next(iter(texts)))
            image, mask = image.replace(f"{{{slot}}}", text), mask.replace(f"{{{slot}}}", text)
    numbers = {old: str(i) for i, old in enumerate(dict.fromkeys(re.findall(r"\{([0-9]+)\}", image)), 1)}

    def renamed(found: re.Match[str]) -> str:
        return f"{{{numbers.get(found[1], found[1])}}}"

    return re.sub(r"\{([0-9]+)\}", renamed, image), re.sub(r"\{([0-9]+)\}", renamed, mask)
