"""Every row of the table on images of any bands: 1, 2, 4, 5 and 7 of them, of 8 and of 16 bits."""

import numpy as np
import numpy.typing as npt
import pytest

from helpers import draw_pair
from maskwright.core.bands import RGB, Bands
from maskwright.errors import ConfigError
from maskwright.modeling import augment
from maskwright.modeling.augment import AUGMENTATIONS, Pipeline, any_bands
from maskwright.modeling.augment.pipeline import Canvas, by_fours

SIZE = (48, 48)
COUNTS = [1, 2, 4, 5, 7]
GEOMETRIC = [name for name, row in AUGMENTATIONS.items() if name not in any_bands() and not row.colours]
COLOURS = [name for name, row in AUGMENTATIONS.items() if row.colours]
KINDS = [Bands.of(channels, bits, (300, 4095) if bits == 16 else None) for channels in COUNTS for bits in (8, 16)]  # type: ignore[arg-type]


def sample(bands: Bands) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.uint8]]:
    """Bands that differ, within the range."""
    image, mask = draw_pair(np.random.default_rng(2), SIZE, 3)
    low, high = bands.range
    stack = [
        np.roll(image[..., band % 3].astype(float), band, 1) * (0.9 - 0.1 * band) for band in range(bands.channels)
    ]
    return (np.stack(stack, 2) * (high - low) / 255 + low).astype(bands.dtype), mask


def through(name: str, bands: Bands, seed: int = 0) -> npt.NDArray[np.generic]:
    image, mask = sample(bands)
    before = image.copy()
    found, labels = augment.build([{"name": name, "p": 1.0}], "reflect", bands)(
        image, mask, np.random.default_rng(seed)
    )  # type: ignore[arg-type]
    assert found.dtype == bands.dtype and found.shape == image.shape and labels.shape == mask.shape
    assert found.flags.c_contiguous and np.array_equal(image, before)
    return found


def test_the_table_is_divided() -> None:
    assert COLOURS == ["RGBShift", "HueSaturationValue", "PhotoMetricDistortion", "CLAHE", "ImageCompression"]
    assert any_bands() == ["RandomBrightnessContrast", "RandomGamma", "GaussNoise", "GaussianBlur", "CoarseDropout"]


@pytest.mark.parametrize("bands", KINDS, ids=str)
@pytest.mark.parametrize("name", [*GEOMETRIC, *any_bands()])
def test_bands_and_bits_stay_and_something_changes(name: str, bands: Bands) -> None:
    image = sample(bands)[0]
    assert any(not np.array_equal(through(name, bands, seed), image) for seed in range(4))
    assert np.array_equal(through(name, bands, 1), through(name, bands, 1))


@pytest.mark.parametrize("bands", KINDS, ids=str)
@pytest.mark.parametrize("name", [*GEOMETRIC, "GaussianBlur"])
def test_each_band_is_moved_as_if_it_were_alone(name: str, bands: Bands) -> None:
    image, mask = sample(bands)
    found = through(name, bands)
    for band in range(bands.channels):
        # OpenCV computes with other arithmetic for other numbers of channels: places are right to 1/32 of a pixel.
        alone = Pipeline(
            [AUGMENTATIONS[name](p=1)], "reflect", Bands.of(1, bands.bits, bands.range if bands.bits == 16 else None)
        )
        one, _ = alone(np.ascontiguousarray(image[..., band : band + 1]), mask, np.random.default_rng(0))
        difference = np.abs(one[..., 0].astype(int) - found[..., band].astype(int))
        full = bands.range[1]
        assert difference.max() <= 1 + full // 32 and difference.mean() <= full / 512, band


@pytest.mark.parametrize("channels", COUNTS)
@pytest.mark.parametrize("name", any_bands())
def test_16_bits_of_the_whole_range_do_as_8_bits_do(name: str, channels: int) -> None:
    """0..255 as 16 bits with the range 0..255 * 256: what photometric changes do does not depend on the bits."""
    image, mask = sample(Bands.of(channels))
    deep = Bands.of(channels, 16, (0, 255 * 256))
    few = Pipeline([AUGMENTATIONS[name](p=1)], "reflect", Bands.of(channels))(image, mask, np.random.default_rng(5))[0]
    many = Pipeline([AUGMENTATIONS[name](p=1)], "reflect", deep)(
        image.astype(np.uint16) * 256, mask, np.random.default_rng(5)
    )[0]
    np.testing.assert_allclose(many / 256, few, atol=1.01)


@pytest.mark.parametrize("name", COLOURS)
@pytest.mark.parametrize("bands", [Bands.of(1), Bands.of(4), Bands.of(3, 16)], ids=str)
def test_changes_of_colours_are_refused_by_name(name: str, bands: Bands) -> None:
    terms = [{"name": "HorizontalFlip"}, {"name": name}]
    with pytest.raises(ConfigError, match=f"augment: {name} is for 8-bit RGB, and these images hold {bands}; remove"):
        augment.build(terms, "reflect", bands)
    augment.build(terms, "reflect", RGB)


def test_all_refused_names_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match="augment: CLAHE, Albumentations are for 8-bit RGB"):
        augment.build([{"name": "CLAHE"}, {"name": "Albumentations", "pipeline": {}}], "reflect", Bands.of(4))


def test_values_outside_the_range_are_left_alone_until_light_changes() -> None:
    bands = Bands.of(1, 16, (100, 200))
    image = np.array([[[0], [150], [60000]]], np.uint16)
    canvas = Canvas(image, np.zeros((1, 3), np.uint8), bands)
    assert np.array_equal(canvas.pixels(), image)
    canvas.floats()
    assert canvas.pixels().ravel().tolist() == [100, 150, 200]
    assert [canvas.level(value) for value in (0, 255, 51)] == [100, 200, 120]


@pytest.mark.parametrize("channels", [*COUNTS, 3, 12])
def test_by_fours_gives_every_band_its_place(channels: int) -> None:
    image = np.arange(4 * 5 * channels, dtype=np.uint16).reshape(4, 5, channels)
    seen: list[int] = []

    def double(some: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        seen.append(some.shape[2])
        return (some * 2)[..., 0] if some.shape[2] == 1 else some * 2  # type: ignore[operator]

    assert np.array_equal(by_fours(image, double), image * 2)  # type: ignore[arg-type]
    assert max(seen) <= 4 and sum(seen) == channels
