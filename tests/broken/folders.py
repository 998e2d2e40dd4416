"""Good folders of every form, to be broken: four images of 48 x 64 with three classes, in three splits.

Those of JPEG masks and of boxes have findings of severity warning, all others have none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from broken.tools import TOOLS
from helpers import draw_pair, make_dataset, write
from maskwright.data.convert import CERTIFICATE, convert
from maskwright.data.formats import FORMATS
from maskwright.data.opening import init

SIZE = (48, 64)
NAMES = ("background", "class_1", "class_2")


def _folders(folder: Path) -> None:
    make_dataset(folder, images=4, size=SIZE, describe=True)


def _converted(form: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        source = folder.with_name(f"{folder.name}-source")
        _folders(source)
        convert(source, folder, to=form, progress=False)
        (folder / CERTIFICATE).unlink()

    return make


def _common_semantic(folder: Path) -> None:
    make_dataset(folder, images=4, size=SIZE, layout="flat")
    (folder / "dataset_meta.json").write_text(json.dumps({"label_map": {str(i): name for i, name in enumerate(NAMES)}}))
    init(folder)


def _voc_boxes(folder: Path) -> None:
    """Pascal VOC without masks: what counts are the XML files."""
    rng = np.random.default_rng(0)
    (folder / "Annotations").mkdir(parents=True)
    for number in range(4):
        write(folder / "JPEGImages" / f"{number:03d}.png", draw_pair(rng, SIZE)[0])
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>5</ymin><xmax>{left + 14}</xmax>"
            f"<ymax>{30 + number}</ymax></bndbox></object>"
            for name, left in (("class_1", 4 + number), ("class_2", 30 + number))
        )
        (folder / "Annotations" / f"{number:03d}.xml").write_text(
            f"<annotation><filename>{number:03d}.png</filename><size><width>64</width><height>48</height><depth>3</depth>"
            f"</size>{objects}</annotation>"
        )
    init(folder)


# How each form is made; names are those of `FORMATS`, but for folders of splits and for VOC without masks.
GOOD: dict[str, Callable[[Path], None]] = {
    "folders": _folders,
    **{form: _converted(form) for form in FORMATS if FORMATS[form].write},
    "common_semantic": _common_semantic,
    "voc boxes": _voc_boxes,
    **TOOLS,
}
