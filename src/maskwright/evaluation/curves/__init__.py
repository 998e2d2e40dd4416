"""Curves of trainings: logs of our own runs and of other tools, one reader each, one table.

A reader makes `Curves` of a log: the same names of quantities, the same scales. `charts` arranges them; drawing is a
matter of `reporting`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from maskwright.evaluation.curves import lightning, mmcv, mmengine, run_log, tensorboard, ultralytics
from maskwright.evaluation.curves.curve import Curves
from maskwright.evaluation.curves.lines import Start


@dataclass(frozen=True)
class Reader:
    """A kind of log in one sentence, with what knows and reads it.

    `files` are patterns of its files in a folder; with `together`, all of a folder are one log, and `read` takes the
    folder. `detect` decides by the beginning of a file, whatever its name.
    """

    meaning: str
    files: tuple[str, ...]
    detect: Callable[[Start], bool]
    read: Callable[[Path], Curves]
    together: bool = False


READERS: dict[str, Reader] = {
    "maskwright": Reader(
        "a run folder, or its `metrics.jsonl`", ("metrics.jsonl",), run_log.detect, run_log.read, together=True
    ),
    "mmengine": Reader(
        "`vis_data/scalars.json` or `vis_data/TIMESTAMP.json` of mmengine (MMSegmentation 1.x)",
        ("vis_data/scalars.json", "scalars.json"),
        mmengine.detect,
        mmengine.read,
    ),
    "mmcv": Reader("`TIMESTAMP.log.json` of mmcv (MMSegmentation 0.x)", ("*.log.json",), mmcv.detect, mmcv.read),
    "ultralytics": Reader("`results.csv` of Ultralytics", ("results.csv",), ultralytics.detect, ultralytics.read),
    "lightning": Reader("`metrics.csv` of Lightning's CSVLogger", ("metrics.csv",), lightning.detect, lightning.read),
    "tensorboard": Reader(
        "event files of TensorBoard, whichever tool wrote them",
        (tensorboard.FILES,),
        tensorboard.detect,
        tensorboard.read,
        together=True,
    ),
}
