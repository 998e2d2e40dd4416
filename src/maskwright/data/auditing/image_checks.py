"""Checks of image files and of file names."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from maskwright.base.texts import counted
from maskwright.core.findings import Observation
from maskwright.core.sample import Sample
from maskwright.data.auditing.facts import ImageFacts
from maskwright.data.auditing.observations import listed, of_kind, refused, wide
from maskwright.data.auditing.survey import Survey

NOT_RGB = {"CMYK", "LAB", "HSV", "YCbCr"}
ALPHA = {"RGBA", "LA", "PA", "RGBa", "La", "RGBX"}
_GREY = {"L", "LA", "La", "P", "PA"}
# Encoders halve the resolution five times.
_TINY = 32
# An image is unlike the rest when its pixels or its width by its height differ from the median by this factor, and
# when no more than this share of the images do: else the sizes are simply mixed.
_MORE_PIXELS, _OTHER_ASPECT, _EXCEPTION = 4.0, 2.0, 0.1
_LONG_NAME = 200
# What Windows refuses in the name of a file.
_FORBIDDEN = set('<>:"|?*\\')


def image_unreadable(survey: Survey) -> Iterator[Observation]:
    """Images that the reader refuses."""
    return (refused(record.sample, record.image) for record in survey.records if isinstance(record.image, str))


def image_palette(survey: Survey) -> Iterator[Observation]:
    """Images with a palette."""
    return of_kind(
        survey.images,
        lambda image: image.kind.mode == "P",
        "images with a palette",
        "they are read by their colours",
        "nothing to do, unless masks lie in the image folder",
    )


def _converted(survey: Survey) -> list[tuple[Sample, ImageFacts]]:
    """The readable images, where they are converted to 8-bit RGB; none where all that they hold is read."""
    return survey.images if survey.dataset.bands.plain else []


def image_depth(survey: Survey) -> Iterator[Observation]:
    """Images of 16 bits a channel, where the dataset does not say so."""
    return of_kind(
        _converted(survey),
        lambda image: image.kind.deep or image.kind.mode.startswith("I"),
        "images of 16 bits",
        "their values are divided by 256",
        "if they use fewer bits (such as 12) they turn out nearly black: "
        "to read all bits, write `channels` and `bits: 16` below `images` in dataset.yaml",
    )


def image_bands(survey: Survey) -> Iterator[Observation]:
    """Images with a band behind their colours that shows something, where the dataset does not say so."""
    yield from of_kind(
        _converted(survey),
        lambda image: image.fourth == "band" and image.kind.mode not in _GREY,
        "images with more than three bands",
        "the first three are read as red, green and blue, and the rest is dropped",
        "if the others (infrared, say) matter, write how many there are below `images` in dataset.yaml (`channels: 4`)",
    )
    yield from of_kind(
        _converted(survey),
        lambda image: image.fourth == "band" and image.kind.mode in _GREY,
        "grey images with a second band",
        "the first is read, and the rest is dropped",
        "if the second matters, write `channels: 2` below `images` in dataset.yaml",
    )


def image_alpha(survey: Survey) -> Iterator[Observation]:
    """Images with an alpha channel."""
    images = _converted(survey)
    clear = sum(image.fourth == "transparent" for _, image in images)
    return of_kind(
        images,
        lambda image: image.fourth in ("opaque", "transparent"),
        "images with an alpha channel",
        f"it is dropped; {counted(clear, 'of them {has|have} transparent pixels')}" if clear else "it is dropped",
        "save them over a plain background" if clear else "nothing to do: all are opaque",
    )


def image_colour_space(survey: Survey) -> Iterator[Observation]:
    """Images that are not stored as grey or RGB."""
    return of_kind(
        survey.images,
        lambda image: image.kind.mode in NOT_RGB,
        "images in CMYK, Lab or YCbCr",
        "they are converted to RGB without a colour profile",
        "if the colours look wrong, save them as RGB",
    )


def image_rotated(survey: Survey) -> Iterator[Observation]:
    """Images with an EXIF orientation."""
    effect = "it is applied" if survey.dataset.exif == "apply" else "it is not applied"
    return of_kind(
        survey.images,
        lambda image: image.kind.orientation != 1,
        "images with an EXIF orientation",
        f"{effect} (`exif` under `images`)",
        "look whether image and mask lie on each other",
    )


def image_constant(survey: Survey) -> Iterator[Observation]:
    """Images of a single colour."""
    return of_kind(
        survey.images,
        lambda image: image.constant,
        "images of one colour",
        "they show nothing",
        "look whether the files are damaged, and exclude them if so",
    )


def image_tiny(survey: Survey) -> Iterator[Observation]:
    """Images with a side that an encoder shrinks to nothing."""
    return of_kind(
        survey.images,
        lambda image: min(image.size) < _TINY,
        f"images with a side below {_TINY} pixels",
        "encoders halve the resolution five times, which leaves less than a pixel of them",
        "look whether they are previews that were saved in place of images; exclude them if so",
    )


def image_size_outlier(survey: Survey) -> Iterator[Observation]:
    """Images with far more or far fewer pixels than the rest."""
    return _unlike(
        survey,
        "pixels",
        lambda size: size[0] * size[1],
        _MORE_PIXELS,
        f"images with over {_MORE_PIXELS:g} times or under 1/{_MORE_PIXELS:g} of the usual number of pixels",
        "objects in them may be of another scale: look whether they belong here",
    )


def image_aspect(survey: Survey) -> Iterator[Observation]:
    """Images that are far wider or far higher than the rest."""
    return _unlike(
        survey,
        "width by height",
        lambda size: size[1] / size[0],
        _OTHER_ASPECT,
        f"images over {_OTHER_ASPECT:g} times as wide or as high for their size as is usual",
        "use `keep_ratio: true`, or look whether they belong here",
    )


def _unlike(
    survey: Survey, measure: str, of: Callable[[tuple[int, int]], float], factor: float, what: str, fix: str
) -> Iterator[Observation]:
    images = survey.images
    if not images:
        return
    values = np.array([of(image.size) for _, image in images])
    usual = float(np.median(values))
    far = np.flatnonzero(np.abs(np.log(values / usual)) > math.log(factor)).tolist()
    if far and len(far) <= _EXCEPTION * len(images):
        sizes = {images[i][0].name: wide(images[i][1].size) for i in far[:50]}
        yield listed(what, [images[i][0] for i in far], len(images), "", fix, median={measure: usual}, sizes=sizes)


# --- names -----------------------------------------------------------------------------------------------


def name_odd(survey: Survey) -> Iterator[Observation]:
    """File names that some programs and file systems do not keep apart, change or refuse."""
    firsts: dict[str, str] = {}
    for record in survey.records:
        # Two images of one name but for case; the second entry is marked by an empty text.
        name = f"{record.sample.name}{record.sample.image.suffix}"
        first = firsts.setdefault(name.casefold(), name)
        if first != name:
            firsts[name.casefold()] = ""
    reasons: dict[str, list[str]] = defaultdict(list)
    samples = []
    for record in survey.records:
        paths = [record.sample.image, *record.sample.mask_files]
        found = {reason for path in paths for reason in _odd(path)}
        if not firsts[f"{record.sample.name}{record.sample.image.suffix}".casefold()]:
            found.add("differ only by case")
        if found:
            samples.append(record.sample)
            for reason in found:
                reasons[reason].append(record.sample.name)
    if samples:
        counted = ", ".join(f"{len(names)} {reason}" for reason, names in sorted(reasons.items()))
        yield listed(
            "odd file names",
            samples,
            len(survey.records),
            counted,
            "give image and mask the same new name before the data go to another system or tool",
            reasons=dict(reasons),
        )


def _odd(path: Path) -> Iterator[str]:
    if path.stem != path.stem.strip():
        yield "begin or end with a space"
    if not path.name.isascii():
        yield "have letters beyond ASCII"
    if len(path.name) > _LONG_NAME:
        yield f"are longer than {_LONG_NAME} characters"
    if _FORBIDDEN.intersection(path.name):
        yield "have characters that Windows forbids"
