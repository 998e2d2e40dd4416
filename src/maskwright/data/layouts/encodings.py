"""What the values in masks mean, decided from all kinds of files of a set.

Where two readings are possible, none is chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.base.texts import counted
from maskwright.core.classes import IGNORE_ID, MAX_CLASSES, free_ignore_id
from maskwright.core.description import ClassSpec, MasksSpec
from maskwright.core.palette import Colour, colour_of, to_hex
from maskwright.data.layouts.colours import of_colours
from maskwright.data.layouts.found import NOTHING_SAID, Answers
from maskwright.data.layouts.tables import ClassTable
from maskwright.data.layouts.values import IGNORE_NAMES, SPECK, STRAY, Meaning, ValueCounts, add_file
from maskwright.errors import ConfigError, argument

_READ = 400  # masks
_NEAR_LEVEL = 32
# The share of the grey pixels that lie between darker and brighter ones, where they are smoothed outlines.
_OUTLINE = 0.8


def meaning_of(
    root: Path,
    groups: Sequence[Sequence[str]],
    tables: Sequence[ClassTable],
    *,
    instances: bool = False,
    channels: str = "rgb",
    answers: Answers = NOTHING_SAID,
) -> Meaning:
    """What the values in masks mean: `groups` are their paths by kind, each of which is looked into.

    ConfigError where the user has to say it, DataError where they are no masks.
    """
    total = sum(map(len, groups))
    seen = ValueCounts()
    for group in groups:
        number = max(8, round(_READ * len(group) / max(total, 1)))
        step = max(1, len(group) // number)
        for path in group[::step][:number]:
            add_file(root / path, seen, answers, channels)
    where = f"seen in {seen.files} of {total} masks"
    if not seen.grey and not seen.colours:
        return _unknown(tables)
    if seen.inverted and answers.inverted is None:
        dark = float(np.mean(seen.shown_dark))
        raise ConfigError(
            f"{root}: {counted(seen.inverted, 'mask{ stores|s store}')} white as 0, so two readings are possible: the "
            f"values as stored ({1 - dark:.1%} of the pixels are 0) or as shown ({dark:.1%} are 0); choose with "
            f"{argument('inverted')} stored or {argument('inverted')} shown"
        )
    if answers.levels and seen.colours:
        raise ConfigError(f"{root}: the masks hold colours and no grey values; leave {argument('levels')} out")
    if answers.levels:
        levels = {level: i for i, level in enumerate(answers.levels)}
        found = _levels(seen, levels, tables, {"encoding": f"levels as given ({where})"}, None)
    elif answers.encoding == "objects" or (instances and answers.encoding is None):
        found = _objects(seen, where)
    elif answers.encoding == "index" and not seen.colours and not seen.lossy:
        found = _ids(root, seen, tables, where)
    else:
        found = (of_colours if seen.colours else _of_grey)(root, seen, tables, where)
    if answers.encoding is not None and found.masks.encoding != answers.encoding:
        raise ConfigError(
            f"{root}: the masks cannot be read as {answers.encoding}, as their values are {found.masks.encoding}; "
            f"leave {argument('encoding')} out"
        )
    if answers.inverted:
        found.masks = found.masks.model_copy(update={"inverted": answers.inverted})
    if channels != "rgb":
        found.masks = found.masks.model_copy(update={"channels": channels})
        found.reasons["channels"] = "the other channel numbers the objects of a class"
    if answers.variable:
        found.masks = found.masks.model_copy(update={"variable": answers.variable})
    return found


def _unknown(tables: Sequence[ClassTable]) -> Meaning:
    reasons = {"classes": "no readable mask to tell from: edit the names and ids"}
    classes, ids = _named([0, 1], tables, reasons, fill=True)
    return Meaning(MasksSpec(), classes, free_ignore_id(ids), reasons, unsure=["no mask could be read"])


def _of_grey(root: Path, seen: ValueCounts, tables: Sequence[ClassTable], where: str) -> Meaning:
    grey = seen.grey
    values = sorted(grey)
    kinds = {values_of - {0} for values_of in seen.sets}
    if len(kinds - {frozenset()}) > 1 and kinds <= {frozenset(), frozenset({1}), frozenset({255})}:
        reasons = {"encoding": f"some masks hold 0 and 1, others 0 and 255 ({where}); 1 and 255 are one class"}
        return _levels(seen, {0: 0, 1: 1, 255: 1}, tables, reasons, "refuse")
    if levels := _even_levels(values, bool(seen.lossy)):
        reasons = {"encoding": f"masks with the grey values {', '.join(map(str, levels))} ({where})"}
        return _levels(seen, {level: i for i, level in enumerate(levels)}, tables, reasons, None)
    if _nearly_binary(seen):
        reasons = {
            "encoding": f"{'JPEG ' if seen.lossy else ''}masks with grey values around 0 and 255 ({where}); each pixel "
            "goes to the nearest"
        }
        return _levels(seen, {0: 0, 255: 1}, tables, reasons, None)
    if seen.lossy:
        raise ConfigError(
            f"{root}: {counted(seen.lossy, 'mask{ is|s are}')} JPEG with {len(values)} grey values and no clear "
            f"levels; give them with {argument('levels')}"
        )
    if len(values) > 24 and values[-1] <= 255 and (np.mean(seen.flat) < 0.85 or seen.between > 0.5 * _rare(grey)):
        raise ConfigError(
            f"{root}: the masks hold {len(values)} grey values and no clear levels, as after resizing with "
            f"interpolation; give the levels with {argument('levels')}, or resize the masks again without interpolation"
        )
    _refuse_other_palettes(root, seen)
    return _ids(root, seen, tables, where)


def _ids(root: Path, seen: ValueCounts, tables: Sequence[ClassTable], where: str) -> Meaning:
    """The values are class ids."""
    grey, total = seen.grey, seen.grey.total()
    values = sorted(grey)
    stray = [v for v in values if grey[v] < STRAY * total and seen.specks.get(v, SPECK + 1) <= SPECK]
    ids = [v for v in values if v not in stray]
    unsure = []
    ignore = IGNORE_ID if IGNORE_ID in ids else free_ignore_id(values)
    ids = [value for value in ids if value != ignore]
    if len(ids) > MAX_CLASSES:
        raise ConfigError(
            f"{root}: the masks hold {len(ids)} different values; if they are instance ids or grey "
            f"photographs, they are not class masks"
        )
    if not ids:
        ids = [0]
    listed = ", ".join(map(str, ids[:12])) + ("…" if len(ids) > 12 else "")
    reasons = {"encoding": f"pixel values are class ids: {listed} ({where})"}
    if IGNORE_ID in values and ignore == IGNORE_ID:
        reasons["ignore"] = f"the value {IGNORE_ID} occurs and is taken as `do not count`"
        if 254 in values or ids in ([0], [1]):
            unsure.append(f"the value {IGNORE_ID} is taken for pixels that do not count; it may be a class")
        alone = sum(count for found, count in seen.sets.items() if found - {0} == {IGNORE_ID})
        if alone and not any(IGNORE_ID in found and found - {0, IGNORE_ID} for found in seen.sets):
            unsure.append(
                f"{counted(alone, 'mask{ holds|s hold}')} {IGNORE_ID} and no class, the others classes and no "
                f"{IGNORE_ID}; it is taken for pixels that do not count, and may be a class there"
            )
    unsure += _families(seen)
    classes, known = _named(ids, tables, reasons)
    shown = {leaf.id: leaf for leaf in classes}
    for value, shades in seen.palette.items():
        # The palette's colours, where they differ: they are how the masks were looked at.
        if (
            value in shown
            and len(shades) == 1
            and len({next(iter(s)) for s in seen.palette.values()}) == len(seen.palette)
        ):
            shown[value] = shown[value].model_copy(update={"colour": f"#{next(iter(shades)):06X}"})
    coloured = [shown[leaf.id] for leaf in classes if leaf.id is not None]
    if len({leaf.colour for leaf in coloured}) == len(coloured):
        classes = coloured
    lost = sum(grey[v] for v in stray)
    if lost:
        reasons["others"] = f"{lost} of {total} pixels have one of {len(stray)} stray values and are ignored"
        unsure.append(reasons["others"])
    ignore = ignore if ignore not in known else free_ignore_id(known)
    return Meaning(
        MasksSpec(others="ignore" if lost else None),
        classes,
        ignore,
        reasons,
        1 - lost / total,
        {v: grey[v] / total for v in ids},
        unsure,
    )


def _families(seen: ValueCounts) -> list[str]:
    """What to say of masks that have no value but 0 in common with others, as where some were scaled."""
    families: list[tuple[set[int], int]] = []
    for found, count in seen.sets.items():
        values = set(found) - {0}
        near = [family for family in families if family[0] & values]
        families = [family for family in families if family not in near]
        if values:
            families.append((values.union(*(own for own, _ in near)), count + sum(number for _, number in near)))
    several = sorted((min(values), values, count) for values, count in families if len(values) > 1)
    if len(several) < 2:
        return []
    texts = [f"{counted(n, 'mask{ holds|s hold}')} {', '.join(map(str, sorted(v)[:6]))}" for _, v, n in several[:3]]
    return [f"{'; '.join(texts)}; these may be the same classes in other values"]


def _refuse_other_palettes(root: Path, seen: ValueCounts) -> None:
    """ConfigError where one colour stands for several indices: then either may be the class."""
    owners: dict[int, set[int]] = {}
    for value, shades in seen.palette.items():
        for shade in shades:
            owners.setdefault(shade, set()).add(value)
    for shade, values in sorted(owners.items()):
        if len(values) > 1 and all(len(seen.palette[value]) > 1 for value in values):
            listed = " and ".join(map(str, sorted(values)))
            raise ConfigError(
                f"{root}: the palettes of the masks differ: #{shade:06X} is {listed}; choose with "
                f"{argument('encoding')} index or {argument('encoding')} colour, as either may be the class"
            )


def _rare(grey: Counter[int]) -> int:
    """Pixels of values that are not among the eight most frequent."""
    return sum(count for _, count in grey.most_common()[8:]) or 1


def _even_levels(values: Sequence[int], lossy: bool) -> list[int]:
    """Grey levels that are evenly spread up to 255."""
    if values == [255]:
        return [0, 255]
    if lossy or len(values) < 2 or len(values) > 16 or values[-1] > 255:
        return []
    return list(values) if np.abs(np.linspace(0, 255, len(values)) - values).max() <= 1 else []


def _nearly_binary(seen: ValueCounts) -> bool:
    """Whether the values crowd around black and white: from compression, or from outlines that were smoothed."""
    values, total = sorted(seen.grey), seen.grey.total()
    if values[-1] > 255 or values[-1] < 255 - _NEAR_LEVEL:
        return False
    grey = total - seen.grey[0] - seen.grey[255]
    if 0 < grey < 0.5 * total and seen.outline >= _OUTLINE * grey:
        return True
    low = sum(n for v, n in seen.grey.items() if v <= _NEAR_LEVEL)
    high = sum(n for v, n in seen.grey.items() if v >= 255 - _NEAR_LEVEL)
    if not high or not low or low + high < 0.95 * total:
        return False
    # Ids below 32 with 255 for what does not count have nothing just below 255.
    several = sum(255 - _NEAR_LEVEL <= v < 255 for v in values)
    return bool(seen.lossy) or several >= 2 or len(values) > 64


def _levels(
    seen: ValueCounts, levels: dict[int, int], tables: Sequence[ClassTable], reasons: dict[str, str], others: Any
) -> Meaning:
    ids = sorted({*levels.values()})
    names = ["background", "foreground"] if len(ids) == 2 else [f"class_{i}" for i in ids]
    reasons["classes"] = "one class per grey level, dark to bright: give them their names"
    by_colour = {(level, level, level): id_ for level, id_ in levels.items()}
    for table in tables:
        # A table of colours that names black and white.
        if {by_colour.get(colour) for colour in table.colours} >= set(ids):
            named = {by_colour[colour]: name for colour, name in table.colours.items() if colour in by_colour}
            names = [named[id_] for id_ in ids]
            reasons["classes"] = f"names from {table.file}"
            break
        if not table.colours and len(table.ids) == len(ids) and set(table.ids) == set(ids):
            names = [table.ids[id_] for id_ in ids]
            reasons["classes"] = f"names from {table.file}, by their order"
            break
    total = seen.grey.total()
    exact = sum(seen.grey[level] for level in levels) / total
    points = np.array(sorted(levels))
    shares: Counter[int] = Counter()
    for value, count in seen.grey.items():
        shares[levels[int(points[np.abs(points - value).argmin()])]] += count
    unsure = [] if exact == 1 else [f"{1 - exact:.2%} of the pixels have no level exactly and go to the nearest"]
    return Meaning(
        MasksSpec(encoding="levels", levels={str(level): id_ for level, id_ in levels.items()}, others=others),
        [ClassSpec(id=i, name=name, colour=to_hex(colour_of(i))) for i, name in zip(ids, names, strict=True)],
        free_ignore_id(ids),
        reasons,
        exact,
        {id_: count / total for id_, count in shares.items()},
        unsure,
    )


def _objects(seen: ValueCounts, where: str) -> Meaning:
    total = seen.grey.total() + seen.colours.total()
    back = seen.grey[0] + seen.colours[0]
    reasons = {
        "encoding": f"values are object numbers ({where}); every value but 0 is one class",
        "classes": "single objects are not kept apart: give the class its name",
    }
    classes = [
        ClassSpec(id=0, name="background", colour=to_hex(colour_of(0))),
        ClassSpec(id=1, name="object", colour=to_hex(colour_of(1))),
    ]
    return Meaning(
        MasksSpec(encoding="objects"), classes, IGNORE_ID, reasons, 1.0, {0: back / total, 1: 1 - back / total}
    )


def _named(
    ids: Sequence[int], tables: Sequence[ClassTable], reasons: dict[str, str], fill: bool = False
) -> tuple[list[ClassSpec], list[int]]:
    """Classes with these ids, named by the first table that knows all of them; classes of it that do not occur too."""
    ids = list(ids)
    names = {i: "background" if i == 0 else f"class_{i}" for i in ids}
    colours: dict[int, Colour] = {}
    for table in tables:
        # A list begins with id 0, or with 1 where it leaves the background out.
        for shift in (0, 1):
            known = {id_ + shift: name for id_, name in table.ids.items()}
            if shift and (min(ids) != 0 or any(row.id is not None for row in table.rows)):
                continue
            inside = [i for i in ids if i in known or (shift and i == 0)]
            if len(inside) == len(ids) and (fill or len(ids) > 1) and len(known) <= MAX_CLASSES:
                names = ({0: "background"} if shift else {}) | known
                names = {i: name for i, name in names.items() if name.lower() not in IGNORE_NAMES or i in ids}
                ids = sorted(names)
                reasons["classes"] = f"names from {table.file}"
                shades = {row.name: row.colour for row in table.rows if row.colour}
                colours = {i: shades[name] for i, name in names.items() if name in shades}
                break
        if reasons.get("classes"):
            break
    reasons.setdefault("classes", "names are placeholders: give them their own")
    shades_of = [colours.get(i, colour_of(k)) for k, i in enumerate(ids)]
    if len(set(shades_of)) < len(shades_of):
        shades_of = [colour_of(k) for k in range(len(ids))]
    return [ClassSpec(id=i, name=names[i], colour=to_hex(shade)) for i, shade in zip(ids, shades_of, strict=True)], ids
