"""What the pixels of a few masks say about a set: whether its values are classes or objects, and whether it adds
anything to another one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cc3d
import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.mask_files import ARRAY_SUFFIXES, read_array
from maskwright.core.sample import open_image, read_image
from maskwright.data.layouts.files import in_one_number, plain_pixels
from maskwright.data.layouts.pairing import Rule
from maskwright.errors import MaskwrightError

Values = npt.NDArray[np.int64]

_LOOKED = 12  # images whose masks are compared
_SIDE = 1024
_MOST = 2000  # values in a mask
_REGION = 6  # pixels
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
                array = plain_pixels(image)
    except MaskwrightError:
        return None
    step = max(1, max(array.shape[:2]) // _SIDE)
    values = in_one_number(array[::step, ::step])
    if array.ndim == 3:
        red = values >> 16
        if (values == red * 0x010101).all() or (values == red << 16).all():  # grey, or numbers in one channel
            return red
    return values


def are_instances(root: Path, facts: SetFacts) -> bool | None:
    """Whether the values are numbers of objects: each is one connected part, and looks no more alike across images
    than different values do. None where that is unclear."""
    if _smooth(facts):
        return False
    single = total = 0
    colours: dict[int, list[npt.NDArray[np.float64]]] = defaultdict(list)
    seen: Counter[int] = Counter()
    present_in: dict[str, list[int]] = {}
    counting = True
    for image, arrays in facts.values.items():
        values = arrays[0]
        present = [value for value in _regions(values) if value not in (0, 255)]
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


def class_channels(root: Path, facts: SetFacts) -> str:
    """The channels of colours that say the class, where another one numbers the objects of it; else all of them."""
    arrays = {image: facts.merged(image) for image in facts.values}
    if not any(array.max() > 65535 for array in arrays.values()) or _smooth(facts):
        return "rgb"
    sizes: Counter[int] = Counter()
    for array in arrays.values():
        found, counts = np.unique(array, return_counts=True)
        sizes.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
    for dropped, shift in (("b", 0), ("g", 8), ("r", 16)):
        kept = {image: [array & ~np.int64(255 << shift)] for image, array in arrays.items()}
        forward: dict[int, set[int]] = defaultdict(set)
        back: dict[int, set[int]] = defaultdict(set)
        for image, array in arrays.items():
            for x, y in _both(array, kept[image][0]):
                forward[x].add(y)
                back[y].add(x)
        # Stray colours beside that of a class are no objects of it.
        several = sum(
            len(fine) > 1 and max(sizes[v] for v in fine) < 0.95 * sum(sizes[v] for v in fine) for fine in back.values()
        )
        numbers = {value >> shift & 255 for value in forward}
        if several > 1 and numbers <= set(range(max(numbers) + 1)) and len(numbers) >= 0.8 * (max(numbers) + 1):
            coarse = SetFacts(facts.set, kept)
            if _numbers_objects(root, facts, coarse, forward, back):
                return "rgb".replace(dropped, "")
    return "rgb"


def _numbers_objects(
    root: Path, fine: SetFacts, coarse: SetFacts, forward: dict[int, set[int]], back: dict[int, set[int]]
) -> bool:
    """Whether the values of `fine` tell the objects of the classes of `coarse` apart: where a class has several, each
    is one connected part and is in few images, or looks no more alike across images than another one."""
    divided = {value for values in back.values() if len(values) > 1 for value in values}
    divided |= {value for value, values in forward.items() if len(values) > 1}
    if not divided:
        return False
    single = total = 0
    colours: dict[int, list[npt.NDArray[np.float64]]] = defaultdict(list)
    for image in fine.values:
        values = fine.merged(image)
        picture = _picture(root / image, values.shape)
        for value in sorted(divided & set(_regions(values)))[:100]:
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


def adds_nothing(root: Path, a: SetFacts, b: SetFacts) -> str | None:
    """Why set `a` is not needed beside `b`."""
    images = [image for image in a.values if image in b.values]
    if _smooth(a) or _smooth(b):
        return None
    relations: list[tuple[int, int, int]] = []
    forward: dict[int, set[int]] = defaultdict(set)
    back: dict[int, set[int]] = defaultdict(set)
    colours = [0, 0]
    same_but_ignored, classes = True, False
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
        classes |= bool(((first != 0) & (first != 255)).any())
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
    if same_but_ignored and fewer and classes:  # in masks of 0 and 255 alone, 255 is no mark for what does not count
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


def constant(facts: SetFacts) -> bool:
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


def markers(facts: SetFacts) -> bool:
    """Whether nothing but single points is marked."""
    areas: list[float] = []
    for image in facts.values:
        marked = facts.merged(image) != 0
        _, parts = cc3d.connected_components(marked, connectivity=8, return_N=True)
        if parts:
            areas.append(float(marked.sum()) / parts)
    return bool(areas) and max(areas) <= 6


def _regions(values: Values) -> list[int]:
    """The values that are more than stray pixels."""
    found, counts = np.unique(values, return_counts=True)
    return [value for value, count in zip(found.tolist(), counts.tolist(), strict=True) if count >= _REGION]


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
