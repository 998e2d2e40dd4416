"""Parquet files of Hugging Face `datasets`, with pictures in their columns: `convert` unpacks them as it does archives.

    data/train-00000-of-00002.parquet     columns image, label: struct{bytes, path}, or bytes

A column of pictures is told by its type, and the one of masks by what is in it: most of its pixels equal their
neighbours. The bytes of each cell become a file as they are, in `images` and `masks`, with the same name (that in the
cell, or the number of the row); what they mean is told from the files, as for any folder. A split is a word in the name
of the file or of its folder. Names of classes come from `id2label.json` beside the files, else from the metadata of a
file: the `names` of the masks, or of a list of class labels (a single one is about the whole image). Source:
https://huggingface.co/docs/datasets/about_dataset_features.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from maskwright.base.limits import MAX_PIXELS
from maskwright.base.storage import disk_errors, natural
from maskwright.core.classes import MAX_CLASSES
from maskwright.core.image_files import holds_images
from maskwright.core.listing import confine_found
from maskwright.core.sample import DECODERS, silence_pillow
from maskwright.data.formats.archives import MAX_BYTES, MAX_FILES, MAX_RATIO, SMALL_ARCHIVE, standing_for
from maskwright.data.formats.by_name import split_in
from maskwright.data.formats.source import AnnotationSet
from maskwright.errors import DataError, SetupError

ENDING = ".parquet"
_MAGIC = b"PAR1"
_ENDINGS = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "TIFF": ".tif", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif"}
_LOOKED_AT = 6  # rows, to tell images from masks
_SAME = 0.8  # of the pixels of a mask equal the one on their right; of photographs it is up to half
_ROWS = 8  # at a time: a picture may be of any size
_MASK_NAMES = re.compile(r"(^|_)(masks?|labels?|annotations?|segmentation(_mask)?|gt|ground_truth)$", re.IGNORECASE)
_IMAGE_NAMES = re.compile(r"(^|_)(images?|img|pixel_values|input|photo|picture)$", re.IGNORECASE)


def detect(root: Path) -> str | None:
    """The first parquet file, in a folder without any image file."""
    for path in _files(root):
        try:
            with path.open("rb") as stream:
                if stream.read(4) == _MAGIC:
                    return None if holds_images(root, 100_000) else f"{path.relative_to(root).as_posix()} is there"
        except OSError:
            continue
    return None


def _files(root: Path) -> list[Path]:
    """Parquet files in `root` and in up to three folders below each other."""
    patterns = ("", "[!.]*/", "[!.]*/[!.]*/", "[!.]*/[!.]*/[!.]*/")
    found = (path for pattern in patterns for path in root.glob(f"{pattern}[!.]*{ENDING}") if path.is_file())
    return sorted(found, key=natural)


def read(root: Path, annotations: str | None, images: str | None) -> AnnotationSet:
    """DataError: pictures inside other files are no dataset yet."""
    first = next((path.relative_to(root).as_posix() for path in _files(root)), f"*{ENDING}")
    raise DataError(
        f"{root}: its pictures are inside parquet files ({first}), which `maskwright convert {root} OUT --to index` "
        "unpacks; run it, then give OUT"
    )


@contextmanager
def pictures_unpacked(path: Path) -> Iterator[Path]:
    """`path` itself when it holds no parquet files of pictures, else a temporary folder with these as files, removed
    afterwards. Errors about files in that folder name `path` in its place.

    DataError for files that cannot be read, hold no column of masks, or grow as decompression bombs do; SetupError
    without pyarrow.
    """
    alone = path.is_file() and path.suffix.lower() == ENDING
    if not alone and not (path.is_dir() and detect(path)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="maskwright-") as folder, standing_for(path, folder):
        _Unpacking(path.parent if alone else path, Path(folder)).run([path] if alone else _files(path))
        yield Path(folder)


class _Unpacking:
    """Writes the pictures of all files into `folder`."""

    def __init__(self, root: Path, folder: Path) -> None:
        try:
            import pyarrow.parquet
        except ImportError:
            raise SetupError(
                f"{root}: parquet files are read by pyarrow; install it: pip install 'maskwright[parquet]'"
            ) from None
        self.arrow = pyarrow
        self.errors = (pyarrow.ArrowException, OSError, ValueError, MemoryError, TypeError, KeyError, OverflowError)
        self.root, self.folder = root, folder
        self.names: dict[int, str] = {}
        self.left, self.files = MAX_BYTES, 0
        self.used: set[str] = set()

    def run(self, paths: Sequence[Path]) -> None:
        """Unpacks `paths`."""
        splits = {path: self._split(path) for path in paths}
        some = any(splits.values())
        self.names = _listed_names(self.root)
        for path in paths:
            confine_found(self.root, path)
            place = splits[path] or ("unsplit" if some else "")
            try:
                with path.open("rb") as stream:
                    self._unpack(path, self.arrow.parquet.ParquetFile(stream), place)
            except self.errors as error:
                said = " ".join(str(error).split())[:200]
                raise DataError(f"{path}: cannot be read as parquet ({said}); download it again") from None
        if self.names:
            names = [self.names.get(number, f"class_{number}") for number in range(max(self.names) + 1)]
            (self.folder / "classes.txt").write_text("\n".join(names) + "\n", "utf-8")

    def _split(self, path: Path) -> str | None:
        parts = [path.stem, *path.relative_to(self.root).parts[-2::-1]]
        return next((split for part in parts if (split := split_in(part))), None)

    def _unpack(self, path: Path, file: Any, place: str) -> None:
        """The rows of one file."""
        grown = sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
        size = path.stat().st_size
        if grown > min(self.left, max(SMALL_ARCHIVE, MAX_RATIO * size)):
            raise DataError(
                f"{path}: grows to {grown} bytes, as decompression bombs do; unpack it by hand if it is meant"
            )
        self.left -= grown
        image, mask = self._columns(path, file)
        self.names = self.names or _names_in(file.schema_arrow, mask)
        row = 0
        for batch in file.iter_batches(batch_size=_ROWS, columns=[image, mask]):
            for pair in zip(batch.column(image).to_pylist(), batch.column(mask).to_pylist(), strict=True):
                self._write(path, row, [_bytes_of(cell) for cell in pair], _path_of(pair[0]), place)
                row += 1

    def _columns(self, path: Path, file: Any) -> tuple[str, str]:
        """The columns of images and of masks."""
        names = [field.name for field in file.schema_arrow if _may_hold_pictures(self.arrow, field.type)]
        alike: dict[str, float] = {}
        rows = list(islice(file.iter_batches(batch_size=1, columns=names), _LOOKED_AT)) if names else []
        for name in names:
            cells = (_bytes_of(cell) for batch in rows for cell in batch.column(name).to_pylist())
            shares = [share for cell in cells if cell and (share := _share_alike(cell)) is not None]
            if shares:
                alike[name] = sum(shares) / len(shares)
        masks = [name for name, share in alike.items() if share >= _SAME]
        images = [name for name in alike if name not in masks]
        chosen = [
            found if len(found) == 1 else [name for name in found if pattern.search(name)]
            for found, pattern in ((images, _IMAGE_NAMES), (masks, _MASK_NAMES))
        ]
        if [len(found) for found in chosen] != [1, 1]:
            raise DataError(
                f"{path}: its columns of pictures ({', '.join(alike) or 'none'}) are not one of images and one of "
                "masks, as their pixels say; keep these two and save it again"
            )
        return chosen[0][0], chosen[1][0]

    def _write(self, path: Path, row: int, cells: Sequence[bytes | None], named: str, place: str) -> None:
        """One row; without a mask it is an image that is not labelled."""
        image, mask = cells
        if image is None:
            raise DataError(
                f"{path}: row {row} holds no bytes of an image; embed the files when you save it "
                "(`Dataset.to_parquet` of a loaded dataset does)"
            )
        self.files += 2
        if self.files > MAX_FILES:
            raise DataError(f"{path}: more than {MAX_FILES} pictures; unpack it by hand")
        stem = Path(named).stem
        if not re.fullmatch(r"[\w][\w .()-]{0,99}", stem) or f"{place}/{stem}" in self.used:
            stem = f"{path.stem}_{row:06d}"[-120:]
        self.used.add(f"{place}/{stem}")
        for role, content in (("images", image), ("masks", mask)):
            if content:
                target = self.folder / role / place / f"{stem}{_ending_of(content, path, row)}"
                with disk_errors(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content)


def _may_hold_pictures(arrow: Any, kind: Any) -> bool:
    """Bytes, or a struct with a field of them called `bytes`."""
    types = arrow.types
    if types.is_struct(kind):
        return any(
            kind.field(i).name == "bytes" and _may_hold_pictures(arrow, kind.field(i).type)
            for i in range(kind.num_fields)
        )
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _bytes_of(cell: Any) -> bytes | None:
    found = cell.get("bytes") if isinstance(cell, dict) else cell
    return found if isinstance(found, bytes) and found else None


def _path_of(cell: Any) -> str:
    found = cell.get("path") if isinstance(cell, dict) else ""
    return found.replace("\\", "/").rpartition("/")[2] if isinstance(found, str) else ""


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    silence_pillow()
    with Image.open(io.BytesIO(content), formats=DECODERS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError("too many pixels")
        yield image


def _share_alike(content: bytes) -> float | None:
    """The share of pixels that equal the one on their right; None for what is no picture."""
    try:
        with _opened(content) as image:
            pixels = np.asarray(
                image if image.mode in ("1", "L", "P") or image.mode.startswith("I") else image.convert("RGB")
            )
    except Exception:  # whatever a decoder raises for a damaged picture: the rows that follow are looked at
        return None
    if pixels.shape[1] < 2:
        return None
    same = pixels[:, 1:] == pixels[:, :-1]
    return float((same if same.ndim == 2 else same.all(2)).mean())


def _ending_of(content: bytes, path: Path, row: int) -> str:
    """That of the format; the file is judged when it is read."""
    try:
        with _opened(content) as image:
            return _ENDINGS.get(image.format or "", ".png")
    except UnidentifiedImageError:
        raise DataError(f"{path}: row {row} holds bytes that are no picture; correct or remove it") from None
    except Exception:  # damaged, which reading it says
        return ".png"


def _listed_names(root: Path) -> dict[int, str]:
    """`id2label.json`: id -> name."""
    file = root / "id2label.json"
    if not file.is_file():
        return {}
    try:
        found = json.loads(confine_found(root, file).read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: not readable as JSON ({error}); correct it or move it away") from None
    return _numbered(found if isinstance(found, Mapping) else {})


def _names_in(schema: Any, mask: str) -> dict[int, str]:
    """The names of classes in the metadata that `datasets` writes."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        own = features[mask].get("names")
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    lists = (
        [own] if isinstance(own, list) else [found for name in features for found in _class_lists(features[name], 0)]
    )
    return _numbered(dict(enumerate(lists[0]))) if len(lists) == 1 else {}


def _class_lists(feature: Any, depth: int) -> Iterator[list[Any]]:
    """The names of class labels inside lists."""
    if depth > 8:
        return
    if isinstance(feature, Mapping):
        if depth and feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list):
            yield feature["names"]
        for value in feature.values():
            yield from _class_lists(value, depth + 1)
    elif isinstance(feature, list):
        for value in feature:
            yield from _class_lists(value, depth + 1)


def _numbered(found: Mapping[Any, Any]) -> dict[int, str]:
    """Ids with usable names; none where an id or a name is none, or two names are the same."""
    names = {
        int(key): value.strip()
        for key, value in found.items()
        if re.fullmatch("[0-9]{1,3}", str(key)) and isinstance(value, str) and value.strip() and value.isprintable()
    }
    fits = len(names) == len(found) <= MAX_CLASSES and len({*names.values()}) == len(names)
    return names if fits else {}
