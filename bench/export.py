"""An exported model beside torch: images per second at the same size with the same number of threads.

    python bench/export.py [--networks FPN Segformer UNet] [--size 192 256] [--batch 4] [--threads 2] [--calibration 16]
                           [--kept 1]

Three networks with random weights and two classes: an FPN over EfficientNet-Lite0, as `plan` writes it for photographs
of skin, SegFormer-B0, and our own UNet of 64 channels. Of each, torch in float32 (eager, channels last), onnxruntime
in float32 and onnxruntime in int8 label the same batch in turns, and the median of the turns counts; where openvino is
installed, it reads the same two files (float32 is what it is told to compute in). Random weights say nothing of
quality, which `export` measures on real images. The table goes to stderr, JSON to stdout.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
import torch

from maskwright.base.storage import dump_json
from maskwright.core.classes import ClassTree
from maskwright.core.geometry import Geometry
from maskwright.core.predictor import Preprocessing
from maskwright.inference.exporting.graph import to_onnx
from maskwright.inference.exporting.metadata import INPUT, Metadata
from maskwright.inference.exporting.quantise import quantising
from maskwright.inference.exporting.session import open_session
from maskwright.inference.exporting.speed import rates
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.modeling.models.segmenter import Segmenter

NETWORKS = {
    "FPN": ModelSpec(
        "FPN", 2, "tu-tf_efficientnet_lite0", {"decoder_pyramid_channels": 64, "decoder_segmentation_channels": 64}
    ),
    "Segformer": ModelSpec("Segformer", 2, "mit_b0"),
    "UNet": ModelSpec("UNet", 2, None, {"channels": [64, 128, 256, 512], "bottleneck": 512}),
}


def with_openvino(graph: bytes, threads: int, images: np.ndarray) -> Callable[[], object]:
    """Labels the images with openvino."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(graph), "CPU", settings)
    return lambda: compiled({INPUT: images})


def measured(
    spec: ModelSpec, size: tuple[int, int], batch: int, threads: int, calibration: int, kept: int
) -> dict[str, Any]:
    torch.manual_seed(0)
    model = build_model(spec).eval().to(memory_format=torch.channels_last)
    classes = ClassTree.flat(["background", "object"])
    preprocessing = Preprocessing(Geometry(size), (0.5,) * 3, (0.5,) * 3)
    segmenter = Segmenter(model, spec, classes, preprocessing)
    metadata = Metadata(classes, preprocessing, spec.to_dict())
    proto = to_onnx(segmenter, metadata)
    images = np.random.default_rng(0).integers(0, 256, (max(batch, calibration), *size, 3), dtype=np.uint8)
    with quantising(proto, [*images[:calibration]]) as quantise:
        graphs = {"onnx": proto, "int8": quantise("minmax", kept)}
    tensor = torch.from_numpy(images[:batch]).permute(0, 3, 1, 2)
    ways: dict[str, Any] = {"torch": partial(segmenter.probabilities, tensor)}
    for name, graph in graphs.items():
        session = open_session(graph.SerializeToString(), "cpu", threads)
        ways[name] = partial(session.run, None, {INPUT: images[:batch]})
        if importlib.util.find_spec("openvino"):
            ways[f"openvino {name}"] = with_openvino(graph.SerializeToString(), threads, images[:batch])
    found = rates(ways, batch)
    return {
        "rates": found,
        "speed": {name: rate / found["torch"] for name, rate in found.items()},
        "megabytes": {name: graph.ByteSize() / 1e6 for name, graph in graphs.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--size", nargs=2, type=int, default=(192, 256))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--calibration", type=int, default=16)
    parser.add_argument("--kept", type=int, default=1, help="layers of int8 that stay float32 at the beginning")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.set_flush_denormal(True)
    rows: dict[str, Any] = {}
    ways = tuple(given.size), given.batch, given.threads, given.calibration, given.kept
    for name in given.networks:
        rows[name] = measured(NETWORKS[name], *ways)
        words = ", ".join(
            f"{way} {rate:.2f} ({rows[name]['speed'][way]:.2f})" for way, rate in rows[name]["rates"].items()
        )
        print(f"{name}: images/s (torch = 1) {words}", file=sys.stderr, flush=True)
    versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
    arguments = {key: getattr(given, key) for key in ("size", "batch", "threads", "calibration", "kept")}
    print(dump_json({"networks": rows, "versions": versions, **arguments}, indent=2))


if __name__ == "__main__":
    main()
