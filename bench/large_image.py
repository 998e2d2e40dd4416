"""The memory that `predict` takes for one large image with a model that sees windows of it.

    python bench/large_image.py [--side 9450] [--window 256] [--classes 3]

Makes an image of `side` x `side` pixels as PNG and as TIFF, where it is too large to be held (13,377 pixels a side) as
a TIFF in tiles only; and a UNet of 4 channels with random weights as a model file and as ONNX. Each pair is predicted
by a process of its own; its peak of resident memory counts all that it holds: the image, the program and its libraries
too. Beside its seconds per megapixel stand those of the bare model, which labels as many windows and does nothing else.
The table goes to stderr, JSON to stdout. Unix only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tifffile
import torch

from maskwright.base.limits import MAX_PIXELS
from maskwright.base.storage import dump_json
from maskwright.core.classes import ClassTree
from maskwright.core.geometry import Crop, Geometry
from maskwright.core.predictor import Preprocessing
from maskwright.core.tiles import starts
from maskwright.inference.exporting.exported import ExportedModel
from maskwright.inference.exporting.graph import to_onnx
from maskwright.inference.exporting.metadata import Metadata
from maskwright.inference.loading import load
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.modeling.models.segmenter import Segmenter

_TILE = 512
_TIMED, _TURNS = 8, 5  # windows that go through the bare model together, and how often
# Between this program and the one that is measured, which would begin with the peak of a large parent.
MEASURE = """
import json, resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
print(json.dumps([code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024]))
"""


def models(folder: Path, window: int, classes: int) -> list[Path]:
    spec = ModelSpec("UNet", classes, None, {"channels": [4], "bottleneck": 4})
    torch.manual_seed(0)
    tree = ClassTree.flat([f"class {index}" for index in range(classes)])
    preprocessing = Preprocessing(Geometry((window, window), crop=Crop()), (0.5,) * 3, (0.25,) * 3)
    segmenter = Segmenter(build_model(spec).eval(), spec, tree, preprocessing)
    segmenter.save(folder / "model.safetensors")
    proto = to_onnx(segmenter, Metadata(tree, preprocessing, spec.to_dict()))
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    return [folder / "model.safetensors", folder / "model.onnx"]


def images(folder: Path, side: int) -> list[Path]:
    small = np.random.default_rng(0).integers(0, 256, (side // 20, side // 20, 3), dtype=np.uint8)
    if side**2 > MAX_PIXELS:
        options = {"shape": (side, side, 3), "dtype": np.uint8, "tile": (_TILE, _TILE), "photometric": "rgb"}
        tifffile.imwrite(folder / "large.tif", _tiles(small, side), compression="zlib", metadata=None, **options)
        return [folder / "large.tif"]
    large = cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)
    for name in ("large.png", "large.tif"):
        cv2.imwrite(str(folder / name), large)
    return [folder / "large.png", folder / "large.tif"]


def _tiles(small: npt.NDArray[np.uint8], side: int) -> Iterator[npt.NDArray[np.uint8]]:
    few = _TILE // 20
    for top in range(0, side, _TILE):
        for left in range(0, side, _TILE):
            part = small[top // 20 : top // 20 + few, left // 20 : left // 20 + few]
            yield cv2.resize(part, (_TILE, _TILE), interpolation=cv2.INTER_LINEAR)  # type: ignore[misc]


def bare(file: Path, side: int, window: int) -> float:
    """Seconds that the windows of an image take by the model alone, from those of some."""
    model = load(file, device="cpu")
    places = len(starts(side, window, Crop().overlap)) ** 2
    some = np.random.default_rng(0).integers(0, 256, (_TIMED, window, window, 3), dtype=np.uint8)
    given = some if isinstance(model, ExportedModel) else torch.from_numpy(some).permute(0, 3, 1, 2)
    model.probabilities(given)
    began = time.monotonic()
    for _ in range(_TURNS):
        model.probabilities(given)
    return (time.monotonic() - began) / (_TURNS * _TIMED) * places


def peak(model: Path, image: Path, out: Path) -> dict[str, Any]:
    began = time.monotonic()
    command = [sys.executable, "-m", "maskwright", "predict", str(model), str(image), "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", MEASURE, *command], capture_output=True, check=True)
    code, most = json.loads(done.stdout)
    if code:
        raise SystemExit(f"{' '.join(command)}: ended with {code}")
    return {
        "model": model.name,
        "image": image.name,
        "peak_gb": round(most / 1e9, 2),
        "seconds": round(time.monotonic() - began),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("side", 9450), ("window", 256), ("classes", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    with TemporaryDirectory() as place:
        folder = Path(place)
        pairs = [
            (model, image)
            for model in models(folder, given.window, given.classes)
            for image in images(folder, given.side)
        ]
        alone = {model: bare(model, given.side, given.window) for model in dict(pairs)}
        rows, megapixels = [], given.side**2 / 1e6
        for number, (model, image) in enumerate(pairs):
            row = peak(model, image, folder / f"out-{number}")
            row["seconds_per_megapixel"] = round(row["seconds"] / megapixels, 3)
            row["bare_seconds_per_megapixel"] = round(alone[model] / megapixels, 3)
            print(*row.values(), sep="\t", file=sys.stderr, flush=True)
            rows.append(row)
    print(dump_json({**vars(given), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
