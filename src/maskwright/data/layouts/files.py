"""What the files of a folder are: pictures or masks, by their pixels. Names are evidence, no proof.

Files are put into series: one folder (or folders that differ in numbers and names only) and one form of names. Of each
series a few files are decoded; only where these disagree, all of them are.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskwright.base.texts import counted, listing
from maskwright.core.image_files import links_outside, paths_below
from maskwright.core.mask_files import ARRAY_SUFFIXES, packed_colours
from maskwright.core.patterns import nfc
from maskwright.core.sample import PACKED, open_shown, pages_of
from maskwright.data.layouts.words import SplitWords, Token, split_words, tokens
from maskwright.errors import MaskwrightError

Role = Literal["image", "mask", "unsure", "unreadable"]

_SAMPLED = 6  # files of a series that are decoded
_ALL = 400  # of a series that holds both, so many are decoded
_CROP = 512
_SHADES, _FREQUENT = 64, 8
_HEADERS = 4000
# The share of horizontal neighbours that are equal: .93 to 1 in masks, .01 to .55 in photographs.
_FLAT, _ROUGH = 0.9, 0.6
_MANY = 8  # sibling folders with names of their own: they hold samples, and no kinds of files

MASK_WORDS = frozenset(
    [
        "mask",
        "masks",
        "label",
        "labels",
        "labelled",
        "gt",
        "groundtruth",
        "ground",
        "truth",
        "seg",
        "segs",
        "segmentation",
        "segmentations",
        "annotation",
        "annotations",
        "anno",
        "annos",
        "ann",
        "manual",
        "target",
        "targets",
        "class",
        "classes",
        "semantic",
        "parsing",
        "ids",
    ]
)
IMAGE_WORDS = frozenset(
    [
        "image",
        "images",
        "img",
        "imgs",
        "rgb",
        "photo",
        "photos",
        "picture",
        "pictures",
        "original",
        "originals",
        "org",
        "raw",
        "color",
        "colour",
        "frame",
        "frames",
        "jpeg",
        "jpegimages",
        "input",
        "inputs",
    ]
)
# Of what is made from images and masks, to be looked at.
SHOWN_WORDS = frozenset(
    [
        "overlay",
        "overlays",
        "preview",
        "previews",
        "vis",
        "viz",
        "visualization",
        "visualisation",
        "visualizations",
        "blend",
        "blended",
        "thumb",
        "thumbs",
        "thumbnail",
        "thumbnails",
        "result",
        "results",
        "output",
        "outputs",
        "pred",
        "preds",
        "prediction",
        "predictions",
        "human",
        "save",
    ]
)


@dataclass(slots=True)
class File:
    """A file that may be an image or a mask. `path` is inside the folder, with `/`; `size` is (height, width), `bands`
    the number of its channels, `pages` of its pages; `index` says that its values are indices (palette, 1 bit)."""

    path: str
    tokens: list[Token]
    stem: list[Token]
    folder: str
    ending: str
    size: tuple[int, int] | None = None
    bands: int = 1
    pages: int = 1
    index: bool = False
    role: Role = "unsure"

    @property
    def words(self) -> set[str]:
        """The words of its path, in lower case."""
        return {token.value for token in self.tokens if token.is_word}


@dataclass
class Tree:
    """A folder as looked at: its files with their roles, in natural order of paths, and the words of its splits."""

    root: Path
    words: SplitWords
    files: list[File]


def links_of(root: Path, reasons: dict[str, str]) -> Literal["refuse", "follow"]:
    """What `links` in dataset.yaml has to be for the files below `root`; why is added to `reasons`."""
    if not (found := links_outside(root)):
        return "refuse"
    targets = [Path(os.path.realpath(path)) for path in found]
    leads = sorted({str(path if path.is_dir() else path.parent) for path in targets})
    reasons["links"] = (
        f"{counted(len(found), 'link{|s} {leads|lead}')} to {listing(leads)}; remove this line if they are not yours"
    )
    return "follow"


def look(root: Path) -> Tree:
    """Lists the files below `root` and finds out what they are."""
    paths = paths_below(root, follow=True)
    folders_of = {path.rpartition("/")[0] for path in paths}
    names = {os.path.splitext(path.rpartition("/")[2])[0] for path in paths[:2000]}
    words = split_words({part for folder in folders_of for part in folder.split("/")} | names)
    tree = Tree(root, words, [_file(path, words) for path in paths])
    settle_splits(tree.files)
    series = _series(tree.files)
    # Of many files, the headers of some tell enough.
    headers = None if len(paths) <= _HEADERS else max(50, _HEADERS // len(series))
    for own in series:
        _tell(root, own, headers)
    return tree


def _file(path: str, words: SplitWords) -> File:
    folder, _, name = path.rpartition("/")
    low = name.lower()
    if low.endswith((".ome.tif", ".ome.tiff")):
        stem = name[: low.rindex(".ome.")]
    else:
        stem = os.path.splitext(name)[0]
        if low.endswith(PACKED):
            stem = os.path.splitext(stem)[0]
    own = tokens(stem, words)
    above = [*tokens(folder, words), Token("/", "/")] if folder else []
    return File(path, above + own, own, folder, name[len(stem) :])


def _series(files: Sequence[File]) -> list[list[File]]:
    """Files by the form of their folder and name."""
    children: dict[str, set[str]] = defaultdict(set)
    for folder in {file.folder for file in files}:
        parts = folder.split("/")
        for depth in range(len(parts)):
            children["/".join(parts[:depth])].add(parts[depth])

    def form_of(folder: str) -> str:
        parts = folder.split("/")
        return "/".join(
            "*" if len(children["/".join(parts[:depth])]) > _MANY else _digits(part) for depth, part in enumerate(parts)
        )

    forms = {folder: form_of(folder) for folder in {file.folder for file in files}}
    common: dict[str, Counter[str]] = defaultdict(Counter)
    sizes: Counter[str] = Counter()
    for file in files:
        form = forms[file.folder]
        sizes[form] += 1
        common[form].update({token.value for token in file.stem if token.is_word and not token.text[0].isdigit()})
    found: dict[tuple[str, tuple[str, ...], str], list[File]] = defaultdict(list)
    for file in files:
        form = forms[file.folder]
        often = max(2, 0.1 * sizes[form])
        kept = tuple(
            token.value
            for token in file.stem
            if token.is_word and not token.text[0].isdigit() and common[form][token.value] >= often
        )
        found[form, kept, file.ending.lower()].append(file)
    return list(found.values())


def _digits(text: str) -> str:
    return "".join("#" if letter.isdigit() else letter for letter in nfc(text))


def _tell(root: Path, series: list[File], headers: int | None) -> None:
    """Sets the role of each file of a series, and what its header says (of so many)."""
    step = max(1, len(series) // _SAMPLED)
    sampled = series[::step][:_SAMPLED]
    roles = [_look_at(root, file) for file in sampled]
    clear = {role for role in roles if role not in ("unreadable", "unsure")}
    if len(clear) > 1 and len(series) <= _ALL:
        for file in series:
            if file.size is None and file.role != "unreadable":
                _look_at(root, file)
        return
    role: Role = Counter(role for role in roles if role in clear).most_common(1)[0][0] if clear else "unsure"
    every = 1 if headers is None else -(-len(series) // headers)
    for number, file in enumerate(series):
        if file.size is None and file.role != "unreadable" and number % every == 0:
            _look_at_header(root, file)
        if file.role == "unsure":  # of one value, as an empty mask and a black picture are
            file.role = role


def _look_at(root: Path, file: File) -> Role:
    if is_array(file):
        file.role = "mask"  # nothing else is read of arrays
        return file.role
    pixels = _pixels(root, file)
    file.role = "unreadable" if pixels is None else role_of(pixels, file.index)
    return file.role


def _look_at_header(root: Path, file: File) -> None:
    if is_array(file):
        file.role = "mask"
        return
    try:
        with open_shown(root / file.path) as image:
            _note(file, image)
    except MaskwrightError:
        file.role = "unreadable"


def _note(file: File, image: Image.Image) -> None:
    file.size = (image.height, image.width)
    file.bands = len(image.getbands())
    file.pages = len(pages_of(image)) if image.format in ("TIFF", "GIF") else 1
    file.index = image.mode in ("1", "P")


def _pixels(root: Path, file: File) -> npt.NDArray[np.int64] | None:
    """(H, W) values of the middle of a file: grey or indices, or colours packed in one number."""
    try:
        with open_shown(root / file.path) as image:
            _note(file, image)
            pixels = plain_pixels(image)
    except MaskwrightError:
        return None
    top, left = max(0, (pixels.shape[0] - _CROP) // 2), max(0, (pixels.shape[1] - _CROP) // 2)
    return in_one_number(pixels[top : top + _CROP, left : left + _CROP])


def plain_pixels(image: Image.Image) -> npt.NDArray[Any]:
    """(H, W) of an opened file with one channel: grey, or indices of a palette; else (H, W, 3) RGB."""
    one = image.mode in ("1", "L", "P", "F") or image.mode.startswith("I")
    return np.asarray(image if one else image.convert("RGB"))


def in_one_number(pixels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """(H, W) of (H, W) or of (H, W, 3): grey or indices as they are, red, green and blue in one number."""
    whole = np.nan_to_num(pixels.astype(np.float64)).astype(np.int64) if pixels.dtype.kind == "f" else pixels
    return (whole if whole.ndim == 2 else packed_colours(whole)).astype(np.int64)


def role_of(pixels: npt.NDArray[np.int64], index: bool = False) -> Role:
    """What (H, W) values (grey, indices, or red, green and blue in one number) are, from how even they are.

    Masks have equal neighbours nearly everywhere, or at least few values; JPEG masks have values near few levels.
    """
    if pixels.shape[1] < 2:
        return "unsure"
    if (pixels == pixels[0, 0]).all():
        return "unsure"
    flat = float((pixels[:, 1:] == pixels[:, :-1]).mean())
    values, counts = np.unique(pixels, return_counts=True)
    if flat >= _FLAT:
        # Dark pictures are even too, but in many shades; masks have few, or few with most of the pixels.
        most = np.sort(counts)[-_FREQUENT:].sum() >= 0.9 * counts.sum()
        few = len(values) <= _SHADES or most or index or 255 < values[-1] <= 65535
        return "mask" if few or _near_levels(values, counts) else "unsure"
    if len(values) <= 4 or (index and len(values) <= 32 and flat >= _ROUGH):
        return "mask"
    if _near_levels(values, counts):
        return "mask"
    return "image" if flat <= _ROUGH else "unsure"


def _near_levels(values: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> bool:
    """Whether nearly all values are within 8 of black or white, as in masks that were compressed."""
    channels = np.stack([values >> shift & 255 for shift in ((0, 8, 16) if values.max() > 65535 else (0,))])
    if values.max() <= 65535 and values.max() > 255:
        return False
    grey = (channels.max(0) - channels.min(0)) <= 16
    middle = channels.mean(0)
    near = grey & ((middle <= 8) | (middle >= 247))
    both = counts[near & (middle >= 247)].sum() and counts[near & (middle <= 8)].sum()
    return bool(both) and float(counts[near].sum() / counts.sum()) >= 0.9


def is_array(file: File) -> bool:
    """Whether a file holds an array, which can be a mask and no image."""
    return file.ending.lower() in ARRAY_SUFFIXES


def kinds(files: Iterable[File]) -> str:
    """`12 .jpg and 8 .png in images/`, for messages: the folders with most files first."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        found[file.folder][file.ending.lower()] += 1
    rows = sorted(found.items(), key=lambda row: -row[1].total())[:4]
    texts = [
        " and ".join(f"{n} {ending}" for ending, n in endings.most_common(3)) + (f" in {folder}/" if folder else "")
        for folder, endings in rows
    ]
    return ", ".join(texts) + (f", … ({len(found) - len(rows)} more folders)" if len(found) > len(rows) else "")


def settle_splits(files: Sequence[File]) -> None:
    """Keeps the split words of paths that agree: those of folders, else those of names where nearly all have one and
    there are several. Of two splits in the folders of one path, none is meant when they stand in one name."""
    folders = {}
    for file in files:
        stem = len(file.tokens) - len(file.stem)
        found = [token for token in file.tokens[:stem] if token.split]
        names = {token.split for token in found}
        folders[file.path] = found[0].split if found and len(names) == 1 else None
        if len(names) > 1:
            _unmark(file, range(stem))
    by_folder = any(folders.values())
    named = [(file, {token.split for token in file.stem if token.split}) for file in files]
    some = [(file, splits) for file, splits in named if splits]
    if by_folder:
        fits = all(splits == {folders[file.path]} for file, splits in some)
    else:
        several = {split for _, splits in some for split in splits}
        fits = len(several) > 1 and len(some) >= 0.9 * len(files) and all(len(splits) == 1 for _, splits in some)
    if not fits:
        for file, _ in some:
            _unmark(file, range(len(file.tokens) - len(file.stem), len(file.tokens)))


def _unmark(file: File, places: Iterable[int]) -> None:
    start = len(file.tokens) - len(file.stem)
    for place in places:
        token = file.tokens[place]
        if token.split:
            plain = Token(token.text, token.text.casefold())
            file.tokens[place] = plain
            if place >= start:
                file.stem[place - start] = plain
