"""`init` tells what images hold by their content, and says nothing where that is 8-bit grey or RGB."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from banded import write_tiff
from maskwright.core.bands import RGB, Bands
from maskwright.data.init import init
from maskwright.data.opening import load_dataset


def folder_of(root: Path, images: list[np.ndarray], ending: str = "tif", **options: object) -> Path:
    """Images beside masks of two halves."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for number, pixels in enumerate(images):
        path = root / f"images/{number:02d}.{ending}"
        if ending == "tif":
            write_tiff(path, pixels, **options)
        else:
            cv2.imwrite(str(path), pixels)
        mask = np.zeros(pixels.shape[:2], np.uint8)
        mask[:, 20 + number :] = 1
        Image.fromarray(mask).save(root / f"masks/{number:02d}.png")
    return root


def noise(channels: int, most: int = 255, dtype: type = np.uint8, count: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(channels)
    images = []
    for _ in range(count):
        image = cv2.GaussianBlur(rng.normal(0, 1, (40, 60, channels)), (0, 0), 1.5).reshape(40, 60, channels)
        image -= image.min()
        images.append(np.rint(image / image.max() * most).astype(dtype))
    return images


@pytest.mark.parametrize("channels", [2, 4, 5, 12])
def test_bands_are_counted(tmp_path: Path, channels: int) -> None:
    init(folder_of(tmp_path / "d", noise(channels)))
    assert load_dataset(tmp_path / "d").bands == Bands.of(channels)
    text = (tmp_path / "d/dataset.yaml").read_text()
    assert f"channels: {channels}  # 6 of 6 images hold {channels} bands of 8 bits" in text


@pytest.mark.parametrize(("most", "high"), [(200, 255), (700, 1023), (4095, 4095), (4096, 8191), (65535, 65535)])
@pytest.mark.parametrize("ending", ["tif", "png"])
def test_the_range_is_that_of_the_fewest_bits(tmp_path: Path, most: int, high: int, ending: str) -> None:
    result = init(folder_of(tmp_path / "d", noise(1, most, np.uint16), ending))
    assert load_dataset(tmp_path / "d").bands == Bands.of(1, 16, (0, high))
    assert f"the highest value in 6 of them is {most:,}, as of {high.bit_length()} bits" in result.reasons["channels"]
    assert "bands" in result.human() and "1 band of 16 bits" in result.human()


@pytest.mark.parametrize("channels", [1, 3])
def test_8_bits_of_grey_and_rgb_are_not_mentioned(tmp_path: Path, channels: int) -> None:
    init(folder_of(tmp_path / "d", noise(channels), "png"))
    assert "channels" not in (tmp_path / "d/dataset.yaml").read_text()
    assert load_dataset(tmp_path / "d").bands == RGB


@pytest.mark.parametrize(("alpha", "told"), [("opaque", False), ("cut out", False), ("infrared", True)])
def test_alpha_is_a_band_where_it_shows_something(tmp_path: Path, alpha: str, told: bool) -> None:
    images = noise(4)
    for image in images:
        if alpha != "infrared":
            image[..., 3] = 255
        if alpha == "cut out":
            image[:, :10, 3] = 0
    init(folder_of(tmp_path / "d", images, "png"))
    assert load_dataset(tmp_path / "d").bands == (Bands.of(4) if told else RGB)


def test_a_few_that_differ_are_said(tmp_path: Path) -> None:
    result = init(folder_of(tmp_path / "d", [*noise(4, count=11), *noise(5, count=1)]))
    assert load_dataset(tmp_path / "d").bands == Bands.of(4)
    assert (
        "images hold different bands (11 with 4 bands of 8 bits, 1 with 5 bands of 8 bits)"
        in result.detection.unsure[-1]
    )


def test_a_mixture_is_read_as_before_and_said(tmp_path: Path) -> None:
    result = init(folder_of(tmp_path / "d", [*noise(4, count=3), *noise(3, count=3)]))
    assert load_dataset(tmp_path / "d").bands == RGB
    assert "and all are read as 8-bit RGB" in result.detection.unsure[-1]


def test_a_folder_without_a_description_is_read_as_before(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "d", noise(4), photometric="rgb", extrasamples=["unspecified"])
    dataset = load_dataset(folder)
    assert dataset.bands == RGB and dataset.read_bands(dataset[0]).shape == (40, 60, 3)
