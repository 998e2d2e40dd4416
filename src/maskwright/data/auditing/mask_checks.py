"""Checks of mask files, of the ids in them and of the objects that these draw."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from maskwright.base.texts import counted, listing, plural
from maskwright.core.findings import Observation
from maskwright.data.auditing.facts import ImageFacts, MaskFacts
from maskwright.data.auditing.image_checks import ALPHA
from maskwright.data.auditing.objects import PINHOLE, SLIVER
from maskwright.data.auditing.observations import at, listed, of_kind, refused, wide
from maskwright.data.auditing.survey import Survey, SurveyedSample, repeated

# Of the masks with the most flaws, those that are described.
_WORST = 20
_NAMED = 5  # unknown ids of a mask that are named
_SMALLEST = 8  # pixels of a side: of fewer any shape is nearly a scaled copy


def mask_unreadable(survey: Survey) -> Iterator[Observation]:
    """Masks that the reader refuses."""
    return (refused(record.sample, record.mask) for record in survey.records if isinstance(record.mask, str))


def mask_none(survey: Survey) -> Iterator[Observation]:
    """Nothing to learn from."""
    if not survey.records:
        excluded = len(survey.dataset.samples)
        yield Observation(
            f"{survey.dataset.root}: no sample is left, {plural(excluded, 'sample')} excluded",
            "correct the files, and take the edits back with `maskwright edits DIR --undo`",
        )
    elif not any(_teaches(record) for record in survey.records):
        why, fix = _why_none(survey)
        yield Observation(f"{survey.dataset.root}: {plural(len(survey.records), 'image')}, but {why}", fix)


def _teaches(record: SurveyedSample) -> bool:
    """Whether there is a pixel to learn from."""
    return record.usable and isinstance(record.mask, MaskFacts) and record.mask.present != b""


def _why_none(survey: Survey) -> tuple[str, str]:
    masks = sum(record.mask is not None for record in survey.records)
    orphans = [path.relative_to(survey.dataset.root).as_posix() for path in survey.dataset.orphans]
    if masks:
        return f"none of its {plural(masks, 'mask')} is usable", "correct the masks as the other findings say"
    if orphans:
        image = survey.records[0].sample.image.relative_to(survey.dataset.root).as_posix()
        return (
            f"{counted(len(orphans), 'mask file{ belongs|s belong}')} to none of them: an image is called {image}, a "
            f"mask {orphans[0]}",
            "name them alike, or say in dataset.yaml which belong together: by `layout: patterns`, or by the table of "
            "`layout: table`",
        )
    return "it has no masks", "draw masks, or name their folder under `masks` in dataset.yaml"


def mask_missing(survey: Survey) -> Iterator[Observation]:
    """Images without a mask in splits where others have one."""
    for records in survey.by_split.values():
        if any(record.mask is not None for record in records):
            for record in records:
                if record.mask is None:
                    yield at(
                        record.sample,
                        "the image has no mask, so nothing is learnt from it and it is not scored",
                        "draw its mask, or exclude the sample",
                    )


def mask_orphan(survey: Survey) -> Iterator[Observation]:
    """Mask files that belong to no image."""
    for path in survey.dataset.orphans:
        file = path.relative_to(survey.dataset.root).as_posix()
        yield Observation(
            f"{file}: no image has this name",
            "restore its image, correct the name, or move the mask away",
            evidence={"file": file},
        )


def mask_size(survey: Survey) -> Iterator[Observation]:
    """Masks that do not cover their image pixel by pixel."""
    for record in survey.records:
        image, mask = record.image, record.mask
        if isinstance(image, ImageFacts) and isinstance(mask, MaskFacts) and image.size != mask.size:
            fix = "draw the mask again at the size of the image, or exclude the sample"
            evidence: dict[str, Any] = {}
            scaled, scale = "", _scale(mask.size, image.size)
            turned = image.kind.orientation >= 5 and image.size == mask.size[::-1]
            if turned:
                other = "ignore" if survey.dataset.exif == "apply" else "apply"
                fix = f"the mask fits the image turned by its EXIF orientation: set `exif: {other}` under `images`"
            elif scale:
                evidence["scale"] = scale
                scaled = f", as of a copy at {scale:.0%} of its size"
                fix = (
                    f"resize the mask to {wide(image.size)} without smoothing (nearest neighbour), or use the images "
                    "that the masks were drawn on"
                )
            yield at(
                record.sample,
                f"the mask is {wide(mask.size)} but the image is {wide(image.size)}{scaled}",
                fix,
                by_person=turned or scale is not None,
                image=list(image.size),
                mask=list(mask.size),
                **evidence,
            )


def _scale(mask: tuple[int, int], image: tuple[int, int]) -> float | None:
    """The share of its sides at which an image has the size of a mask, where both sides agree but for rounding; None
    for other shapes, and for sides that are nearly those of the image: there a border was cut off."""
    (height, width), (high, wide_) = mask, image
    scale = (height * width / (high * wide_)) ** 0.5
    fits = abs(high * scale - height) <= 1 and abs(wide_ * scale - width) <= 1
    return scale if fits and not 0.95 < scale < 1.05 and min(mask) >= _SMALLEST else None


# --- values ----------------------------------------------------------------------------------------------


def mask_unknown_ids(survey: Survey) -> Iterator[Observation]:
    """Masks with ids that are neither a class nor ignore."""
    for sample, mask in survey.masks:
        if mask.unknown:
            first = ", ".join(f"{id_} ({n} px)" for id_, n in [*mask.unknown.items()][:_NAMED])
            more = f" and {mask.unknown_ids - _NAMED} more" if mask.unknown_ids > _NAMED else ""
            yield at(
                sample,
                f"unknown class ids: {first}{more}",
                "add them to `classes` in dataset.yaml, set `ignore` to the one that does not count, or correct "
                "the mask",
                count=mask.unknown_ids,
                ids={str(id_): n for id_, n in mask.unknown.items()},
            )


def mask_inexact(survey: Survey) -> Iterator[Observation]:
    """Masks with values that no class has, moved to the nearest level or colour or ignored; the worst first."""
    kind, others = survey.dataset.encoding.kind, survey.dataset.encoding.others
    value = "class colour" if kind == "colour" else "grey level" if kind == "levels" else "class id"
    for sample, mask in sorted(survey.masks, key=lambda pair: -pair[1].inexact / pair[1].area):
        if mask.inexact:
            share, one = mask.inexact / mask.area, mask.inexact == 1
            found = f"{plural(mask.inexact, 'pixel')} ({share:.2%})"
            if others == "ignore":
                what = f"{found} {'has' if one else 'have'} no {value} and {'is' if one else 'are'} ignored"
                fix = "right where they are stray; else a class is missing in dataset.yaml"
            else:
                what = f"{found} {'was' if one else 'were'} moved to the nearest {value}"
                fix = (
                    "harmless where they lie on outlines (compression, antialiasing); else a class is missing in "
                    "dataset.yaml. Save masks as index PNG"
                )
            yield at(
                sample,
                what,
                fix,
                pixels=mask.inexact,
                share=share,
                becomes="ignored" if others == "ignore" else "nearest",
            )


def mask_hidden(survey: Survey) -> Iterator[Observation]:
    """Drawn regions that overlap with another class, the worst first."""
    found = sorted(
        ((sample, mask) for sample, mask in survey.masks if mask.hidden),
        key=lambda pair: -pair[1].hidden / pair[1].area,
    )
    if found:
        worst = found[0][1]
        yield listed(
            "masks whose regions overlap with another class",
            [sample for sample, _ in found],
            len(survey.masks),
            f"up to {worst.hidden} pixels ({worst.hidden / worst.area:.2%}) are hidden",
            "look at the worst: later regions lie on top, of boxes the smaller; change the order, or `boxes` "
            "in dataset.yaml",
            pixels=sum(mask.hidden for _, mask in found),
        )


def mask_all_ignore(survey: Survey) -> Iterator[Observation]:
    """Masks in which nothing counts."""
    for sample, mask in survey.masks:
        if mask.present == b"":
            yield at(sample, "every pixel is ignored", "draw the mask, or exclude the sample")


def mask_all_background(survey: Survey) -> Iterator[Observation]:
    """Masks with the background alone; many of them are normal in some data and forgotten drawings in other."""
    background = survey.dataset.classes.background
    if len(survey.dataset.classes) < 2 or background is None:
        return
    empty = defaultdict(list)
    masks = Counter(sample.split or "" for sample, _ in survey.masks)
    for sample, mask in survey.masks:
        if mask.present == bytes([background]):
            empty[sample.split or ""].append(sample)
    name = survey.dataset.classes.names[background]
    for split, samples in empty.items():
        yield listed(
            f"masks with nothing but {name!r}",
            samples,
            masks[split],
            "",
            "look at some of them: is the image really without any other class?",
            split,
        )


def mask_duplicate(survey: Survey) -> Iterator[Observation]:
    """The same mask on images that neither are equal nor look alike; masks of a single class may well be equal."""
    equal, alike = (
        {id(record): id(group[0]) for group in groups for record in group}
        for groups in (survey.same, survey.look_alikes[0])
    )

    def scene(record: SurveyedSample) -> int:
        first = equal.get(id(record), id(record))
        return alike.get(first, first)

    def mask(record: SurveyedSample) -> bytes | None:
        several = record.usable and isinstance(record.mask, MaskFacts) and len(record.mask.present or b"") > 1
        return record.mask.digest if several and isinstance(record.mask, MaskFacts) else None

    for records in repeated(survey.records, mask):
        if len(set(map(scene, records))) > 1:
            names = [record.sample.name for record in records]
            yield at(
                records[0].sample,
                f"has the same mask as {listing(names[1:], 3)}, but another image",
                "look which image it was drawn for; draw the others, or exclude them",
                count=len(names),
                samples=names[:50],
            )


# --- objects ---------------------------------------------------------------------------------------------


def _flawed(survey: Survey, kind: str, what: str, fix: str) -> Iterator[Observation]:
    """One finding about all masks with flaws of a kind, which describes the worst."""
    found = [(sample, flaw) for sample, mask in survey.masks for flaw in mask.flaws if flaw.kind == kind]
    if found:
        found.sort(key=lambda pair: -pair[1].times)
        names = survey.dataset.classes.names
        worst = [
            {"sample": sample.name, "count": flaw.times, "class": names[flaw.leaf], "region": list(flaw.region)}
            for sample, flaw in found[:_WORST]
        ]
        yield listed(
            f"masks with {what}",
            [sample for sample, _ in found],
            len(survey.masks),
            f"{sum(flaw.times for _, flaw in found)} in all, {found[0][1].times} in {found[0][0].name}",
            fix,
            flaws=sum(flaw.times for _, flaw in found),
            worst=worst,
        )


def mask_specks(survey: Survey) -> Iterator[Observation]:
    """Masks with objects of very few pixels."""
    return _flawed(
        survey,
        "specks",
        "tiny objects (of up to 4 pixels, or 1/20,000 of the image and 16 pixels)",
        "if they are slips of the pen or of a conversion, remove them: each counts as an object",
    )


def mask_slivers(survey: Survey) -> Iterator[Observation]:
    """Masks with long objects that are nowhere thick."""
    return _flawed(
        survey,
        "slivers",
        f"thin objects (longer than {SLIVER} pixels, nowhere 3 x 3 pixels thick)",
        "right for lines such as cracks; between two classes they are gaps of the drawing: give them to one",
    )


def mask_pinholes(survey: Survey) -> Iterator[Observation]:
    """Masks with tiny holes."""
    name = survey.dataset.classes.names[0]
    return _flawed(
        survey,
        "pinholes",
        f"tiny holes (up to {PINHOLE} pixels of {name!r} inside one other class)",
        "if they are slips of the pen or of a conversion, fill them",
    )


# --- kinds of files --------------------------------------------------------------------------------------


def mask_palette(survey: Survey) -> Iterator[Observation]:
    """Masks with a palette."""
    kind = survey.dataset.encoding.kind
    effect = "their indices are the class ids" if kind == "index" else "they are read by their colours"
    return of_kind(
        survey.masks,
        lambda mask: mask.kind.mode == "P",
        "masks with a palette",
        f"{effect} (encoding: {kind})",
        "nothing to do",
    )


def mask_depth(survey: Survey) -> Iterator[Observation]:
    """Masks of 16 bits."""
    return of_kind(
        survey.masks,
        lambda mask: mask.kind.mode.startswith("I"),
        "masks of 16 bits",
        "their values are read in full",
        "nothing to do",
    )


def mask_colour(survey: Survey) -> Iterator[Observation]:
    """Grey masks that are stored with three or more channels."""
    if survey.dataset.encoding.kind == "colour":
        return iter(())
    return of_kind(
        survey.masks,
        lambda mask: mask.kind.mode == "RGB" or mask.kind.mode in ALPHA,
        "grey masks stored as colour images",
        "they are read as grey",
        "nothing to do",
    )


def mask_rotated(survey: Survey) -> Iterator[Observation]:
    """Masks with an EXIF orientation."""
    return of_kind(
        survey.masks,
        lambda mask: mask.kind.orientation != 1,
        "masks with an EXIF orientation",
        "it is not applied",
        "look whether image and mask lie on each other; save the masks without EXIF",
    )
