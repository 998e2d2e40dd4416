"""What colours in masks mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from maskwright.base.texts import counted
from maskwright.core.classes import IGNORE_ID, MAX_CLASSES
from maskwright.core.description import ClassSpec, MasksSpec
from maskwright.data.layouts.tables import ClassTable
from maskwright.data.layouts.values import IGNORE_NAMES, RARE, SPECK, STRAY, Meaning, ValueCounts
from maskwright.errors import ConfigError, DataError, argument


def of_colours(root: Path, seen: ValueCounts, tables: Sequence[ClassTable], where: str) -> Meaning:
    """One class for each colour of masks that hold colours. ConfigError where there are too many, or ids beside them,
    DataError where these are photographs."""
    if seen.one_channel:
        raise ConfigError(
            f"{root}: {counted(seen.one_channel, 'mask{ holds|s hold}')} ids or grey values, the others colours; "
            "save all of them in one way"
        )
    colours = Counter(seen.colours)
    # A grey mask saved as RGB was counted as grey, so these are real colours.
    for value, count in seen.grey.items():
        colours[value << 16 | value << 8 | value] += count
    table = _fitting(colours, tables)
    kept, others = _exact_colours(colours, seen) if not seen.lossy else ([], None)
    if not kept:
        kept = _merged_colours(colours)
        others = "nearest"
    total = colours.total()
    if table:
        named = {r << 16 | g << 8 | b: name for (r, g, b), name in table.colours.items()}
        more = [value for value in kept if value not in named and _distance(value, named) > 8]
        kept = [*named, *more]
    exact = sum(colours[value] for value in kept) / total
    near = sum(count for value, count in colours.most_common(4096) if _distance(value, kept) <= 48) / total
    if not kept or near < 0.9:
        raise DataError(
            f"{root}: most pixels have none of the frequent colours ({near:.0%} are near one), so these files are "
            "photographs or overlays and no masks; name the masks with "
            f"{argument('masks')}"
        )
    if len(kept) > MAX_CLASSES:
        raise ConfigError(
            f"{root}: the masks hold {len(kept)} colours; if each is an object, they are not class masks; name "
            "the colour of each class in a table such as class_dict.csv (name,r,g,b)"
        )
    stray = total - sum(colours[value] for value in kept)
    reasons = {"encoding": f"colour masks: {len(kept)} colours {where}"}
    unsure = []
    if stray:
        what = "read as the nearest" if others in (None, "nearest") else "ignored"
        reasons["encoding"] += f"; {stray} of {total} pixels have another colour and are {what}"
        unsure.append(f"{stray} of {total} pixels have a colour that is no class and are {what}")
    names = {value: f"class_{i}" for i, value in enumerate(kept)}
    ignore_colour = None
    if table:
        reasons["classes"] = f"names and colours from {table.file}"
        names = {value: named.get(value, f"colour_{value:06X}") for value in kept}
        ignored = [value for value in kept if names[value].lower() in IGNORE_NAMES]
        if len(ignored) == 1 and len(kept) > 2:
            unsure.append(
                f"{names[ignored[0]]!r} is read as a class; remove it from `classes` and set `ignore_colour` "
                "if it is not to count"
            )
    else:
        reasons["classes"] = "one class per colour, most frequent first: give them their names and check the colours"
    classes = [ClassSpec(id=i, name=names[value], colour=f"#{value:06X}") for i, value in enumerate(kept)]
    return Meaning(
        MasksSpec(
            encoding="colour", ignore_colour=ignore_colour, others="ignore" if stray and others == "ignore" else None
        ),
        classes,
        IGNORE_ID,
        reasons,
        exact,
        {i: colours[value] / total for i, value in enumerate(kept)},
        unsure,
    )


def _fitting(colours: Counter[int], tables: Sequence[ClassTable]) -> ClassTable | None:
    """The table whose colours nearly all pixels have."""
    for table in tables:
        known = {r << 16 | g << 8 | b for r, g, b in table.colours}
        if len(known) > 1 and sum(colours[value] for value in known) >= 0.9 * colours.total():
            return table
    return None


def _exact_colours(colours: Counter[int], seen: ValueCounts) -> tuple[list[int], str | None]:
    """All colours of lossless masks, most frequent first, without stray ones; none where these are no exact colours."""
    total = colours.total()
    kept: list[int] = []
    near = True
    for value, count in colours.most_common():
        if len(colours) > 4096:  # no mask of exact colours has so many
            return [], None
        speck = seen.specks.get(value, SPECK + 1) <= SPECK
        if speck and count < RARE * total and (close := _distance(value, kept)) <= 8:
            near &= close <= 8
            continue
        if speck and count < STRAY * total:
            near = False
            continue
        kept.append(value)
        if len(kept) > MAX_CLASSES:
            return [], None
    smooth = seen.between > 0.5 * sum(colours[value] for value in kept[8:]) if len(kept) > 24 else False
    return ([], None) if smooth else (kept, "nearest" if near else "ignore")


def _merged_colours(colours: Counter[int]) -> list[int]:
    """The frequent colours, of those that are near each other the most frequent."""
    total = colours.total()
    kept: list[int] = []
    for value, count in colours.most_common(4096):
        # Compression and antialiasing make many colours, each rare and near a real one.
        if count >= STRAY * total and _distance(value, kept) >= 48 and len(kept) < MAX_CLASSES:
            kept.append(value)
    return kept


def _distance(value: int, others: Iterable[int]) -> int:
    """The largest difference of a channel to the nearest of some colours."""
    return min((max(abs((value >> s & 255) - (other >> s & 255)) for s in (0, 8, 16)) for other in others), default=256)
