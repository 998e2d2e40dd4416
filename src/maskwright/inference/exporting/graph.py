"""From a Segmenter to an ONNX graph that computes the same; see `metadata` for what goes in and comes out.

Normalisation, padding to what the network takes, and softmax are in the graph. It is made by torch's exporter, which
follows the network with sizes that are not numbers. Networks that pool to a grid of a fixed size, or whose layers pad
by the size of what they get, cannot be followed so; their graph takes images of the model's size only. The number of
images is always free.
"""

from __future__ import annotations

import contextlib
import io
import logging
from dataclasses import replace

import numpy as np
import onnx
import torch
from torch import nn

from maskwright.base.quiet import silence
from maskwright.core.bands import Bands, Stored
from maskwright.errors import ConfigError
from maskwright.inference.exporting.metadata import INPUT, KEY, OUTPUT, Metadata
from maskwright.inference.exporting.session import open_session
from maskwright.modeling.models.blocks import cropped, pad_to_multiple
from maskwright.modeling.models.build import ModelSpec, size_multiple
from maskwright.modeling.models.segmenter import Segmenter

OPSET = 18
# Mean difference of probabilities: another order of additions makes 1e-7 of it, an unpooling that breaks ties
# otherwise 1e-5, and a graph that was traced wrongly 1e-1.
_TOLERANCE = 1e-3
Size = tuple[int, int]


class _Graph(nn.Module):
    """(N, H, W, C) uint8 or uint16 to probabilities (N, K, H, W) float32, by the steps of `Segmenter.probabilities`."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.model, self.multiple = segmenter.model, size_multiple(segmenter.model)
        low, high = segmenter.preprocessing.bands.range
        for name, start in (("mean", low), ("std", 0)):
            values = torch.tensor(getattr(segmenter.preprocessing, name), dtype=torch.float32)
            self.register_buffer(name, values.view(1, -1, 1, 1) * (high - low) + start, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        floats = (images.permute(0, 3, 1, 2).to(torch.float32) - self.mean) / self.std
        return cropped(self.model(pad_to_multiple(floats, self.multiple)), floats).softmax(1)


def to_onnx(segmenter: Segmenter, metadata: Metadata) -> onnx.ModelProto:
    """The graph of a segmenter on the CPU, with its metadata, whose `any_size` is set by what was possible.

    ConfigError for a network that torch's exporter does not take.
    """
    graph, spec = _Graph(segmenter).eval(), segmenter.spec
    size, bands = segmenter.preprocessing.geometry.size, segmenter.preprocessing.bands
    step = max(size_multiple(segmenter.model), int(getattr(segmenter.model, "multiple", 1)))
    # Followed at a size that fits, a graph would lack the padding for those that do not.
    odd = tuple(side + 1 if side % step == 0 else side for side in size)
    larger = (size[0] + 3, size[1] + 2 * step)
    with torch.inference_mode():
        for any_size, example in ((False, size),) if _pads_by_size(segmenter.model) else ((True, odd), (False, size)):
            try:
                proto = _traced(graph, np.zeros((2, *example, bands.channels), bands.dtype), any_size)
                sizes = [size, odd, larger] if any_size else [size]
                if _same(graph, proto, bands, [(1, *size), *((3, *one) for one in sizes)]):
                    return with_metadata(proto, replace(metadata, any_size=any_size))
                reason = "the graph computes something else"
            except Exception as error:  # of the exporter and the runtime, each with classes of its own
                reason = str(error).strip().partition("\n")[0]
    raise ConfigError(f"model: {_named(spec)} cannot be exported to ONNX ({reason}); export another model")


def _pads_by_size(model: nn.Module) -> bool:
    """Whether it has layers of timm that pad as TensorFlow does: with free sizes, each of them makes the expression of
    the next one's size several times as long, and following the network takes hours."""
    return any(type(part).__name__.endswith("Same") for part in model.modules())


def with_metadata(proto: onnx.ModelProto, metadata: Metadata) -> onnx.ModelProto:
    """The same graph with this metadata, and without what exporters note in it: paths and lines of source code."""
    for node in [*proto.graph.node, *(node for function in proto.functions for node in function.node)]:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer]:
        del value.metadata_props[:]
    del proto.metadata_props[:]
    proto.metadata_props.add(key=KEY, value=metadata.to_json())
    proto.producer_name, proto.doc_string = "maskwright", ""
    return proto


def _traced(graph: nn.Module, images: Stored, any_size: bool) -> onnx.ModelProto:
    free = torch.export.Dim.AUTO
    silence("torch|onnxscript|copyreg")  # warnings of the exporter about itself
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            program = torch.onnx.export(
                graph,
                (torch.from_numpy(images),),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                dynamic_shapes=({0: free, 1: free, 2: free} if any_size else {0: free},),
                input_names=[INPUT],
                output_names=[OUTPUT],
            )
    finally:
        logging.disable(before)
    assert program is not None  # it is where `dynamo` is set
    return program.model_proto


def _same(graph: nn.Module, proto: onnx.ModelProto, bands: Bands, shapes: list[tuple[int, ...]]) -> bool:
    """Whether both compute the same of noise of these numbers and sizes (N, h, w)."""
    session = open_session(proto.SerializeToString(), "cpu")
    rng = np.random.default_rng(0)
    for shape in shapes:
        images = rng.integers(bands.range[0], bands.range[1], (*shape, bands.channels), bands.dtype, endpoint=True)
        (found,) = session.run([OUTPUT], {INPUT: images})
        expected = graph(torch.from_numpy(images)).numpy()
        if found.shape != expected.shape or not np.abs(found - expected).mean() <= _TOLERANCE:
            return False
    return True


def _named(spec: ModelSpec) -> str:
    return spec.name + (f" over {spec.encoder}" if spec.encoder else "")
