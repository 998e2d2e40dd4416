"""One export for all tests of the wing: following a network takes seconds."""

import numpy as np
import pytest
import torch

from exported_model import TREE, Exported, segmenter_of
from maskwright.inference.exporting.graph import to_onnx
from maskwright.inference.exporting.metadata import Metadata


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Exported:
    segmenter = segmenter_of()
    metadata = Metadata(TREE, segmenter.preprocessing, segmenter.spec.to_dict(), flip_average=True, run="garden")
    proto = to_onnx(segmenter, metadata)
    file = tmp_path_factory.mktemp("exported") / "garden.onnx"
    file.write_bytes(proto.SerializeToString())
    return Exported(segmenter, proto, file)


@pytest.fixture(scope="session")
def pictures() -> list[np.ndarray]:
    """Smooth ones, of which no two pixels are alike."""
    rng = np.random.default_rng(0)
    found = []
    for high, wide in ((24, 40), (97, 61), (12, 75), (1, 1), (48, 80)):
        small = torch.from_numpy(rng.uniform(0, 255, (1, 3, max(1, high // 5), max(1, wide // 5))))
        large = torch.nn.functional.interpolate(small, (high, wide), mode="bilinear")
        found.append(large[0].permute(1, 2, 0).numpy().astype(np.uint8))
    return found
