"""Sample, and the one reader of images.

Only allow-listed decoders run, and sizes are capped before pixels are decoded.
"""

from __future__ import annotations

import gzip
import io
import logging
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from maskwright.base.limits import MAX_PIXELS
from maskwright.base.quiet import silence
from maskwright.core import tiff
from maskwright.core.bands import RGB, Bands, Stored
from maskwright.core.regions import Drawing
from maskwright.errors import DataError

N = TypeVar("N", bound=np.generic)
Status = Literal["keep", "exclude", "suspect"]
Provenance = Literal["hand", "box", "model"]
Exif = Literal["apply", "ignore"]

# What Pillow's decoders of these formats call their files.
IMAGE_SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"}
    | {".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".gif"}
)
# Endings of compressed files, behind the ending of what is in them.
PACKED = ".gz"
# The only decoders that run, by Pillow's names.
DECODERS = ("PNG", "JPEG", "JPEG2000", "BMP", "TIFF", "WEBP", "PPM", "GIF")
_ALPHA = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
# MPO is what phones write: a JPEG with previews behind it, which are left alone.
_LOSSY = frozenset({"JPEG", "MPO", "JPEG2000", "WEBP"})
_UNPACKED = 1 << 30  # bytes of a compressed file
_ORIENTATION = 0x0112  # the EXIF tag
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
class MaskPart:
    """One of the files that a mask is made of. Its pixels that are not background belong to the class with this `id`;
    without one they are class ids themselves, as the encoding of the dataset says."""

    file: Path
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its mask, with several files that make up its mask (`parts`, later ones on top), or with a drawing
    that is rendered as one. `name` is unique in the dataset; the paths are absolute or relative to the working folder,
    already confined to the dataset's root. An `edited` mask is an index PNG from the journal of edits, whatever the
    encoding of the dataset. `page` counts the pages of image and mask from 0, where one file holds several samples."""

    name: str
    image: Path
    mask: Path | None = None
    split: str | None = None
    status: Status = "keep"
    provenance: Provenance = "hand"
    drawing: Drawing | None = None
    edited: bool = False
    parts: tuple[MaskPart, ...] = ()
    page: int | None = None

    @property
    def labelled(self) -> bool:
        """Whether it has mask files or a drawing to make a mask of."""
        return self.mask is not None or self.drawing is not None or bool(self.parts)

    def image_hash(self, hashes: Mapping[Path, str]) -> str:
        """The hash of its image among those of all files, with the page where a file holds several images."""
        return hashes[self.image] + ("" if self.page is None else f"#{self.page}")

    @property
    def mask_files(self) -> tuple[Path, ...]:
        """The files that hold pixels of its mask: one, several, or none for a drawing."""
        return (self.mask,) if self.mask else tuple(part.file for part in self.parts)

    @property
    def label_file(self) -> Path | None:
        """The file that its mask comes from, the first of several."""
        return next(iter(self.mask_files), self.drawing.source if self.drawing else None)


@dataclass(frozen=True, slots=True)
class InMemory:
    """An image file that came another way than from the disk, under the `name` that messages give it. Its bytes are
    never unpacked as a compressed file."""

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name

    def open(self, mode: str) -> BinaryIO:
        """As `Path.open`, to read bytes."""
        return io.BytesIO(self.content)


# Is shown an opened file before its pixels are decoded; the position of the stream has to stay.
Tell = Callable[[Image.Image, BinaryIO], None]


def silence_pillow() -> None:
    """Pillow warns of odd metadata, and of sizes and bands that are refused here."""
    silence(r"PIL\.")
    logger = logging.getLogger("PIL")
    if not logger.handlers:  # else Python prints what nobody listens to
        logger.addHandler(logging.NullHandler())


@contextmanager
def open_image(path: Path | InMemory, tell: Tell | None = None, page: int | None = None) -> Iterator[Image.Image]:
    """Opens an image file with the allow-listed decoders, at one of its pages where it has several. A file that ends in
    `.gz` is unpacked in memory. DataError for everything that cannot be read."""
    # From a path Pillow would map some TIFFs into memory without turning them as they ask.
    with faults(path), _stream(path) as stream, Image.open(stream, formats=DECODERS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        pages = pages_of(image)
        if page is not None and page < len(pages):
            image.seek(pages[page])
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
        elif page is not None or len(pages) > 1:
            raise DataError(
                f"{path}: holds {'fewer pages' if page is not None else 'several frames'}; save one image per file"
            )
        if image.format == "WEBP":
            image.info["lossless"] = _lossless_webp(stream)
        if tell:
            tell(image, stream)
        yield image


def pages_of(image: Image.Image) -> Sequence[int]:
    """The frames of an opened file that are images of their own, by their numbers: previews behind a photograph are
    none, nor are the overviews and masks of a TIFF (TIFF 6.0, tag 254)."""
    if isinstance(image, TiffImageFile) and image.fp:  # Pillow counts none where a mask is among them
        return tiff.image_frames(image.fp) or [0]  # type: ignore[arg-type]
    return range(1 if image.format == "MPO" else int(getattr(image, "n_frames", 1)))


@contextmanager
def faults(path: Path | InMemory) -> Iterator[None]:
    """DataError in place of whatever says that the file cannot be read."""
    try:
        silence_pillow()
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; restore it or remove the sample") from None
    except PermissionError:
        raise DataError(f"{path}: no permission to read it; change its mode or remove the sample") from None
    except Image.DecompressionBombError:
        raise DataError(
            f"{path}: more than {MAX_PIXELS // 10**6} million pixels; cut it into parts (`predict` takes it as a TIFF)"
        ) from None
    except UnidentifiedImageError:
        if (bands := _bands_of_tiff(path)) > 3:
            raise DataError(
                f"{path}: a TIFF of {bands} bands, which no file of red, green and blue has; save three as RGB, or "
                f"say in dataset.yaml that images have them (`channels: {bands}`)"
            ) from None
        raise DataError(f"{path}: not a readable image ({', '.join(DECODERS)}); save it again or remove it") from None
    except _DECODER_ERRORS as error:
        raise DataError(f"{path}: cannot be decoded ({error}); save it again or remove it") from None


def _bands_of_tiff(path: Path | InMemory) -> int:
    """The samples of a pixel that the first image of a TIFF states (TIFF 6.0, tag 277); 0 for other files."""
    try:
        with _stream(path) as stream:
            if stream.read(4) in tiff.HEADS:
                return next((int(tags.get(277, 0)) for tags in tiff.directories(stream)), 0)
    except (*_DECODER_ERRORS, DataError):
        pass
    return 0


def _stream(path: Path | InMemory) -> BinaryIO:
    if isinstance(path, InMemory) or path.suffix.lower() != PACKED:
        return path.open("rb")
    with gzip.open(path) as packed:
        data = packed.read(_UNPACKED + 1)
    if len(data) > _UNPACKED:
        raise DataError(f"{path}: holds more than {_UNPACKED >> 20} MiB; unpack it")
    return io.BytesIO(data)


def is_lossy(image: Image.Image) -> bool:
    """Whether the pixels of an opened file may differ from those that were saved."""
    if image.format == "TIFF":  # which may hold a JPEG
        return image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
    return image.format in _LOSSY and not image.info.get("lossless", False)


def dropped_channel(image: Image.Image) -> Literal["", "alpha", "band"]:
    """What an opened file holds behind grey or red, green and blue, and `read_image` drops: an alpha channel, or bands
    of a TIFF that are said to be of no agreed kind."""
    if image.mode in _ALPHA or "transparency" in image.info:  # the latter as a colour, or in a palette
        return "alpha"
    tile: Any = (
        image.tile[0].args if image.format == "TIFF" and isinstance(image, ImageFile.ImageFile) and image.tile else ""
    )
    # Pillow's name for how pixels are stored has an X for each band that it passes over.
    return "band" if "X" in str(tile if isinstance(tile, str) else tile[0]) else ""


def _lossless_webp(stream: BinaryIO) -> bool:
    """Whether the picture lies in a VP8L chunk (RFC 9649, section 2)."""
    position, found = stream.tell(), False
    stream.seek(12)
    while len(chunk := stream.read(8)) == 8 and chunk[:4] not in (b"VP8 ", b"ANMF"):
        if found := chunk[:4] == b"VP8L":
            break
        size = int.from_bytes(chunk[4:], "little")
        stream.seek(size + size % 2, io.SEEK_CUR)
    stream.seek(position)
    return found


@dataclass(frozen=True)
class ImageHeader:
    """What the file says before pixels are decoded. `size` is (height, width) as stored; a TIFF's own
    orientation is applied by its decoder and neither seen nor undone."""

    size: tuple[int, int]
    mode: str
    format: str
    orientation: int


def read_pages(path: Path) -> int:
    """The number of pages of an image file."""
    with open_image(path, page=0) as image:
        return len(pages_of(image))


def read_header(path: Path, page: int | None = None, bands: Bands = RGB) -> ImageHeader:
    """The header of an image file with such `bands`; no pixels are decoded."""
    if not bands.plain:
        with faults(path), _stream(path) as stream:
            if pages := _tiff_pages(stream, path, page):
                size = pages[0].size[::-1] if pages[0].orientation >= 5 else pages[0].size
                return ImageHeader(size, "", "TIFF", 1)
    with open_image(path, page=page) as image:
        return header_of(image)


def header_of(image: Image.Image) -> ImageHeader:
    """The header of an opened image."""
    # A PNG's own `getexif` decodes all pixels to look behind them.
    exif = Image.Image.getexif(image) if image.format != "TIFF" else {}
    orientation: Any = exif.get(_ORIENTATION)
    return ImageHeader(
        (image.height, image.width), image.mode, image.format or "", orientation if orientation in range(1, 9) else 1
    )


def read_image(
    path: Path, exif: Exif = "apply", tell: Tell | None = None, page: int | None = None, bands: Bands = RGB
) -> npt.NDArray[np.uint8]:
    """Reads an image as (H, W, 3) uint8 RGB, to look at.

    Grey is repeated, alpha is dropped, CMYK is converted, 16-bit values are divided by 256, and the
    EXIF orientation is applied or ignored as the dataset says. Float images are refused. Where the dataset says that
    its images hold other `bands`, these are read (see `read_bands`), and the shown ones are stretched by their range.
    """
    return bands.picture(read_bands(path, bands, exif, tell, page))


def read_bands(
    path: Path | InMemory, bands: Bands, exif: Exif = "apply", tell: Tell | None = None, page: int | None = None
) -> Stored:
    """Reads an image as (H, W, C) of `bands`, uint8 or uint16, as a model is given it: RGB as `read_image` says, else
    the values as they are stored. DataError for a file that holds other bands; alpha may be one, or more than them."""
    if bands.plain:
        with open_image(path, tell, page) as image:
            return _rgb_pixels(image, str(path), exif)
    with faults(path), _stream(path) as stream:
        if pages := _tiff_pages(stream, path, page):
            held = _held_by(pages)
            bands.require(*held, str(path))
            if tell:
                stream.seek(0)
                tell(Image.new("L" if held.bits == 8 else "I;16", (1, 1)), stream)
            pixels = np.concatenate([tiff.decoded(stream, one) for one in pages], axis=2)
            return _oriented(pixels[..., : bands.channels], pages[0].orientation)
    with open_image(path, tell, page) as image:
        return _opened_bands(image, str(path), bands, exif)


class Held(NamedTuple):
    """What a file stores: so many channels of so many bits, of which the last may be alpha."""

    channels: int
    bits: int
    alpha: bool


def read_held(path: Path, page: int | None = None) -> Held:
    """What an image file stores; no pixels are decoded. DataError for what `read_bands` does not read."""
    with faults(path), _stream(path) as stream:
        if pages := _tiff_pages(stream, path, page):
            return _held_by(pages)
    with open_image(path, page=page) as image:
        return _held(image, str(path))


@contextmanager
def open_shown(path: Path) -> Iterator[Image.Image]:
    """As `open_image`, at the first page; TIFFs with bands that it refuses as a picture of the first ones."""
    with ExitStack() as stack:
        try:
            image = stack.enter_context(open_image(path, page=0))
        except DataError as refused:
            try:
                held = read_held(path, 0)
                bands = Bands.of(held.channels, 16 if held.bits == 16 else 8)
                image = Image.fromarray(read_image(path, "ignore", page=0, bands=bands))
            except DataError:
                raise refused from None
        yield image


def _tiff_pages(stream: BinaryIO, path: Path | InMemory, page: int | None) -> list[tiff.Page]:
    """The pages that make up an image in a TIFF; none for other files."""
    if stream.read(4) not in tiff.HEADS:
        return []
    return tiff.chosen(tiff.pages(stream, str(path)), page, str(path))


def _held_by(pages: Sequence[tiff.Page]) -> Held:
    return Held(sum(one.bands for one in pages), pages[0].bits, pages[0].alpha)


def _stored_as(image: Image.Image) -> str:
    """Pillow's name for how an opened file stores its pixels."""
    return str(image.tile[0].args) if isinstance(image, ImageFile.ImageFile) and image.tile else ""


def _held(image: Image.Image, what: str) -> Held:
    if image.mode == "F":
        raise DataError(f"{what}: float pixels have no agreed range; save it as 8- or 16-bit")
    if image.mode.startswith("I"):
        return Held(1, 16, False)
    channels = {"1": 1, "L": 1, "LA": 2, "RGBA": 4}.get(image.mode, 3)
    return Held(channels, 16 if ";16" in _stored_as(image) else 8, channels in (2, 4))


def _opened_bands(image: Image.Image, what: str, bands: Bands, exif: Exif) -> Stored:
    """The pixels of an opened image, as `read_bands` says of `bands` that are not plain."""
    held = _held(image, what)
    bands.require(*held, what)
    orientation = header_of(image).orientation if exif == "apply" else 1
    if image.mode.startswith("I"):
        pixels: Stored = integer_pixels(image, what)[..., None]
    elif held.bits == 16:
        pixels = _deep_colours(image, what)
    else:
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[held.channels]
        array = np.asarray(image if image.mode == mode else image.convert(mode))
        pixels = array if array.ndim == 3 else array[..., None]
    return _oriented(pixels[..., : bands.channels], orientation)


def _deep_colours(image: Image.Image, what: str) -> Stored:
    """(H, W, C) uint16 of an opened PNG with several channels of 16 bits, which Pillow would reduce to 8."""
    assert isinstance(image, ImageFile.ImageFile) and image.fp
    image.fp.seek(0)
    found = cv2.imdecode(np.frombuffer(image.fp.read(), np.uint8), cv2.IMREAD_UNCHANGED)  # EXIF is left alone
    if found is None or found.dtype != np.uint16 or found.ndim != 3 or found.shape[2] not in (3, 4):
        raise DataError(f"{what}: its 16-bit channels cannot be decoded; save it again or remove it")
    order = [0, 3] if image.mode == "LA" else [2, 1, 0, 3][: found.shape[2]]  # BGR
    return np.asarray(found[..., order], np.uint16)


def opened_pixels(image: Image.Image, what: str, exif: Exif = "apply", bands: Bands = RGB) -> Stored:
    """As `read_bands`, of an image that somebody else has opened or made; `what` names it in a DataError."""
    try:
        return _rgb_pixels(image, what, exif) if bands.plain else _opened_bands(image, what, bands, exif)
    except DataError:
        raise
    except _DECODER_ERRORS as error:
        raise DataError(f"{what}: cannot be decoded ({error}); open it again") from None


def _rgb_pixels(image: Image.Image, what: str, exif: Exif) -> npt.NDArray[np.uint8]:
    """The pixels of an opened image, as `read_image` says."""
    if image.mode.startswith("I"):
        grey = integer_pixels(image, what)
        array = np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
        return array if exif == "ignore" else _oriented(array, header_of(image).orientation)
    if image.mode == "F":
        raise DataError(f"{what}: float pixels have no agreed range; save it as 8- or 16-bit")
    image.load()  # a TIFF's own orientation is gone then, and a PNG's may lie behind its pixels
    # Each step copies all pixels, which for a photograph takes as long as decoding it: only where it has to be.
    upright = ImageOps.exif_transpose(image) if exif == "apply" and image.getexif().get(_ORIENTATION) else image
    return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))


def integer_pixels(image: Image.Image, path: Path | str) -> npt.NDArray[np.uint16]:
    """(H, W) uint16 of an image with integer pixels of 16 or 32 bits. DataError for values beyond 16 bits."""
    pixels = np.asarray(image)
    if pixels.size and (pixels.min() < 0 or pixels.max() > 65535):
        raise DataError(f"{path}: holds values outside 0..65535; save it as 8- or 16-bit")
    return pixels.astype(np.uint16)


def _oriented(array: npt.NDArray[N], orientation: int) -> npt.NDArray[N]:
    """The eight EXIF orientations (Exif 2.32, tag 0x0112) on (H, W, C)."""
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)
