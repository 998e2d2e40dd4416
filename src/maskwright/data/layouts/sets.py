"""Sets of masks: which of them say the same, which are made from another one, and which one is left to read.

Where several sets fit the images, their pixels tell how they belong together: the same labels twice (ids and colours),
objects of classes, one file a class, one file an object, a field of view. What remains unclear is the user's choice.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskwright.base.storage import natural
from maskwright.base.texts import percent, plural
from maskwright.core.patterns import Pattern
from maskwright.data.layouts.files import SHOWN_WORDS
from maskwright.data.layouts.pairing import Rule
from maskwright.data.layouts.relations import (
    MaskSet,
    SetFacts,
    adds_nothing,
    are_instances,
    constant,
    facts_of,
    markers,
)
from maskwright.errors import ConfigError, argument

# The share of the pixels of a class that may be those of another one, where the masks of two were drawn apart.
_SHARED = 0.2


def mask_sets(rules: Sequence[Rule], splits: dict[str, str]) -> list[MaskSet]:
    """The rules as sets: those that call masks the same and share no image are one."""
    groups: dict[tuple[str, ...], list[Rule]] = defaultdict(list)
    for rule in _without_endings(rules):
        groups[_signature(rule)].append(rule)
    found = []
    for group in groups.values():
        taken: list[list[Rule]] = []
        for rule in group:
            home = next((own for own in taken if all(not (rule.images & other.images) for other in own)), None)
            if home is None:
                taken.append([rule])
            else:
                home.append(rule)
        found += [_set(tuple(own), splits) for own in taken]
    found = _together(found, splits)
    return sorted(found, key=lambda one: (-len(one.pairs), one.name))


def _together(sets: list[MaskSet], splits: dict[str, str]) -> list[MaskSet]:
    """Small sets of one folder that share no image, as masks are named by several hands, are one."""
    found: list[MaskSet] = []
    for one in sorted(sets, key=lambda one: -len(one.pairs)):
        folders = {_fixed(rule.mask) for rule in one.rules}
        home = next(
            (
                i
                for i, other in enumerate(found)
                if one.slot is None
                and other.slot is None
                and folders == {_fixed(rule.mask) for rule in other.rules}
                and not one.pairs.keys() & other.pairs.keys()
            ),
            None,
        )
        if home is None:
            found.append(one)
        else:
            found[home] = _set((*found[home].rules, *one.rules), splits)
    return found


def _fixed(pattern: str) -> str:
    """The folders in front of the first slot of a pattern."""
    return pattern.partition("{")[0].rpartition("/")[0]


def _set(rules: tuple[Rule, ...], splits: dict[str, str]) -> MaskSet:
    pairs: dict[str, list[str]] = {}
    for rule in rules:
        pairs |= {
            image: sorted(masks, key=lambda path: natural(Path(path))) for image, masks in rule.by_image().items()
        }
    several = any(rule.several for rule in rules)
    one = MaskSet(rules, pairs, "object" if several else None)
    return _as_classes(one, splits) if several else one


def _as_classes(one: MaskSet, splits: dict[str, str]) -> MaskSet:
    """A set of several files an image whose `{object}` is a class: every image has the same ones, or they are words."""
    texts: dict[str, list[str]] = defaultdict(list)
    patterns = [Pattern(rule.mask, splits) for rule in one.rules]
    for image, masks in one.pairs.items():
        for mask in masks:
            match = next((m for p in patterns if (m := p.match(mask))), None)
            if match is None or "object" not in match.slots:
                return one
            texts[image].append(match.slots["object"])
    every = sorted({text for found in texts.values() for text in found}, key=lambda text: natural(Path(text)))
    same = len(texts) > 2 and all(len(found) == len(every) for found in texts.values())
    if not (same and 2 <= len(every) <= 254):
        return one
    rules = tuple(replace(rule, mask=rule.mask.replace("{object}", "{class}")) for rule in one.rules)
    return MaskSet(rules, one.pairs, "class", tuple(every))


def _without_endings(rules: Sequence[Rule]) -> list[Rule]:
    """Rules that differ in the endings of files alone become one, with `.*`."""
    groups: dict[tuple[str, str], list[Rule]] = defaultdict(list)
    for rule in rules:
        groups[rule.image.rpartition(".")[0], rule.mask.rpartition(".")[0]].append(rule)
    found = []
    for (image, mask), group in groups.items():
        if len(group) == 1:
            found += group
            continue
        endings = [{rule.image.rpartition(".")[2] for rule in group}, {rule.mask.rpartition(".")[2] for rule in group}]
        texts = [
            f"{body}.{next(iter(names)) if len(names) == 1 else '*'}"
            for body, names in zip((image, mask), endings, strict=True)
        ]
        found.append(
            Rule(
                texts[0],
                texts[1],
                tuple(pair for rule in group for pair in rule.pairs),
                any(rule.several for rule in group),
                sum(rule.fitting for rule in group),
            )
        )
    return found


def _signature(rule: Rule) -> tuple[str, ...]:
    """The words of the mask's pattern that are not in the image's."""
    words = [re.findall(r"[^\W\d_]+", re.sub(r"\{[a-z0-9]+\}", "/", text).lower()) for text in (rule.mask, rule.image)]
    return tuple(word for word in words[0] if word not in words[1])


def with_class_files(sets: Sequence[MaskSet], facts: dict[str, SetFacts]) -> list[MaskSet]:
    """Sets of two values that differ in one word of their patterns, and whose objects never overlap, as one set."""
    left = list(sets)
    found: list[MaskSet] = []
    while True:
        groups: dict[tuple[str, str, str], list[MaskSet]] = defaultdict(list)
        for one in left:
            if len(one.rules) == 1 and one.slot is None:
                for prefix, _, suffix in _middles(one.rules[0].mask):
                    groups[one.rules[0].image, prefix, suffix].append(one)
        groups = {key: group for key, group in groups.items() if len(group) > 1 and _exclusive(group, facts)}
        if not groups:
            return found + _by_pattern(left, facts)
        key = max(groups, key=lambda key: (len(groups[key]), len(key[1]) + len(key[2])))
        group, (image, prefix, suffix) = groups[key], key
        texts = tuple(one.rules[0].mask[len(prefix) : len(one.rules[0].mask) - len(suffix)] for one in group)
        pairs: dict[str, list[str]] = defaultdict(list)
        for one in group:
            for owner, masks in one.pairs.items():
                pairs[owner] += masks
        # `mask` and `mask_1` are one word: its files number the objects.
        slot = "class" if len({re.sub(r"[\W\d_]+", "", text) for text in texts}) > 1 else "object"
        rule = Rule(
            image,
            f"{prefix}{{{slot}}}{suffix}",
            tuple((owner, mask) for owner, masks in pairs.items() for mask in masks),
            several=True,
            fitting=sum(one.rules[0].fitting for one in group),
        )
        found.append(MaskSet((rule,), dict(pairs), slot, texts if slot == "class" else ()))
        left = [one for one in left if one not in group]


def _by_pattern(sets: list[MaskSet], facts: dict[str, SetFacts]) -> list[MaskSet]:
    """Sets of two values that never overlap, though their patterns differ in several places, as one set of a file a
    class: each class has its own patterns."""
    plain = [one for one in sets if one.slot is None]
    shown = [one for one in plain if not _words(one) & SHOWN_WORDS]
    if len(shown) < 2 or not _exclusive(shown, facts):
        return sets
    pairs: dict[str, list[str]] = defaultdict(list)
    for one in shown:
        for owner, masks in one.pairs.items():
            pairs[owner] += masks
    rules = tuple(rule for one in shown for rule in one.rules)
    texts = tuple(word_of(one, shown) for one in shown)
    patterns = tuple(tuple(rule.mask for rule in one.rules) for one in shown)
    return [MaskSet(rules, dict(pairs), "class", texts, patterns), *(one for one in sets if one not in shown)]


def _words(one: MaskSet) -> set[str]:
    return {word for rule in one.rules for word in re.findall(r"[^\W\d_]+", rule.mask.lower())}


def word_of(one: MaskSet, sets: Sequence[MaskSet]) -> str:
    """The shortest text that tells the paths of a set from those of the others."""
    others = [path.lower() for other in sets if other is not one for masks in other.pairs.values() for path in masks]
    own = [path.lower() for masks in one.pairs.values() for path in masks]
    pattern = one.rules[0].mask
    texts = [part for part in re.split(r"\{[a-z0-9]+\}|\*|/", pattern.rpartition(".")[0]) if part]
    folders = pattern.split("/")[:-1]
    above = ["/".join(folders[: i + 1]) for i in range(len(folders)) if "{" not in "/".join(folders[: i + 1])]
    candidates = {text for text in (*(text.strip("_-. ") for text in texts), *texts, *above) if text}
    for text in sorted(candidates, key=lambda text: (len(text), text)):
        if all(text.lower() in path for path in own) and not any(text.lower() in path for path in others):
            return text
    return pattern


def _middles(pattern: str) -> Iterable[tuple[str, str, str]]:
    """The ways to see one word of a pattern as that of a class: (before, word, behind)."""
    for part in re.finditer(r"[^/{}*]+", pattern.rpartition(".")[0]):
        text = part[0]
        pieces = [(m.start(), m.end()) for m in re.finditer(r"[^\W_]+", text)]
        for i in range(len(pieces)):
            for j in range(i, len(pieces)):
                start, end = part.start() + pieces[i][0], part.start() + pieces[j][1]
                yield pattern[:start], pattern[start:end], pattern[end:]


def _exclusive(group: Sequence[MaskSet], facts: dict[str, SetFacts]) -> bool:
    """Whether the sets have two values each and mark no pixel twice."""
    marked: dict[str, npt.NDArray[np.int64]] = {}
    own: dict[str, list[tuple[str, npt.NDArray[np.bool_]]]] = defaultdict(list)
    for one in group:
        for image in facts[one.name].values:
            values = facts[one.name].merged(image)
            if len(np.unique(values)) > 2:
                return False
            where = (values != 0).astype(np.int64)
            if where.all():
                return False
            if where.any():
                own[one.name].append((image, where > 0))
            if image in marked and marked[image].shape != where.shape:
                return False
            marked[image] = marked[image] + where if image in marked else where
    overlap = sum(int((count > 1).sum()) for count in marked.values())
    union = sum(int((count > 0).sum()) for count in marked.values())
    # Points inside the objects of another set are few pixels, but none of a class of their own.
    apart = all(
        sum(int((marked[image][where] > 1).sum()) for image, where in found)
        <= _SHARED * sum(int(where.sum()) for _, where in found)
        for found in own.values()
    )
    return len(own) > 1 and overlap <= 0.01 * max(union, 1) and apart


@dataclass
class Choice:
    """`sets` is what is left, one where all is clear; `dropped` maps the name of each other set to the reason."""

    sets: list[MaskSet]
    dropped: dict[str, str] = field(default_factory=dict)


def choose(root: Path, sets: Sequence[MaskSet], variable: str | None = None) -> tuple[Choice, dict[str, SetFacts]]:
    """Leaves out the sets that add nothing to another one."""
    facts = facts_of(root, sets, variable)
    sets = with_class_files(sets, facts)
    facts |= facts_of(root, [one for one in sets if one.name not in facts], variable)
    choice = Choice(list(sets))

    def drop(one: MaskSet, why: str) -> None:
        if one in choice.sets and len(choice.sets) > 1:
            choice.sets.remove(one)
            choice.dropped[one.name] = why

    most = max((len(one.pairs) for one in sets), default=0)
    for one in sorted(choice.sets, key=lambda one: len(one.pairs)):
        if len(one.pairs) < 0.7 * most:
            drop(one, f"is there for {len(one.pairs)} of {most} images")
    if any(not _words(one) & SHOWN_WORDS for one in choice.sets):
        for one in list(choice.sets):
            if called := _words(one) & SHOWN_WORDS:
                drop(one, f"is called {sorted(called)[0]}")
    for one in list(choice.sets):
        if not facts[one.name].values:
            drop(one, "cannot be read")
        elif len(choice.sets) > 1 and constant(facts[one.name]):
            drop(one, "is the same in every image, as a field of view is")
        elif len(choice.sets) > 1 and markers(facts[one.name]):
            drop(one, "marks single points")
    for one in choice.sets:
        facts[one.name].instances = are_instances(root, facts[one.name]) if one.slot is None else False
    for a in sorted(choice.sets, key=lambda one: (facts[one.name].instances is not True, one.name)):
        for b in list(choice.sets):
            if a is not b and a in choice.sets and b in choice.sets:
                why = adds_nothing(root, facts[a.name], facts[b.name])
                if why:
                    drop(a, f"{why} {b.name}")
    return choice, facts


def several(root: Path, sets: Sequence[MaskSet], facts: dict[str, SetFacts]) -> ConfigError:
    """The question which of several sets is to be read, with what is in each."""
    rows = []
    for one in sets:
        present = Counter[int]()
        for image in facts[one.name].values:
            values, counts = np.unique(facts[one.name].merged(image), return_counts=True)
            present.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        seen = sorted(present)
        shown = [f"#{value:06X}" if seen[-1] > 65535 else str(value) for value in seen[:6]]
        share = percent(1 - present[0] / max(present.total(), 1))
        rows.append(
            f"{one.name} ({plural(len(one.pairs), 'image')}, values {', '.join(shown)}"
            f"{'…' * (len(seen) > 6)}, {share} not 0)"
        )
    option = argument("masks")
    return ConfigError(
        f"{root}: {plural(len(sets), 'set')} of masks fit the images: {'; '.join(rows)}; choose with "
        f"{' or '.join(f'{option} {word_of(one, sets)!r}' for one in sets)} ({argument('images')} chooses the "
        "images in the same way)"
    )
