"""Formats that are only read: every good folder is told by itself, converts exactly, and says nothing of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from broken.folders import GOOD, NEEDS, SIZE
from helpers import fingerprint
from maskwright.data.convert import convert
from maskwright.data.formats import FORMATS
from maskwright.data.opening import detect, load_dataset

ONLY_READ = [name for name, row in FORMATS.items() if row.read and not row.write and name in GOOD]


@pytest.mark.parametrize("name", [name for name in ONLY_READ if name != "common_semantic"])
def test_a_good_folder_is_told_and_converts_exactly(name: str, tmp_path: Path) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    folder, out = tmp_path / "data", tmp_path / "out"
    GOOD[name](folder)
    (folder / "dataset.yaml").unlink(missing_ok=True)
    before = fingerprint(folder)
    told = [form for form, row in FORMATS.items() if row.detect and row.detect(folder)]
    # A more general format may tell it too, behind it.
    assert told[0] == name and {*told[1:]} <= {"coco", "cvat_images", "label_studio"}
    certificate = convert(folder, out, to="index", progress=False)
    assert certificate.exact and len(certificate.samples) == 4 and not certificate.lost and not certificate.left_out
    found = load_dataset(out)
    shares = np.bincount(np.concatenate([found.read_mask(sample).reshape(-1) for sample in found.samples]), minlength=3)
    assert len(shares) == 3 and shares.min() > 0 and shares.sum() == 4 * SIZE[0] * SIZE[1]
    assert fingerprint(folder) == before
    if name != "hf_parquet":
        assert detect(folder).file.layout == name
        images = convert(folder, tmp_path / "zip.zip", to="coco", progress=False)
        assert images.exact
