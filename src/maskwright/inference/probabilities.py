"""The probabilities of an image's classes on the disk, one class after the other, so that an image of any size and any
number of classes needs the memory of one map.

NAME.npz is read by `numpy.load` without pickle: `probabilities` (K, H, W) uint8, where 0 to 255 stand for 0 to 1 (half
a step, 0.002, is the largest error), `classes` (K,) and `ids` (K,), their names and ids in the order of K.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from maskwright.base.storage import atomic_stream
from maskwright.core.classes import ClassTree
from maskwright.core.predictor import ClassMaps

STEPS = 255
# The least of the levels: the others take several times as long for a tenth less.
_COMPRESSION = 1


def form(classes: ClassTree) -> dict[str, Any]:
    """What `model.json` says of the files."""
    return {"dtype": "uint8", "steps": STEPS, "range": [0.0, 1.0], "classes": list(classes.names), "ids": classes.ids}


def write_probabilities(
    path: Path, maps: ClassMaps, mask: npt.NDArray[np.uint8], classes: ClassTree
) -> dict[str, float | None]:
    """Writes the file of an image whose `mask` (H, W) holds class indices; `maps` gives the probabilities (H, W) of a
    class. Returns how sure the model is of each class: the mean probability of the pixels that the mask gives to it,
    by name, None where it gives none. Not durable before `flush`."""
    confidence: dict[str, float | None] = {}
    with (
        atomic_stream(path, durable=False) as stream,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION) as file,
    ):
        with file.open("probabilities.npy", "w", force_zip64=True) as member:
            _write_header(member, (len(classes), *mask.shape))
            for index, name in enumerate(classes.names):
                values = maps(index)
                own = values[mask == index]
                confidence[name] = float(own.mean(dtype=np.float64)) if own.size else None
                member.write(np.ascontiguousarray(np.rint(values * np.float32(STEPS)).astype(np.uint8)).data)
        for key, array in (("classes", np.array(classes.names)), ("ids", np.array(classes.ids, np.int64))):
            with file.open(f"{key}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return confidence


def _write_header(stream: IO[bytes], shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
