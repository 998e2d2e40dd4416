"""A small model of a class tree, as torch has it and as the ONNX file that `to_onnx` makes of it; and the command line
without torch."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import torch

from maskwright.core.classes import ClassInfo, ClassTree
from maskwright.core.geometry import Geometry
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.modeling.models.segmenter import Preprocessing, Segmenter

TREE = ClassTree(
    (
        ClassInfo(0, "ground", (0, 0, 0)),
        ClassInfo(9, "leaf", (0, 255, 0), ("plant",)),
        ClassInfo(7, "stem", (90, 90, 0), ("plant", "wood")),
        ClassInfo(200, "root", (90, 0, 90), ("plant", "wood")),
    )
)


@dataclass(frozen=True)
class Exported:
    """The model of torch, the graph, and a file of it."""

    segmenter: Segmenter
    proto: onnx.ModelProto
    file: Path


def segmenter_of(seed: int = 0, **changes) -> Segmenter:
    spec = ModelSpec("UNet", len(TREE), args={"channels": [4], "bottleneck": 4})
    torch.manual_seed(seed)
    network = build_model(spec).eval()
    torch.nn.init.normal_(network.head.weight, std=3)  # every class somewhere
    preprocessing = Preprocessing(Geometry((24, 40), keep_ratio=True), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    return replace(Segmenter(network, spec, TREE, preprocessing, flip_average=True), **changes)


WITHOUT_TORCH = """
import sys
for name in ("torch", "segmentation_models_pytorch", "safetensors", "sklearn", "timm", "torchvision", "onnx", "onnxscript"):
    sys.modules[name] = None
from maskwright.cli import main
main(sys.argv[1:])
"""


def run_without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
