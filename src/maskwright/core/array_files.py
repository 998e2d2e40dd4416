"""Files that hold an array instead of a picture: NumPy's `.npy`, and MATLAB's `.mat`. Nothing in them is run, and none
may take more memory than a picture.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from maskwright.base.limits import MAX_PIXELS
from maskwright.base.quiet import silence
from maskwright.errors import DataError, SetupError

ARRAY_SUFFIXES = frozenset({".npy", ".mat"})
_NUMPY = b"\x93NUMPY"
_UNPACKED = 1 << 30  # bytes of a compressed file
_DEEPEST = 16  # structures inside structures


def read_array(path: Path, variable: str | None = None) -> npt.NDArray[Any]:
    """The array (H, W) or (H, W, 3) of whole numbers in a `.npy` or `.mat` file; nothing in it is run.

    `variable` names it in a `.mat` file, with dots between structures; it may be left out where there is only one.
    DataError for other contents, SetupError without scipy for `.mat`.
    """
    array = _matlab(path, variable) if path.suffix.lower() == ".mat" else _numpy(path)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or not array.size:
        raise DataError(f"{path}: holds an array of the shape {array.shape}; a mask is (H, W) or (H, W, 3)")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise DataError(f"{path}: more than {MAX_PIXELS // 10**6} million pixels; tile it")
    return whole_numbers(np.asarray(array), path)


def _numpy(path: Path) -> npt.NDArray[Any]:
    """Mapped into memory, so that a header that promises too much takes none."""
    try:
        with path.open("rb") as stream:
            if stream.read(len(_NUMPY)) != _NUMPY:
                raise ValueError("it does not begin as .npy files do")
        return np.asarray(np.load(path, allow_pickle=False, mmap_mode="r"))
    except Exception as error:
        raise _unreadable(path, error) from None


def _matlab(path: Path, variable: str | None) -> npt.NDArray[Any]:
    found = _loaded(path)
    arrays = dict(_arrays(found, ""))
    names = sorted(name for name, value in arrays.items() if value.ndim in (2, 3))
    held = f"{path}: holds {', '.join(names[:20]) or 'no array'}"
    if variable is None and len(names) != 1:
        raise DataError(f"{held}; name the one with the masks as `masks.variable`")
    if variable is not None and variable not in arrays:
        raise DataError(f"{held}, and not {variable}; correct `masks.variable`")
    return arrays[variable or names[0]]


def array_names(path: Path) -> list[str]:
    """The names of the arrays in a `.mat` file that may be masks, with dots between structures."""
    try:
        found = _loaded(path)
    except DataError:
        return []
    return sorted(name for name, value in _arrays(found, "") if value.ndim in (2, 3))


def _loaded(path: Path) -> dict[str, Any]:
    """The variables of a `.mat` file. SetupError without scipy."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise SetupError(
            f"{path}: .mat files are read by scipy; install it (pip install 'maskwright[matlab]'), or save the masks "
            "as PNG"
        ) from None
    try:
        _refuse_growth(path)
        silence(r"scipy\.io")
        return {k: v for k, v in loadmat(path, simplify_cells=True).items() if not k.startswith("__")}
    except Exception as error:
        raise _unreadable(path, error) from None


def _refuse_growth(path: Path) -> None:
    """ValueError where the compressed parts of a file of version 5 or 7 grow beyond `_UNPACKED`, which scipy would
    unpack (MAT-File Format, "Data Compression": parts of type 15, of zlib, behind a header of 128 bytes)."""
    left = _UNPACKED
    with path.open("rb") as stream:
        head = stream.read(128)
        order: Literal["little", "big"] = "little" if head[126:128] == b"IM" else "big"
        if head[126:128] not in (b"IM", b"MI"):
            return
        while len(tag := stream.read(8)) == 8:
            kind, size = int.from_bytes(tag[:4], order), int.from_bytes(tag[4:], order)
            if kind != 15:
                stream.seek(size, 1)
                continue
            unpack, rest = zlib.decompressobj(), stream.read(size)
            while rest and not unpack.eof:
                left -= len(unpack.decompress(rest, 1 << 20))
                rest = unpack.unconsumed_tail
                if left < 0:
                    raise ValueError(f"grows to more than {_UNPACKED >> 20} MiB")


def _unreadable(path: Path, error: Exception) -> DataError:
    """What is said of an array file, whatever its reader raised: scipy's raises anything."""
    if isinstance(error, DataError):
        return error
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such file; restore it or remove the sample")
    if isinstance(error, PermissionError):
        return DataError(f"{path}: no permission to read it; change its mode or remove the sample")
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(f"{path}: cannot be read as an array ({said}); save it again as .npy or PNG")


def _arrays(found: Any, prefix: str, depth: int = 0) -> Iterable[tuple[str, npt.NDArray[Any]]]:
    """The arrays of numbers inside structures and cells, by their names; those in cells are numbered from 0."""
    if isinstance(found, np.ndarray) and found.dtype.kind in "buif":
        yield prefix, found
    elif depth < _DEEPEST:
        cells = isinstance(found, list) or (isinstance(found, np.ndarray) and found.dtype == object and found.ndim == 1)
        inner = enumerate(found) if cells else found.items() if isinstance(found, dict) else ()
        for name, value in inner:
            yield from _arrays(value, f"{prefix}.{name}" if prefix else str(name), depth + 1)


def whole_numbers(pixels: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    """Pixels of any number type as uint8 or uint16. DataError where a value would change."""
    if pixels.dtype == bool:
        return pixels.astype(np.uint8)
    if pixels.dtype.kind not in "uif" or (pixels.dtype.kind == "f" and not (pixels == np.floor(pixels)).all()):
        raise DataError(f"{path}: holds values that are no whole numbers; save the class ids as 8- or 16-bit")
    if pixels.min() < 0 or pixels.max() > 65535:
        raise DataError(f"{path}: holds values outside 0..65535; save it as 8- or 16-bit")
    return pixels.astype(np.uint8 if pixels.max() < 256 else np.uint16)
