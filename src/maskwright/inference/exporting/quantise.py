"""An int8 graph from a float32 one: static quantisation with scales that were measured on images.

Weights are int8 per output channel, activations uint8, as pairs of QuantizeLinear and DequantizeLinear, which other
runtimes read too. Weights use 7 of their 8 bits: processors without VNNI add pairs of products in 16 bits, and would
otherwise cut sums off, so that a model would be worse on another machine than where it was measured.

The network's first layer and all from its last layer on stay float32: they see the image and give the probabilities,
where a step of 1/255 is seen, and cost little. Of some networks more of the first layers have to stay, such as of
MobileNets, whose first channels have ranges so different that one scale fits few of them.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from maskwright.core.bands import Stored
from maskwright.inference.exporting.metadata import INPUT

# How the range of an activation follows from what was seen of it: all of it, all but the outermost of 100,000, or
# where the distribution of the rounded values is most like that of the values (Migacz, GTC 2017).
METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
# How many of the first layers stay float32: what is tried, up to this part of all layers.
_KEPT, _MOST_KEPT = (1, 4, 12), 1 / 4
_LAYERS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
# What onnxruntime computes in int8 on a CPU; anything else would only be rounded on its way.
_QUANTISED = ["Conv", "MatMul", "Gemm", "Add", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize"]


class _Images(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Images (N, h, w, C), one after the other."""

    def __init__(self, images: Sequence[Stored]) -> None:
        self.images = images
        self.set_range(0, len(images))

    def __len__(self) -> int:
        return len(self.images)

    def set_range(self, start_index: int, end_index: int) -> None:
        """The images from which the next ones come."""
        self._left = iter(self.images[start_index:end_index])

    def get_next(self) -> dict[str, Any] | None:
        """The next image, None after the last one."""
        image = next(self._left, None)
        return None if image is None else {INPUT: image[None]}


@contextmanager
def quantising(proto: onnx.ModelProto, images: Sequence[Stored]) -> Iterator[Callable[[str, int], onnx.ModelProto]]:
    """Yields what makes an int8 graph of a float32 one by one of `METHODS`, with scales from these images (h, w, C)
    at the model's size, and so many of the first layers in float32."""
    with TemporaryDirectory(prefix="maskwright-") as folder:
        given, prepared = Path(folder) / "given.onnx", Path(folder) / "float32.onnx"
        given.write_bytes(proto.SerializeToString())
        # Symbolic inference of shapes stumbles over sizes that are free; plain inference finds what is needed.
        with _quiet():
            quant_pre_process(str(given), str(prepared), skip_symbolic_shape=True)
        graph = onnx.load(prepared).graph
        always = {*outer(graph)}

        def quantise(method: str, kept: int) -> onnx.ModelProto:
            excluded = sorted(always | {*first(graph, kept)})
            return _quantised(prepared, Path(folder) / f"{method}-{kept}.onnx", images, excluded, method)

        yield quantise


def _quantised(
    source: Path, target: Path, images: Sequence[Stored], excluded: list[str], method: str
) -> onnx.ModelProto:
    with _quiet():
        quantize_static(
            str(source),
            str(target),
            _Images(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_QUANTISED,
            nodes_to_exclude=excluded,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=METHODS[method],
            # How many images' activations are held at once, whatever the method.
            extra_options={"CalibStridedMinMax": next(few for few in (4, 3, 2, 1) if len(images) % few == 0)},
        )
    return onnx.load(target)


@contextmanager
def _quiet() -> Iterator[None]:
    """What onnxruntime prints is not for users, and stdout is for results."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def kept_of(proto: onnx.ModelProto) -> list[int]:
    """How many of the first layers of this graph may stay float32."""
    layers = sum(node.op_type in _LAYERS for node in proto.graph.node)
    return [kept for kept in _KEPT if kept == _KEPT[0] or kept <= _MOST_KEPT * layers]


def first(graph: onnx.GraphProto, layers: int) -> Iterator[str]:
    """The names of the nodes up to the layer with this number, from 1, in the order in which they are computed."""
    for node in graph.node:
        yield node.name
        layers -= node.op_type in _LAYERS
        if not layers:
            return


def outer(graph: onnx.GraphProto) -> Iterator[str]:
    """The names of the nodes between the input and the first layers and between the last layers and the output, these
    layers included."""
    makers = {name: node for node in graph.node for name in node.output}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    yield from _until_layer([makers[one.name] for one in graph.output], lambda node: map(makers.get, node.input))
    yield from _until_layer(users[INPUT], lambda node: (user for name in node.output for user in users.get(name, ())))


def _until_layer(
    starts: Iterable[onnx.NodeProto], next_ones: Callable[[onnx.NodeProto], Iterable[onnx.NodeProto | None]]
) -> Iterator[str]:
    """The names of the nodes from `starts` on, up to the first layer on each way. A size leads no further."""
    seen: set[str] = set()
    waiting = [*starts]
    while waiting:
        node = waiting.pop()
        if node.name in seen:
            continue
        seen.add(node.name)
        yield node.name
        if node.op_type not in _LAYERS | {"Shape"}:
            waiting += [other for other in next_ones(node) if other is not None]
