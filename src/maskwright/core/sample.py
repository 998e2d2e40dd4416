"""Sample, and the one reader of images and masks.

Only allow-listed decoders run, sizes are capped before pixels are decoded, and a mask is returned
only when its encoding leaves no doubt: a JPEG is never taken for an index mask, a colour mask never
for grey values, a palette mask is read by its indices and not by its colours.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from maskwright.base.limits import MAX_PIXELS
from maskwright.base.quiet import silence
from maskwright.core.classes import ClassTree
from maskwright.core.palette import Colour
from maskwright.core.regions import Drawing
from maskwright.errors import DataError

Status = Literal["keep", "exclude", "suspect"]
Provenance = Literal["hand", "box", "model"]
Exif = Literal["apply", "ignore"]
Encoding = Literal["index", "levels", "colour"]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
_DECODERS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")
# MPO is what phones write: a JPEG with previews behind it, which are left alone.
LOSSY = frozenset({"JPEG", "MPO", "WEBP"})
_ORIENTATION = 0x0112  # the EXIF tag
_MASK_MODES = frozenset({"1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N", "LA", "PA", "RGB", "RGBA"})
# What Pillow's plug-ins raise for damaged files.
_DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    MemoryError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    ZeroDivisionError,
    AttributeError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its mask, or with a drawing that is rendered as one. `name` is unique in the dataset; the paths
    are absolute or relative to the working folder, already confined to the dataset's root. An `edited` mask is an
    index PNG from the journal of edits, whatever the encoding of the dataset."""

    name: str
    image: Path
    mask: Path | None = None
    split: str | None = None
    status: Status = "keep"
    provenance: Provenance = "hand"
    drawing: Drawing | None = None
    edited: bool = False

    @property
    def labelled(self) -> bool:
        """Whether it has a mask file or a drawing to make a mask of."""
        return self.mask is not None or self.drawing is not None

    @property
    def label_file(self) -> Path | None:
        """The file that its mask comes from."""
        return self.mask or (self.drawing.source if self.drawing else None)


@dataclass(frozen=True)
class MaskEncoding:
    """How pixels of mask files become class ids.

    `index`: the stored value is the id. `levels`: grey values, each taken as the nearest of `levels`
    (grey value -> id), which also reads JPEG masks. `colour`: RGB, each taken as the nearest colour of a
    class, or `ignore_colour`. For the last two, pixels that do not hit a value exactly are counted.
    """

    kind: Encoding = "index"
    levels: Mapping[int, int] = field(default_factory=dict)
    ignore_colour: Colour | None = None


INDEX = MaskEncoding()


@dataclass(frozen=True)
class MaskPixels:
    """`ids` (H, W) uint8 or uint16; `inexact` counts pixels that were moved to the nearest level or colour,
    `hidden` those of drawn regions that lie below another class."""

    ids: npt.NDArray[Any]
    inexact: int = 0
    hidden: int = 0


# Is shown an opened file before its pixels are decoded; the position of the stream has to stay.
Tell = Callable[[Image.Image, BinaryIO], None]


def silence_pillow() -> None:
    """Pillow warns of odd metadata, and of sizes that are refused here."""
    silence(r"PIL\.")


@contextmanager
def open_image(path: Path, tell: Tell | None = None) -> Iterator[Image.Image]:
    """Opens an image file with the allow-listed decoders. DataError for everything that cannot be read."""
    try:
        silence_pillow()
        # From a path Pillow would map some TIFFs into memory without turning them as they ask.
        with path.open("rb") as stream, Image.open(stream, formats=_DECODERS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                raise DataError(f"{path}: holds several frames; save one image per file")
            if tell:
                tell(image, stream)
            yield image
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; restore it or remove the sample") from None
    except PermissionError:
        raise DataError(f"{path}: no permission to read it; change its mode or remove the sample") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path}: more than {MAX_PIXELS // 10**6} million pixels; tile it") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not a readable image ({', '.join(_DECODERS)}); save it again or remove it") from None
    except _DECODER_ERRORS as error:
        raise DataError(f"{path}: cannot be decoded ({error}); save it again or remove it") from None


@dataclass(frozen=True)
class ImageHeader:
    """What the file says before pixels are decoded. `size` is (height, width) as stored; a TIFF's own
    orientation is applied by its decoder and neither seen nor undone."""

    size: tuple[int, int]
    mode: str
    format: str
    orientation: int


def read_header(path: Path) -> ImageHeader:
    """The header of an image file; no pixels are decoded."""
    with open_image(path) as image:
        return header_of(image)


def header_of(image: Image.Image) -> ImageHeader:
    """The header of an opened image."""
    # A PNG's own `getexif` decodes all pixels to look behind them.
    exif = Image.Image.getexif(image) if image.format != "TIFF" else {}
    orientation: Any = exif.get(_ORIENTATION)
    return ImageHeader(
        (image.height, image.width), image.mode, image.format or "", orientation if orientation in range(1, 9) else 1
    )


def read_image(path: Path, exif: Exif = "apply", tell: Tell | None = None) -> npt.NDArray[np.uint8]:
    """Reads an image as (H, W, 3) uint8 RGB.

    Grey is repeated, alpha is dropped, CMYK is converted, 16-bit values are divided by 256, and the
    EXIF orientation is applied or ignored as the dataset says. Float images are refused.
    """
    with open_image(path, tell) as image:
        if image.mode.startswith("I"):
            grey = integer_pixels(image, path)
            array = np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
            return array if exif == "ignore" else _orient(array, header_of(image).orientation)
        if image.mode == "F":
            raise DataError(f"{path}: float pixels have no agreed range; save it as 8- or 16-bit")
        image.load()  # a TIFF's own orientation is gone then, and a PNG's may lie behind its pixels
        # Each step copies all pixels, which for a photograph takes as long as decoding it: only where it has to be.
        upright = ImageOps.exif_transpose(image) if exif == "apply" and image.getexif().get(_ORIENTATION) else image
        return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))


def integer_pixels(image: Image.Image, path: Path) -> npt.NDArray[np.uint16]:
    """(H, W) uint16 of an image with integer pixels of 16 or 32 bits. DataError for values beyond 16 bits."""
    pixels = np.asarray(image)
    if pixels.size and (pixels.min() < 0 or pixels.max() > 65535):
        raise DataError(f"{path}: holds values outside 0..65535; save it as 8- or 16-bit")
    return pixels.astype(np.uint16)


def _orient(array: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """The eight EXIF orientations (Exif 2.32, tag 0x0112) on (H, W, C)."""
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def read_mask(path: Path, encoding: MaskEncoding, classes: ClassTree, tell: Tell | None = None) -> MaskPixels:
    """Reads a mask file as class ids (H, W). DataError where the file cannot mean what `encoding` says."""
    with open_image(path, tell) as image:
        refuse_ambiguous(image, path, encoding.kind)
        if encoding.kind == "index":
            return MaskPixels(_read_index(image, path))
        if encoding.kind == "levels":
            return _read_levels(image, path, encoding.levels)
        return _read_colour(image, path, classes, encoding.ignore_colour)


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
    return [arguments] if isinstance(arguments, str) else list(arguments or [""])


def refuse_ambiguous(image: Image.Image, path: Path, kind: Encoding) -> None:
    """Refuses masks whose stored values the decoder changes, and colour models that masks do not have."""
    stored, *rest = _stored_as(image)
    if image.mode not in _MASK_MODES:
        raise DataError(
            f"{path}: pixels of kind {image.mode} have no agreed meaning in a mask; save it as 8- or 16-bit grey"
        )
    if ";16" in stored and not image.mode.startswith("I"):
        raise DataError(f"{path}: colours of 16 bits a channel are ambiguous in a mask; save it with 8 bits")
    spread = image.format == "PPM" and rest and rest[0] not in (255, 65535)
    if kind == "index" and (spread or stored.startswith(("L;", "1;I"))):
        raise DataError(
            f"{path}: grey values of fewer than 8 bits, or with white as 0, are ambiguous as class ids; "
            "save it as 8-bit grey or with a palette"
        )


def _read_index(image: Image.Image, path: Path) -> npt.NDArray[Any]:
    if image.format in LOSSY:
        raise DataError(
            f"{path}: {image.format} changes pixel values, so it cannot be an index mask; "
            "set `encoding: levels` under `masks` in dataset.yaml"
        )
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode in ("L", "P"):
        return np.asarray(image)
    if image.mode.startswith("I"):
        return integer_pixels(image, path)
    return _grey_of(image, path)


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


def _read_levels(image: Image.Image, path: Path, levels: Mapping[int, int]) -> MaskPixels:
    if image.mode.startswith("I"):
        grey: npt.NDArray[Any] = integer_pixels(image, path)
    elif image.mode in ("1", "L"):
        grey = np.asarray(image.convert("L"))
    elif image.format in LOSSY:
        grey = np.asarray(image.convert("L"))  # chroma noise of the compression
    else:
        grey = _grey_of(image.convert("RGB") if image.mode == "P" else image, path)
    values = np.array(sorted(levels), np.int64)
    middles = (values[1:] + values[:-1] + 1) // 2
    nearest = np.searchsorted(middles, grey, side="right")
    ids = np.array([levels[int(v)] for v in values], np.uint16)[nearest]
    return MaskPixels(ids, int((values[nearest] != grey).sum()))


def _read_colour(image: Image.Image, path: Path, classes: ClassTree, ignore_colour: Colour | None) -> MaskPixels:
    if image.mode in ("RGBA", "LA", "PA") and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        raise DataError(f"{path}: a mask with transparent pixels is ambiguous; save it without alpha")
    if image.mode.startswith("I"):
        raise DataError(f"{path}: grey values where class colours are expected; set `encoding: index`")
    rgb = np.asarray(image.convert("RGB")).astype(np.int32)
    packed = (rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]).reshape(-1)
    palette, values = classes.colours.astype(np.int32), classes.ids
    if ignore_colour is not None:
        palette, values = np.append(palette, [ignore_colour], 0).astype(np.int32), [*values, classes.ignore]
    # Nearly every pixel has the very colour of a class; only the others are worth a search for the nearest.
    known, first = np.unique(palette @ np.array([1 << 16, 1 << 8, 1], np.int32), return_index=True)
    place = np.minimum(np.searchsorted(known, packed), len(known) - 1)
    nearest, strange = first[place], np.flatnonzero(known[place] != packed)
    if len(strange):
        present, inverse = np.unique(packed[strange], return_inverse=True)
        channels = np.stack([present >> 16, present >> 8 & 255, present & 255], 1)
        # At most a few thousand distinct colours: a table of distances is small.
        nearest[strange] = np.concatenate(
            [
                ((block[:, None] - palette[None]) ** 2).sum(2).argmin(1)
                for block in np.array_split(channels, len(channels) // 4096 + 1)
            ]
        )[inverse]
    return MaskPixels(np.array(values, np.uint16)[nearest].reshape(rgb.shape[:2]), len(strange))
