"""Pictures of a whole dataset as files: full-size overlays with a legend each, and contact sheets of thumbnails."""

from __future__ import annotations

import io
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count as numbers
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from maskwright.base import progress as bar
from maskwright.base.storage import staged_folder
from maskwright.base.strictyaml import did_you_mean
from maskwright.base.texts import plural
from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.masks import Mask, Pixels, class_pixels, overlay
from maskwright.core.palette import colour_of, seen, separation
from maskwright.core.sample import Sample
from maskwright.errors import ConfigError, DataError, MaskwrightError
from maskwright.reporting.lettering import lettered

_SEPARATION, _CHROMA = 12.0, 20.0  # CIELAB; see `safe_colours`
_THUMBNAIL, _COLUMNS, _ROWS = 220, 5, 6
_LETTERS, _GAP = 14, 12  # height of letters and space between tiles on sheets, in pixels
_MARKS = {"exclude": "excluded"}
_PAPER, _INK = (255, 255, 255), (24, 24, 24)
_JPEG_SIDE = 65_500  # the longest that the format and its library allow
_UNSAFE = re.compile(r'[\0-\x1f\x7f-\x9f<>:"/\\|?*\ud800-\udfff]')

Colours = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class OverlayResult:
    """What `overlays` wrote into `folder`: files by the names of their samples, sheets in order, the legend.

    `skipped` holds the reason for each sample that has no picture. `own_colours` tells whether the classes are
    drawn in their own colours; else they are in those of the palette, and the legend says so.
    """

    folder: Path
    overlays: dict[str, Path]
    sheets: tuple[Path, ...]
    legend: Path
    skipped: dict[str, str]
    own_colours: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "folder": str(self.folder),
            "overlays": {name: str(path) for name, path in self.overlays.items()},
            "sheets": [str(path) for path in self.sheets],
            "legend": str(self.legend),
            "skipped": self.skipped,
            "own_colours": self.own_colours,
        }


def overlays(
    dataset: Dataset,
    out: Path,
    *,
    split: str | None = None,
    count: int | None = None,
    sheets: bool = True,
    progress: bool = True,
) -> OverlayResult:
    """Writes the new folder `out`: `overlays/SPLIT/NAME.jpg` in full size, `sheets/SPLIT-001.jpg` and on, `legend.png`.

    `split` draws that split alone, `count` so many samples at even distances through the dataset; excluded ones are
    drawn too, and marked on the sheets. Samples without a split are in `all`. Memory does not grow with the number
    of samples. One that cannot be read, that has no mask or a mask of another size is skipped and listed.
    Raises ConfigError when `out` exists and is not empty, for an unknown split or a `count` below 1, and DataError
    when no sample at all could be drawn.
    """
    chosen = _choose(dataset, split, count)
    colours = safe_colours(dataset.classes)
    own = bool((colours == dataset.classes.colours).all())
    files: dict[str, Path] = {}
    skipped: dict[str, str] = {}
    paper: list[Path] = []
    taken: set[str] = set()
    with (
        staged_folder(out) as staging,
        bar.progress("drawing", sum(map(len, chosen.values()))) if progress else nullcontext() as advance,
    ):
        for name, samples in chosen.items():
            title = file_name([name], taken)
            sheet = _Sheet(dataset.classes, colours, f"{dataset.name}: {name}")
            for sample in samples:
                try:
                    image, mask = dataset.read(sample)
                    data = jpeg(full_size(image, mask, dataset.classes, colours), sample)
                except MaskwrightError as error:
                    skipped[sample.name] = str(error)
                else:
                    inner = sample.name.removeprefix(f"{name}/") if sample.split else sample.name
                    path = Path("overlays", file_name([title, *re.split(r"[\\/]", inner)], taken, ".jpg"))
                    (staging / path).parent.mkdir(parents=True, exist_ok=True)
                    (staging / path).write_bytes(data)
                    files[sample.name] = path
                    if sheets:
                        sheet.add(sample, image, mask)
                if sheet.tiles and (len(sheet.tiles) == _COLUMNS * _ROWS or sample is samples[-1]):
                    paper.append(Path("sheets", f"{title}-{sheet.number:03d}.jpg"))
                    (staging / "sheets").mkdir(exist_ok=True)
                    (staging / paper[-1]).write_bytes(jpeg(sheet.finish()))
                if advance:
                    advance(len(files) + len(skipped))
        if not files:
            raise DataError(
                f"{dataset.root}: none of the {plural(len(skipped), 'sample')} can be drawn; the first one: "
                f"{next(iter(skipped.values()), 'there are none')}"
            )
        full_legend(dataset.classes, colours, own).save(staging / "legend.png")
    return OverlayResult(
        out,
        {name: out / path for name, path in files.items()},
        tuple(out / path for path in paper),
        out / "legend.png",
        skipped,
        own,
    )


def _choose(dataset: Dataset, split: str | None, count: int | None) -> dict[str, list[Sample]]:
    """The samples to draw by split, in the order of the dataset."""
    known = dict.fromkeys(sample.split or "all" for sample in dataset.samples)
    if split is not None and split not in known:
        raise ConfigError(f"split {split!r} is not in the dataset{did_you_mean(split, known)}")
    if count is not None and count < 1:
        raise ConfigError(f"count is {count}; give at least 1, or leave it out to draw every sample")
    line = [
        (name, sample)
        for name in known
        if split in (None, name)
        for sample in dataset.samples
        if (sample.split or "all") == name
    ]
    places = np.linspace(0, len(line) - 1, min(count or len(line), len(line))).round().astype(int).tolist()
    chosen: dict[str, list[Sample]] = {}
    for name, sample in (line[place] for place in places):
        chosen.setdefault(name, []).append(sample)
    return chosen


def file_name(parts: Sequence[str], taken: set[str], ending: str = "") -> str:
    """A relative path of `parts` that stays below its folder and is new in `taken`, which gets it.

    It is portable: without characters that some system refuses, different from others in more than case.
    """
    cleaned = [_UNSAFE.sub("_", part).strip(" .") for part in parts]
    # Short enough for any file system; a folder never has the name of a picture.
    cleaned = [part if len(part.encode()) <= 200 else f"{part[:20]}_{part[-20:]}" for part in cleaned if part] or ["_"]
    cleaned = cleaned[:1] + cleaned[1:][-6:]
    folders = [f"{part}_" if part.lower().endswith(".jpg") else part for part in cleaned[:-1]]
    for number in numbers(1):
        path = "/".join([*folders, cleaned[-1] + (f"-{number}" if number > 1 else "") + ending])
        key = unicodedata.normalize("NFC", path.casefold())
        if key not in taken:
            taken.add(key)
            return path
    raise AssertionError


def safe_colours(classes: ClassTree) -> Colours:
    """(K, 3) uint8 to draw the classes in: their own colours if these can be told apart, else those of the palette.

    The background is not tinted and does not count. Own colours stay when any two of the others are at least 12 apart
    in CIELAB to normal, protan, deutan and tritan eyes (Machado 2009), or as far as those of the palette, which with
    many classes are closer; and when each has a chroma of 20 or more, since a grey tint on a grey picture looks
    like the picture. A tint of 45 % shows less than half of a distance, so 12 leaves twice what is just noticeable
    (2.3). All colours are replaced or none: one of the palette could be that of another class.
    """
    own = classes.colours
    palette = np.array([colour_of(index) for index in range(len(classes))], np.uint8)
    tinted = [index for index in range(len(classes)) if index != classes.background]
    grey = (np.linalg.norm(seen(own)[tinted, 1:], axis=1) < _CHROMA).any()
    alike = separation(own[tinted]) < min(_SEPARATION, separation(palette[tinted]))
    return palette if grey or alike else own


def full_size(image: Pixels, mask: Mask, classes: ClassTree, colours: Colours) -> Image.Image:
    """The overlay of image (H, W, 3) and mask (H, W) in its own size above the classes it holds, with their shares.

    Classes are tinted and outlined in `colours` (K, 3), ignored pixels hatched, tiny regions ringed. A picture that
    is too narrow for its legend stands at the left of white paper.
    """
    unit = max(1, round(max(mask.shape) / 800))
    background = classes.background
    drawn = Image.fromarray(
        ringed(overlay(image, mask, colours, background=background), mask, colours, background, unit)
    )
    letters = min(max(_LETTERS, max(mask.shape) // 60), 64)
    strip = _legend(
        legend_entries(classes, class_pixels(mask, len(classes)), mask.size),
        colours,
        max(drawn.width, 26 * letters),
        letters,
        background,
    )
    return stack([drawn, strip])


def ringed(pixels: Pixels, mask: Mask, colours: Colours, background: int | None = 0, unit: int = 1) -> Pixels:
    """Rings in the colours of their classes around regions of at most 3 `unit`s a side, which nobody would see.

    A region within 8 units of another of its class has no ring, and no square of 24 units has more than one, so that
    neither ragged edges nor noise are hidden by them.
    """
    places: dict[tuple[int, int], tuple[int, int, int]] = {}
    for index in np.unique(mask).tolist():
        if index in (background, IGNORE):
            continue
        near = cv2.dilate((mask == index).astype(np.uint8), np.ones((8 * unit + 1, 8 * unit + 1), np.uint8))
        _, _, boxes, centres = cv2.connectedComponentsWithStats(near, connectivity=8)
        tiny = boxes[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(1) <= 11 * unit
        for x, y in centres[1:][tiny].round().astype(int).tolist():
            places.setdefault((x // (24 * unit), y // (24 * unit)), (x, y, index))
    result = pixels.copy()
    for x, y, index in places.values():
        # On black and white, so that it shows on any picture.
        for colour, width in (((0, 0, 0), 6), ((255, 255, 255), 4), (colours[index].tolist(), 2)):
            cv2.circle(result, (x, y), 7 * unit, colour, width * unit, cv2.LINE_AA)
    return result


def thumbnails(image: Pixels, mask: Mask, colours: Colours, background: int | None = 0) -> tuple[Pixels, Pixels]:
    """Image and overlay (h, w, 3), both 220 pixels on the long side; every class of the mask is on the overlay."""
    scale = _THUMBNAIL / max(mask.shape)
    width, height = (max(1, round(side * scale)) for side in mask.shape[::-1])
    small = np.asarray(
        cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8
    )
    shrunk = shrink_mask(mask, width, height, background)
    return small, ringed(overlay(small, shrunk, colours, background=background), shrunk, colours, background)


def shrink_mask(mask: Mask, width: int, height: int, background: int | None = 0) -> Mask:
    """(H, W) -> (height, width) where each pixel is the rarest class of those it stands for, so that none is lost.

    The `background` and `IGNORE` give way to any other class.
    """
    counts = np.bincount(mask.reshape(-1), minlength=256)
    counts[IGNORE] = mask.size + 1
    if background is not None:
        counts[background] = mask.size + 2
    order = np.argsort(-counts, kind="stable").astype(np.uint8)
    rank = np.empty(256, np.uint8)
    rank[order] = np.arange(256)
    block = np.ones((math.ceil(mask.shape[0] / height), math.ceil(mask.shape[1] / width)), np.uint8)
    # The resizing takes the first pixel of each block, which by then is the highest rank in it.
    spread = cv2.dilate(rank[mask], block, anchor=(0, 0))
    return np.asarray(order[cv2.resize(spread, (width, height), interpolation=cv2.INTER_NEAREST)])


class _Sheet:
    """A contact sheet that fills up: `add` tiles, `finish` it, and it is the next one, empty."""

    def __init__(self, classes: ClassTree, colours: Colours, title: str) -> None:
        self.classes, self.colours, self.title = classes, colours, title
        self.number = 1
        self.tiles: list[tuple[Sample, Pixels, Pixels]] = []
        self.counts = np.zeros(len(classes) + 1, np.int64)

    def add(self, sample: Sample, image: Pixels, mask: Mask) -> None:
        self.tiles.append((sample, *thumbnails(image, mask, self.colours, self.classes.background)))
        self.counts += class_pixels(mask, len(self.classes))

    def finish(self) -> Image.Image:
        columns = min(_COLUMNS, len(self.tiles))
        wide = max(200, *(2 * small.shape[1] + 2 for _, small, _ in self.tiles))
        line = _LETTERS * 3 // 2
        heights = [
            max(small.shape[0] for _, small, _ in self.tiles[start : start + columns])
            for start in range(0, len(self.tiles), columns)
        ]
        sheet = Image.new("RGB", (_GAP + columns * (wide + _GAP), sum(heights) + len(heights) * (line + _GAP)), _PAPER)
        draw = ImageDraw.Draw(sheet)
        for index, (sample, small, drawn) in enumerate(self.tiles):
            row, column = divmod(index, columns)
            x, y = _GAP + column * (wide + _GAP), sum(heights[:row]) + row * (line + _GAP)
            sheet.paste(Image.fromarray(small), (x, y))
            sheet.paste(Image.fromarray(drawn), (x + small.shape[1] + 2, y))
            write_text(draw, (x, y + heights[row] + line // 2), sample.name, wide, _LETTERS, _marks(sample))
        width = max(sheet.width, 30 * _LETTERS)
        head = Image.new("RGB", (width, 2 * line), _PAPER)
        title = f"{self.title}, sheet {self.number}"
        write_text(ImageDraw.Draw(head), (_GAP, line), title, width - 2 * _GAP, _LETTERS + 4)
        whole = stack(
            [
                head,
                sheet,
                _legend(
                    legend_entries(self.classes, self.counts), self.colours, width, _LETTERS, self.classes.background
                ),
            ]
        )
        self.number, self.tiles, self.counts = self.number + 1, [], np.zeros_like(self.counts)
        return whole


def _marks(sample: Sample) -> str:
    """What is not as usual with it: ` [box] [excluded]`."""
    told = sample.provenance, sample.status, "edited" if sample.edited else "keep"
    return "".join(f" [{_MARKS.get(mark, mark)}]" for mark in told if mark not in ("hand", "keep"))


def full_legend(classes: ClassTree, colours: Colours, own: bool) -> Image.Image:
    """Every class with its id and colour (K, 3), and what hatching and rings mean."""
    strip = _legend(legend_entries(classes, np.ones(len(classes) + 1, np.int64)), colours, 900, 18, classes.background)
    plain = "" if classes.background is None else f"{classes.names[classes.background]}: not tinted; "
    texts = [f"{plain}ignored: hatched; in a ring: too small to be seen otherwise"]
    texts += ["in the colours of the palette, as the classes' own are too similar, or grey"] * (not own)
    notes = Image.new("RGB", (strip.width, 30 * len(texts)), _PAPER)
    for line, text in enumerate(texts):
        write_text(ImageDraw.Draw(notes), (9, 15 + 30 * line), text, strip.width - 18, 16)
    return stack([strip, notes])


def legend_entries(
    classes: ClassTree, counts: npt.NDArray[np.int64], pixels: int | None = None
) -> list[tuple[int, str]]:
    """(index, text) of the classes whose counts (K + 1,) are not 0, with their shares where `pixels` is given."""
    names = [f"{leaf.id}: {leaf.name}" for leaf in classes.leaves] + ["ignored"]
    shares = [f"  {share:.1f} %" if share >= 0.05 else "  < 0.1 %" for share in 100 * counts / (pixels or 1)]
    return [
        (index if index < len(classes) else IGNORE, names[index] + (shares[index] if pixels else ""))
        for index in np.flatnonzero(counts).tolist()
    ]


def _legend(
    entries: Iterable[tuple[int, str]], colours: Colours, width: int, letters: int, background: int | None
) -> Image.Image:
    """Swatches with texts in as many lines as they need, `width` pixels wide, with letters so many pixels high.

    The background has an empty swatch, as it is not tinted.
    """
    swatch, gap, line = letters * 5 // 4, letters // 2, letters * 7 // 4
    room = min(width - swatch - 3 * gap, 30 * letters)
    places, x, y = [], gap, gap
    for index, text in entries:
        shown, font = lettered(text, letters, room)
        needed = swatch + gap + math.ceil(font.getlength(shown)) + 2 * gap
        if x > gap and x + needed > width:
            x, y = gap, y + line
        places.append((index, shown, font, x, y))
        x += needed
    strip = Image.new("RGB", (width, y + line), _PAPER)
    draw = ImageDraw.Draw(strip)
    for index, shown, font, x, y in places:
        patch = np.full((swatch, swatch, 3), colours[index] if index not in (background, IGNORE) else 255, np.uint8)
        if index == IGNORE:
            patch = overlay(patch, np.full(patch.shape[:2], IGNORE, np.uint8), colours)
        strip.paste(Image.fromarray(patch), (x, y))
        draw.rectangle((x, y, x + swatch - 1, y + swatch - 1), outline=_INK, width=max(1, letters // 14))
        _draw(draw, (x + swatch + gap, y + swatch // 2), shown, font)
    return strip


def stack(pictures: Sequence[Image.Image]) -> Image.Image:
    """One above the other, at the left of white paper."""
    tops = np.cumsum([0] + [picture.height for picture in pictures]).tolist()
    paper = Image.new("RGB", (max(picture.width for picture in pictures), tops[-1]), _PAPER)
    for picture, top in zip(pictures, tops, strict=False):
        paper.paste(picture, (0, top))
    return paper


def write_text(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, room: int, letters: int, tail: str = ""
) -> None:
    """Writes `text` and `tail` from the middle of their left side on, `text` shortened to what fits in `room`."""
    _draw(draw, at, *lettered(text, letters, room, tail))


def _draw(draw: ImageDraw.ImageDraw, at: tuple[int, int], shown: str, font: ImageFont.FreeTypeFont) -> None:
    # A name in Hebrew or Arabic must not turn round the numbers beside it. Only one engine knows of directions.
    direction = "ltr" if font.layout_engine == ImageFont.Layout.RAQM else None
    draw.text(at, shown, _INK, font, "lm", direction=direction)


def jpeg(picture: Image.Image, sample: Sample | None = None) -> bytes:
    """The bytes of a file. DataError, which names `sample`, for a picture that is too long for the format."""
    if max(picture.size) > _JPEG_SIDE:
        raise DataError(
            f"{sample.image if sample else 'sheet'}: {picture.width}x{picture.height} is too long for a "
            f"JPEG (at most {_JPEG_SIDE}); tile it"
        )
    stream = io.BytesIO()
    # Colours at full resolution: an outline is one pixel wide.
    picture.save(stream, "JPEG", quality=90, subsampling=0)
    return stream.getvalue()
