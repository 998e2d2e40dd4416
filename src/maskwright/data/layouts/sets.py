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
from typing import Any

import cc3d
import cv2
import numpy as np
import numpy.typing as npt

from maskwright.base.storage import natural
from maskwright.core.mask_files import ARRAY_SUFFIXES, read_array
from maskwright.core.patterns import Pattern
from maskwright.core.sample import open_image, read_image
from maskwright.data.layouts.files import SHOWN_WORDS
from maskwright.data.layouts.pairing import Rule
from maskwright.errors import MaskwrightError

Values = npt.NDArray[np.int64]

_LOOKED = 12  # images whose masks are compared
_SIDE = 1024
_MOST = 2000  # values in a mask
_ALIKE, _UNLIKE = 0.6, 0.85


@dataclass(frozen=True)
class MaskSet:
    """Masks that belong together: `pairs` maps an image to its masks. `slot` is `class` or `object` where it has
    several, with the texts of `{class}` in `texts`; where there is no such slot, `patterns` are those of each class."""

    rules: tuple[Rule, ...]
    pairs: dict[str, list[str]] = field(repr=False)
    slot: str | None = None
    texts: tuple[str, ...] = ()
    patterns: tuple[tuple[str, ...], ...] = ()

    @property
    def name(self) -> str:
        """What the user calls it by: its patterns."""
        return ", ".join(rule.mask for rule in self.rules)


@dataclass
class SetFacts:
    """What a few masks of a set show: their values by image, and what these are."""

    set: MaskSet
    values: dict[str, list[Values]]
    instances: bool | None = False

    def merged(self, image: str) -> Values:
        """The values of all masks of an image in one array, later ones on top."""
        found = self.values[image][0].copy()
        for more in self.values[image][1:]:
            if more.shape == found.shape:
                found[more != 0] = more[more != 0]
        return found


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
                for prefix, text, suffix in _middles(one.rules[0].mask):
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
    class: each class is told by its patterns."""
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
    some: Counter[str] = Counter()
    for one in group:
        for image in facts[one.name].values:
            values = facts[one.name].merged(image)
            if len(np.unique(values)) > 2:
                return False
            where = (values != 0).astype(np.int64)
            if where.all():
                return False
            some[one.name] += int(where.any())
            if image in marked and marked[image].shape != where.shape:
                return False
            marked[image] = marked[image] + where if image in marked else where
    overlap = sum(int((count > 1).sum()) for count in marked.values())
    union = sum(int((count > 0).sum()) for count in marked.values())
    return sum(count > 0 for count in some.values()) > 1 and overlap <= 0.01 * max(union, 1)


def facts_of(root: Path, sets: Sequence[MaskSet], variable: str | None = None) -> dict[str, SetFacts]:
    """The values in masks of the same few images, by the name of the set."""
    often = Counter(image for one in sets for image in one.pairs)
    most = max(often.values(), default=0)
    images = sorted(image for image, count in often.items() if count == most)
    looked = images[:: max(1, len(images) // _LOOKED)][:_LOOKED]
    found = {}
    for one in sets:
        own = [image for image in looked if image in one.pairs]
        own += sorted(set(one.pairs) - set(own))[: max(0, 3 - len(own))]
        values = {}
        for image in own:
            read = [v for mask in one.pairs[image][:64] if (v := read_values(root / mask, variable)) is not None]
            if read:
                values[image] = read
        found[one.name] = SetFacts(one, values)
    return found


def read_values(path: Path, variable: str | None = None) -> Values | None:
    """(H, W) values of a mask: grey, indices, or red, green and blue in one number; every other pixel of large ones.
    None for a file that cannot be read."""
    try:
        if path.suffix.lower() in ARRAY_SUFFIXES:
            array: npt.NDArray[Any] = read_array(path, variable)
        else:
            with open_image(path, page=0) as image:
                plain = image.mode in ("1", "L", "P", "F") or image.mode.startswith("I")
                array = np.asarray(image if plain else image.convert("RGB"))
    except MaskwrightError:
        return None
    step = max(1, max(array.shape[:2]) // _SIDE)
    array = np.nan_to_num(array[::step, ::step].astype(np.float64)).astype(np.int64)
    if array.ndim == 3:
        array = array[..., 0] << 16 | array[..., 1] << 8 | array[..., 2]
        red = array >> 16
        if (array == red * 0x010101).all():
            array = red
    return array


def are_instances(root: Path, facts: SetFacts) -> bool | None:
    """Whether the values are numbers of objects: each is one connected part, and looks no more alike across images
    than different values do. None where that cannot be told."""
    if _smooth(facts):
        return False
    single = total = 0
    colours: dict[int, list[npt.NDArray[np.float64]]] = defaultdict(list)
    seen: Counter[int] = Counter()
    present_in: dict[str, list[int]] = {}
    counting = True
    for image, arrays in facts.values.items():
        values = arrays[0]
        present = [int(v) for v in np.unique(values) if v != 0 and v != 255]
        counting &= present == list(range(1, len(present) + 1))
        present_in[image] = present
        picture = _picture(root / image, values.shape)
        for value in present[:60]:
            where = values == value
            _, parts = cc3d.connected_components(where, connectivity=8, return_N=True)
            single += parts == 1
            total += 1
            seen[value] += 1
            if picture is not None:
                colours[value].append(picture[where].mean(0))
    if total < 3 or len(seen) < 2 or single < 0.9 * total:
        return False
    if sum(count == 1 for count in seen.values()) > 0.8 * len(seen) and len(seen) > 2 * len(facts.values):
        return True
    within = _distances([(a, b) for found in colours.values() for i, a in enumerate(found) for b in found[:i]])
    several = list(colours.items())
    between = _distances(
        [
            (a, b)
            for i, (_, first) in enumerate(several)
            for _, second in several[:i]
            for a in first[:4]
            for b in second[:4]
        ]
    )
    varying = len({len(arrays) for arrays in present_in.values()}) > 1 and len(seen) > 2
    if within is None or between is None:
        return None if counting and varying else False
    ratio = within / max(between, 1e-9)
    if ratio < _ALIKE or not varying:
        return False
    # Numbers of objects begin with 1 in each image, and the same number is another object there.
    return True if counting and ratio > _UNLIKE else None if counting else False


def _smooth(facts: SetFacts) -> bool:
    """Whether there are more values than any classes or objects have, as after compression."""
    return any(len(np.unique(array)) > _MOST for arrays in facts.values.values() for array in arrays[:1])


def _both(first: Values, second: Values) -> list[tuple[int, int]]:
    """The pairs of values that lie on each other."""
    codes = np.unique(first.reshape(-1) << 24 | second.reshape(-1))
    return [(code >> 24, code & 0xFFFFFF) for code in codes.tolist()]


def _distances(pairs: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]) -> float | None:
    return float(np.mean([np.linalg.norm(a - b) for a, b in pairs[:2000]])) if len(pairs) >= 3 else None


def _picture(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float64] | None:
    try:
        found = read_image(path, "ignore", page=0)
    except MaskwrightError:
        return None
    if found.shape[:2] != shape:
        found = cv2.resize(found, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return found.astype(np.float64)


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
        elif len(choice.sets) > 1 and _constant(facts[one.name]):
            drop(one, "is the same in every image, as a field of view is")
        elif len(choice.sets) > 1 and _markers(facts[one.name]):
            drop(one, "marks single points")
    for one in choice.sets:
        facts[one.name].instances = are_instances(root, facts[one.name]) if one.slot is None else False
    for a in sorted(choice.sets, key=lambda one: (facts[one.name].instances is not True, one.name), reverse=False):
        for b in list(choice.sets):
            if a is not b and a in choice.sets and b in choice.sets:
                why = _adds_nothing(root, facts[a.name], facts[b.name])
                if why:
                    drop(a, f"{why} {b.name}")
    return choice, facts


def class_channels(root: Path, facts: SetFacts) -> str:
    """The channels of colours that say the class, where another one numbers the objects of it; else all of them."""
    arrays = {image: facts.merged(image) for image in facts.values}
    if not any(array.max() > 65535 for array in arrays.values()) or _smooth(facts):
        return "rgb"
    for dropped, shift in (("b", 0), ("g", 8), ("r", 16)):
        kept = {image: [array & ~np.int64(255 << shift)] for image, array in arrays.items()}
        forward: dict[int, set[int]] = defaultdict(set)
        back: dict[int, set[int]] = defaultdict(set)
        for image, array in arrays.items():
            for x, y in _both(array, kept[image][0]):
                forward[x].add(y)
                back[y].add(x)
        several = sum(len(fine) > 1 for fine in back.values())
        numbers = {value >> shift & 255 for value in forward}
        if several > 1 and numbers <= set(range(max(numbers) + 1)) and len(numbers) >= 0.8 * (max(numbers) + 1):
            coarse = SetFacts(facts.set, kept)
            if _numbers_objects(root, facts, coarse, forward, back):
                return "rgb".replace(dropped, "")
    return "rgb"


def _adds_nothing(root: Path, a: SetFacts, b: SetFacts) -> str | None:
    """Why set `a` is not needed beside `b`."""
    images = [image for image in a.values if image in b.values]
    if _smooth(a) or _smooth(b):
        return None
    relations: list[tuple[int, int, int]] = []
    forward: dict[int, set[int]] = defaultdict(set)
    back: dict[int, set[int]] = defaultdict(set)
    colours = [0, 0]
    same_but_ignored = True
    fewer = 0
    for image in images:
        first, second = a.merged(image), b.merged(image)
        if first.shape != second.shape:
            return None
        codes = _both(first, second)
        relations.append((len(codes), len({x for x, _ in codes}), len({y for _, y in codes})))
        for x, y in codes:
            forward[x].add(y)
            back[y].add(x)
        colours[0] += int(first.max() > 65535)
        colours[1] += int(second.max() > 65535)
        differ = first != second
        same_but_ignored &= bool((first[differ] == 255).all())
        fewer += int(differ.sum())
    if not images:
        return None
    same = all(both == own == other for both, own, other in relations)
    a_from_b = all(len(values) == 1 for values in back.values())
    b_from_a = all(len(values) == 1 for values in forward.values())
    finer = all(both == own for both, own, _ in relations)
    coarser = all(both == other for both, _, other in relations)
    if same and a_from_b and b_from_a:
        ids_first = (bool(colours[0]), a.set.name) > (bool(colours[1]), b.set.name)
        return "has the same labels as" if ids_first else None
    if finer and _numbers_objects(root, a, b, forward, back):
        return "numbers the objects of"
    if _subset(a, b, images):
        return "marks points or lines inside"
    if same_but_ignored and fewer:
        return "has pixels that do not count where there are labels in"
    if a_from_b and not b_from_a and coarser and not _numbers_objects(root, b, a, back, forward):
        return "is a coarser form of"
    return None


def _subset(a: SetFacts, b: SetFacts, images: Sequence[str]) -> bool:
    """Whether `a` marks only points and lines, and only where `b` marks something."""
    some = 0
    for image in images:
        first, second = a.merged(image) != 0, b.merged(image) != 0
        if (first & ~second).any() or cv2.erode(first.astype(np.uint8), np.ones((2, 2), np.uint8)).any():
            return False
        if 2 * int(first.sum()) > int(second.sum()):
            return False
        some += int(first.any())
    return some > 0


def _numbers_objects(
    root: Path, fine: SetFacts, coarse: SetFacts, forward: dict[int, set[int]], back: dict[int, set[int]]
) -> bool:
    """Whether the values of `fine` tell the objects of the classes of `coarse` apart: where a class has several, each is
    one connected part and is in few images, or looks no more alike across images than another one."""
    divided = {value for values in back.values() if len(values) > 1 for value in values}
    divided |= {value for value, values in forward.items() if len(values) > 1}
    if not divided:
        return False
    single = total = 0
    colours: dict[int, list[npt.NDArray[np.float64]]] = defaultdict(list)
    for image in fine.values:
        values = fine.merged(image)
        picture = _picture(root / image, values.shape)
        for value in sorted(divided & set(np.unique(values).tolist()))[:100]:
            where = values == value
            _, parts = cc3d.connected_components(where, connectivity=8, return_N=True)
            single += parts == 1
            total += 1
            colours[value].append(picture[where].mean(0) if picture is not None else np.zeros(3))
    own = [value for value in divided if value and len(colours[value])]
    if not own or single < 0.9 * total:
        return False
    if sum(len(colours[value]) == 1 for value in own) >= 0.7 * len(own):
        return True
    within = _distances([(a, b) for value in own for i, a in enumerate(colours[value]) for b in colours[value][:i]])
    between = _distances(
        [
            (a, b)
            for i, x in enumerate(own)
            for y in own[:i]
            if forward[x] & forward[y]
            for a in colours[x][:4]
            for b in colours[y][:4]
        ]
    )
    return within is None or between is None or within > _ALIKE * between


def _constant(facts: SetFacts) -> bool:
    """Whether masks of two values mark the same region in every image, and a large one."""
    maps = []
    for image in facts.values:
        values = facts.merged(image)
        if len(np.unique(values)) > 2:
            return False
        marked = (values != 0).astype(np.float32)
        maps.append(cv2.resize(marked, (12, 12), interpolation=cv2.INTER_AREA))
    if len(maps) < 3:
        return False
    stack = np.stack(maps)
    return float(np.abs(stack - stack.mean(0)).mean()) < 0.06 and float(stack.mean()) > 0.2


def _markers(facts: SetFacts) -> bool:
    """Whether nothing but single points is marked."""
    areas: list[float] = []
    for image in facts.values:
        marked = facts.merged(image) != 0
        _, parts = cc3d.connected_components(marked, connectivity=8, return_N=True)
        if parts:
            areas.append(float(marked.sum()) / parts)
    return bool(areas) and max(areas) <= 6
