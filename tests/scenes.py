"""The scenes and planted errors of `bench/explain.py` as a dataset, and evaluated runs on it, without torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import util
from pathlib import Path
from types import ModuleType

import numpy as np
import yaml

from helpers import write
from maskwright.data.opening import load_dataset
from maskwright.run import Run
from run_folders import evaluate_masks, make_run

IDS = [0, 7, 200, 9]
TREE = [
    {"id": 0, "name": "ground"},
    {"name": "plant", "children": [{"id": 7, "name": "grass"}, {"id": 200, "name": "tree"}]},
    {"id": 9, "name": "stone"},
]


def load_bench() -> ModuleType:
    """`bench/explain.py`, whose scenes and planted errors the tests share."""
    spec = util.spec_from_file_location("bench_explain", Path(__file__).parents[1] / "bench" / "explain.py")
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


BENCH = load_bench()


def write_data(root: Path, images: int, classes: list | None = None, seed: int = 0) -> Path:
    """`images` scenes of the bench as the split `test`, with a strip of ignored pixels."""
    rng = np.random.default_rng(seed)
    for index in range(images):
        image, mask = BENCH.scene(rng)
        image, mask = image[:130, :200], np.array(IDS, np.uint8)[mask[:130, :200]]
        mask[:, :5] = 255
        write(root / f"img/test/{index:02d}.png", image)
        write(root / f"labels/test/{index:02d}.png", mask)
    (root / "dataset.yaml").write_text(
        yaml.safe_dump(
            {
                "layout": "split_folders",
                "images": {"folder": "img"},
                "masks": {"folder": "labels"},
                "splits": {"test": "test"},
                "classes": classes or TREE,
            }
        )
    )
    return root


def evaluated(
    path: Path, root: Path, predict: Callable[[int, np.ndarray, np.ndarray], np.ndarray], number: int = 1
) -> Run:
    """The run `path` on the dataset `root` with an evaluation of what `predict` makes of the test images."""
    dataset, run = load_dataset(root), Run(path)
    if not run.info_file.is_file():
        make_run(path, root=root, classes=dataset.classes)
    evaluate_masks(run, dataset, predict, number=number)
    return run


def distorted(index: int, image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A different planted error in every object."""
    clean = np.where(truth == 255, 0, truth)
    return BENCH.planted(clean, 4, np.random.default_rng(index), label=False)[1]
