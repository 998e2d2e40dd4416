"""The one reader of mask files: how stored pixels become class ids.

A mask is returned only when its encoding leaves no doubt: a JPEG is never taken for an index mask, a colour mask never
for grey values, a palette mask is read by its indices and not by its colours, and values that are shown inverted are
read only where the dataset says which of the two counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from maskwright.core.array_files import ARRAY_SUFFIXES as ARRAY_SUFFIXES
from maskwright.core.array_files import array_names as array_names
from maskwright.core.array_files import read_array as read_array
from maskwright.core.array_files import whole_numbers
from maskwright.core.classes import ClassTree
from maskwright.core.palette import Colour
from maskwright.core.sample import MaskPart, Tell, integer_pixels, is_lossy, open_image
from maskwright.errors import DataError

Encoding = Literal["index", "levels", "colour", "objects"]
Others = Literal["refuse", "nearest", "ignore"]
Inverted = Literal["stored", "shown"]

_PHOTOMETRIC = 262  # the tag of a TIFF that says what 0 is
_MASK_MODES = frozenset({"1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N", "F", "LA", "PA", "RGB", "RGBA"})


@dataclass(frozen=True)
class MaskEncoding:
    """How pixels of mask files become class ids.

    `index`: the stored value is the id. `levels`: grey values (`levels`: grey value -> id), which also reads JPEG
    masks. `colour`: RGB, the colours of the classes, or `ignore_colour`. `objects`: every value but 0 (or black) is an
    object, and all objects have the id 1.

    `others` says what becomes of pixels whose value no class has: `refuse` the mask, take the `nearest` level or
    colour, or `ignore` them; the last two are counted. By default index masks are refused and the others take the
    nearest. `inverted` says which values of files with white as 0 count: the `stored` ones, or those that are `shown`.
    `variable` is the name of the array in `.mat` files, with dots between structures. `channels` are those of a colour
    that say the class; the others are taken as 0.
    """

    kind: Encoding = "index"
    levels: Mapping[int, int] = field(default_factory=dict)
    ignore_colour: Colour | None = None
    others: Others | None = None
    inverted: Inverted | None = None
    variable: str | None = None
    channels: str = "rgb"


INDEX = MaskEncoding()


@dataclass(frozen=True)
class MaskPixels:
    """`ids` (H, W) uint8 or uint16; `inexact` counts pixels whose value no class has and that were moved to the
    nearest level or colour or are ignored, `hidden` those of regions that lie below another class."""

    ids: npt.NDArray[Any]
    inexact: int = 0
    hidden: int = 0


def read_mask(
    path: Path, encoding: MaskEncoding, classes: ClassTree, tell: Tell | None = None, page: int | None = None
) -> MaskPixels:
    """Reads a mask file as class ids (H, W). DataError where the file cannot mean what `encoding` says."""
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return _decoded(read_array(path, encoding.variable), path, encoding, classes)
    with open_image(path, tell, page) as image:
        refuse_ambiguous(image, path, encoding.kind, encoding.inverted)
        return _decoded(_pixels(image, path, encoding), path, encoding, classes)


def read_parts(parts: Sequence[MaskPart], encoding: MaskEncoding, classes: ClassTree) -> MaskPixels:
    """Reads a mask that several files make up, later ones on top; where none marks anything is background, or where no
    class is, ignored.

    DataError where one cannot be read, or is of another size than the first.
    """
    background = 0 if classes.background is None else classes.ids[classes.background]
    fill = classes.ignore if classes.background is None else background
    # Levels and colours stand for ids, other values for themselves: there 0 marks nothing, whatever the background is.
    of_one = 0 if encoding.kind in ("index", "objects") else background
    ids: npt.NDArray[Any] | None = None
    inexact, hidden = 0, 0
    for part in parts:
        read = read_mask(part.file, encoding, classes)
        if ids is None:
            ids = np.full(read.ids.shape, fill, np.uint16)
        if read.ids.shape != ids.shape:
            size = f"{read.ids.shape[1]}x{read.ids.shape[0]}"
            raise DataError(
                f"{part.file}: is {size} but {parts[0].file.name} is {ids.shape[1]}x{ids.shape[0]}; draw it again"
            )
        marked = read.ids != (background if part.id is None else of_one)
        new = read.ids if part.id is None else np.where(read.ids == classes.ignore, classes.ignore, part.id)
        hidden += int(((ids != fill) & marked & (ids != new)).sum())
        ids[marked] = new[marked]
        inexact += read.inexact
    assert ids is not None, "a mask of no parts"
    return MaskPixels(ids, inexact, hidden)


def read_grey(path: Path) -> npt.NDArray[np.uint8]:
    """Reads a PNG of 8-bit grey, whose values are quantities and no ids, as (H, W) uint8. DataError for other files."""
    with open_image(path) as image:
        if image.format != "PNG" or _stored_as(image)[0] != "L":
            raise DataError(
                f"{path}: {image.format} with pixels of kind {image.mode} where a PNG of 8-bit grey is "
                "expected; save it as one"
            )
        return np.asarray(image)


def _stored_as(image: Image.Image) -> list[Any]:
    """What Pillow says of how the pixels of an opened file are stored, such as `L` or `RGB;16B`; first the kind."""
    arguments: Any = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    found = arguments if isinstance(arguments, tuple | list) else [arguments]
    return [part if isinstance(part, str) else "" for part in found[:1]] + list(found[1:]) or [""]


def is_inverted(image: Image.Image) -> bool:
    """Whether white is 0 in the opened file, so that the stored values are not those that are shown."""
    # Such as `1;I`, `L;4I`, and with the bits of each byte in reverse `L;IR`.
    turned = re.search(r";\d*IR?$", str(_stored_as(image)[0])) is not None
    return turned or (image.format == "PPM" and image.mode == "1")


def refuse_ambiguous(image: Image.Image, path: Path, kind: Encoding, inverted: Inverted | None = None) -> None:
    """Refuses masks whose stored values the decoder changes, and colour models that masks do not have."""
    stored, *rest = _stored_as(image)
    if image.mode not in _MASK_MODES:
        raise DataError(
            f"{path}: pixels of kind {image.mode} have no agreed meaning in a mask; save it as 8- or 16-bit grey"
        )
    if ";16" in stored and not image.mode.startswith("I"):
        raise DataError(f"{path}: colours of 16 bits a channel are ambiguous in a mask; save it with 8 bits")
    spread = image.format == "PPM" and rest and rest[0] not in (255, 65535)
    if kind == "index" and (spread or (stored.startswith("L;") and stored not in ("L;I", "L;IR", "L;R"))):
        raise DataError(
            f"{path}: grey values of fewer than 8 bits are ambiguous as class ids; save it as 8-bit grey or with a "
            "palette"
        )
    photometric = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) if image.format == "TIFF" else None
    if photometric == 0 and image.mode.startswith(("I", "F")) and inverted != "stored":
        raise DataError(
            f"{path}: stores white as 0 with more than 8 bits; set `inverted: stored` under `masks` in dataset.yaml "
            "where the stored values count, or save it again with black as 0"
        )
    if is_inverted(image) and inverted is None and image.format != "PPM":
        raise DataError(
            f"{path}: stores white as 0, so that stored and shown values differ; say which of them count with "
            "`inverted: stored` or `inverted: shown` under `masks` in dataset.yaml, or save it as 8-bit grey"
        )


def _pixels(image: Image.Image, path: Path, encoding: MaskEncoding) -> npt.NDArray[Any]:
    """(H, W) grey values, or (H, W, 3) colours, as the encoding needs them."""
    if encoding.kind == "colour":
        if image.mode in ("RGBA", "LA", "PA") and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
            raise DataError(f"{path}: a mask with transparent pixels is ambiguous; save it without alpha")
        if image.mode == "F":
            raise DataError(f"{path}: pixels of kind F have no agreed meaning as colours; save it with 8 bits")
        if image.mode.startswith("I"):
            raise DataError(f"{path}: grey values where class colours are expected; set `encoding: index`")
        return np.asarray(image.convert("RGB"))
    if encoding.kind in ("index", "objects") and is_lossy(image):
        what = "an index mask" if encoding.kind == "index" else "one of objects"
        raise DataError(
            f"{path}: {image.format} changes pixel values, so it cannot be {what}; "
            "set `encoding: levels` under `masks` in dataset.yaml"
        )
    if image.mode.startswith("I"):
        return integer_pixels(image, path)
    if image.mode == "F":
        return whole_numbers(np.asarray(image), path)
    if image.mode in ("1", "L") or (image.mode == "P" and encoding.kind != "levels"):
        # Told before the pixels are decoded, which is when Pillow forgets it.
        turned = encoding.inverted == "stored" and is_inverted(image) and image.format != "PPM"
        # A bit is 0 or 1 as an id, and black or white as a level.
        bit = image.mode == "1" and encoding.kind != "levels"
        grey = np.asarray(image.convert("L") if image.mode == "1" and not bit else image).astype(np.uint8, copy=False)
        return (1 if bit else 255) - grey if turned else grey
    if encoding.kind == "objects":
        return packed_colours(np.asarray(image.convert("RGB")))
    if encoding.kind == "levels" and is_lossy(image):
        return np.asarray(image.convert("L"))  # chroma noise of the compression
    return _grey_of(image.convert("RGB") if image.mode == "P" else image, path)


def _grey_of(image: Image.Image, path: Path) -> npt.NDArray[np.uint8]:
    """The grey values of an image saved as RGB or with an opaque alpha; refused when it has real colours."""
    array = np.asarray(image.convert("RGBA" if image.mode in ("LA", "PA", "RGBA") else "RGB"))
    if array.shape[2] == 4 and array[..., 3].min() < 255:
        raise DataError(f"{path}: a mask with transparent pixels is ambiguous; save it without alpha")
    if (array[..., 0] != array[..., 1]).any() or (array[..., 0] != array[..., 2]).any():
        raise DataError(
            f"{path}: a colour mask where class ids are expected; set `encoding: colour` under `masks` in dataset.yaml"
        )
    return array[..., 0]


def _decoded(pixels: npt.NDArray[Any], path: Path, encoding: MaskEncoding, classes: ClassTree) -> MaskPixels:
    """Class ids of grey values (H, W) or colours (H, W, 3)."""
    if encoding.kind == "colour":
        if pixels.ndim != 3:
            raise DataError(f"{path}: grey values where class colours are expected; set `encoding: index`")
        if (pixels.dtype != np.uint8 and pixels.max() > 255) or (pixels.shape[2] == 4 and pixels[..., 3].min() < 255):
            raise DataError(f"{path}: colours beyond 255, or with alpha, have no agreed meaning; save it as 8-bit RGB")
        rgb = pixels[..., :3]
        if encoding.channels != "rgb":
            rgb = rgb * np.array([channel in encoding.channels for channel in "rgb"], np.uint8)
        return _by_colour(rgb, path, classes, encoding)
    if pixels.ndim != 2:
        raise DataError(
            f"{path}: a colour mask where class ids are expected; set `encoding: colour` under `masks` in dataset.yaml"
        )
    if encoding.kind == "levels":
        return _by_level(pixels, path, encoding, classes.ignore)
    if encoding.kind == "objects":
        return MaskPixels((pixels != 0).astype(np.uint8))
    if encoding.others != "ignore":
        return MaskPixels(pixels)  # ids that are no class are refused by those who know all of them
    unknown = ~np.isin(pixels, [*classes.ids, classes.ignore])
    return MaskPixels(np.where(unknown, classes.ignore, pixels).astype(np.uint16), int(unknown.sum()))


def _by_level(grey: npt.NDArray[Any], path: Path, encoding: MaskEncoding, ignore: int) -> MaskPixels:
    values = np.array(sorted(encoding.levels), np.int64)
    middles = (values[1:] + values[:-1] + 1) // 2
    nearest = np.searchsorted(middles, grey, side="right")
    ids = np.array([encoding.levels[int(v)] for v in values], np.uint16)[nearest]
    strange = values[nearest] != grey
    return _with_others(ids, strange, path, encoding.others, ignore, "grey level")


def _by_colour(rgb: npt.NDArray[Any], path: Path, classes: ClassTree, encoding: MaskEncoding) -> MaskPixels:
    packed = packed_colours(rgb).reshape(-1)
    palette, values = classes.colours.astype(np.int32), classes.ids
    if encoding.ignore_colour is not None:
        palette, values = np.append(palette, [encoding.ignore_colour], 0).astype(np.int32), [*values, classes.ignore]
    # Nearly every pixel has the very colour of a class; only the others are worth a search for the nearest.
    known, first = np.unique(palette @ np.array([1 << 16, 1 << 8, 1], np.int32), return_index=True)
    place = np.minimum(np.searchsorted(known, packed), len(known) - 1)
    nearest, strange = first[place], known[place] != packed
    if strange.any() and encoding.others in (None, "nearest"):
        present, inverse = np.unique(packed[strange], return_inverse=True)
        channels = np.stack([present >> 16, present >> 8 & 255, present & 255], 1)
        # At most a few thousand distinct colours: a table of distances is small.
        nearest[strange] = np.concatenate(
            [
                ((block[:, None] - palette[None]) ** 2).sum(2).argmin(1)
                for block in np.array_split(channels, len(channels) // 4096 + 1)
            ]
        )[inverse]
    ids = np.array(values, np.uint16)[nearest].reshape(rgb.shape[:2])
    return _with_others(ids, strange.reshape(ids.shape), path, encoding.others, classes.ignore, "class colour")


def _with_others(
    ids: npt.NDArray[Any], strange: npt.NDArray[np.bool_], path: Path, others: Others | None, ignore: int, what: str
) -> MaskPixels:
    count = int(strange.sum())
    if count and others == "refuse":
        raise DataError(
            f"{path}: {count} pixels have no {what}; add what is missing to `classes`, or set `others: nearest` or "
            "`others: ignore` under `masks` in dataset.yaml"
        )
    if count and others == "ignore":
        ids[strange] = ignore
    return MaskPixels(ids, count)


def packed_colours(rgb: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """(H, W) of (H, W, 3) uint8: red, green and blue in one number."""
    channels = rgb.astype(np.int32)
    found: npt.NDArray[np.int32] = channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]
    return found
