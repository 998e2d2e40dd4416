"""The audit of images of any bands and bits, and their conversion."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from banded import write_infrared, write_twelve_bits
from maskwright.data.auditing import audit
from maskwright.data.convert import convert
from maskwright.data.init import init
from maskwright.data.opening import load_dataset


@pytest.fixture(params=["infrared", "twelve bits"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    write = write_infrared if request.param == "infrared" else write_twelve_bits
    found = write(tmp_path / "data", (4, 2, 2))
    init(found)
    return found


def test_statistics_are_of_all_bands_in_their_range(folder: Path) -> None:
    dataset = load_dataset(folder)
    low, high = dataset.bands.range
    pixels = np.concatenate([dataset.read_bands(s).reshape(-1, dataset.bands.channels) for s in dataset])
    result = audit(folder)
    mean, std = result.statistics.total.mean_std
    np.testing.assert_allclose(mean, (pixels.mean(0) - low) / (high - low))
    np.testing.assert_allclose(std, pixels.std(0) / (high - low))
    assert f"channels ({dataset.bands}, 0..1): mean {mean[0]:.3f}" in result.human()


def test_what_is_read_is_no_finding_and_what_differs_is(folder: Path) -> None:
    told = {finding.code for finding in audit(folder).findings}
    assert not told & {"image.bands", "image.depth", "image.alpha", "image.unreadable", "image.near_duplicate"}
    odd = next((folder / "images/train").iterdir())
    Image.new("RGB", (64, 64)).save(odd)
    (finding,) = [found for found in audit(folder).findings if found.code == "image.unreadable"]
    assert odd.name in finding.message and "holds 3 bands of 8 bits, where" in finding.message


@pytest.mark.parametrize("form", ["index", "coco"])
def test_converted_datasets_hold_the_same_bands(folder: Path, tmp_path: Path, form: str) -> None:
    convert(folder, tmp_path / "out", to=form)
    before, after = load_dataset(folder), load_dataset(tmp_path / "out")
    assert after.bands == before.bands
    assert sorted(s.image.read_bytes() for s in after) == sorted(s.image.read_bytes() for s in before)
