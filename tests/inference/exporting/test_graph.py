"""Every row of the table of models becomes a graph that computes the same; those that can take any size do."""

from pathlib import Path

import numpy as np
import pytest
import torch

from maskwright.core.classes import ClassTree
from maskwright.core.geometry import Geometry
from maskwright.inference.exporting import graph
from maskwright.inference.exporting.exported import ExportedModel
from maskwright.inference.exporting.graph import to_onnx
from maskwright.inference.exporting.metadata import Metadata
from maskwright.inference.exporting.session import open_session
from maskwright.modeling.models import MODELS
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.modeling.models.segmenter import Preprocessing, Segmenter
from small_models import LARGER, SIZE, spec_of

# They pool to a grid of a fixed size, which torch's exporter does not follow with free sizes.
FIXED_SIZE = {"PAN", "PSPNet", "UPerNet"}


@pytest.mark.parametrize(
    "name", [name if name == "SegNet" else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_a_graph_computes_the_same(name: str) -> None:
    size = LARGER.get(name, SIZE)
    torch.manual_seed(0)
    classes, spec = ClassTree.flat(["a", "b", "c"]), spec_of(name)
    preprocessing = Preprocessing(Geometry(size), (0.5,) * 3, (0.25,) * 3)
    segmenter = Segmenter(build_model(spec).eval(), spec, classes, preprocessing)
    proto = to_onnx(segmenter, Metadata(classes, preprocessing, spec.to_dict()))
    model = ExportedModel.of(Path("m.onnx"), open_session(proto.SerializeToString()))
    assert model.metadata.any_size == (name not in FIXED_SIZE)
    shapes = [(2, *size, 3)] + ([(1, 160, 128, 3), (3, 131, 194, 3)] if model.metadata.any_size else [])
    for shape in shapes:
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        found = model.probabilities(images)
        expected = segmenter.probabilities(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "fixed"), [("tf_efficientnet_lite0", True), ("mobilenetv3_small_050", False)])
def test_layers_that_pad_by_size_are_known(name: str, fixed: bool) -> None:
    """By their names, which another version of timm may change."""
    model = build_model(ModelSpec("FPN", 2, f"tu-{name}"))
    assert graph._pads_by_size(model) == fixed
