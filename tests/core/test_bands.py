import math

import numpy as np
import pytest

from maskwright.base import strictyaml
from maskwright.core.bands import RGB, Bands, channel_sums, mean_std
from maskwright.core.description import DatasetFile, ImagesSpec, render
from maskwright.errors import ConfigError, DataError

CLASSES = 'classes: [{id: 0, name: a, colour: "#000000"}]\n'


def described(images: str) -> Bands:
    document = strictyaml.parse(f"layout: flat\nimages: {images}\n{CLASSES}", "dataset.yaml")
    return strictyaml.validate(DatasetFile, document).images.bands()


def test_without_the_key_images_are_rgb() -> None:
    assert described("{folder: x}") == RGB == Bands() and RGB.plain


@pytest.mark.parametrize(
    ("text", "bands"),
    [
        ("{channels: 4}", Bands(4, 8, (0, 255), (1, 2, 3))),
        ("{channels: 1, bits: 16}", Bands(1, 16, (0, 65535), (1,))),
        ("{channels: 2, bits: 16, range: [10, 4095], show: [2]}", Bands(2, 16, (10, 4095), (2,))),
        ("{channels: 5, show: [5, 1, 1]}", Bands(5, 8, (0, 255), (5, 1, 1))),
        ("{channels: 3}", RGB),
    ],
)
def test_what_the_description_says(text: str, bands: Bands) -> None:
    assert described(text) == bands


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{bits: 16}", "images.bits: belongs to `channels`"),
        ("{show: [1]}", "images.show: belongs to `channels`"),
        ("{channels: 4, range: [0, 100]}", "images.range: is for `bits: 16`"),
        (
            "{channels: 1, bits: 16, range: [9, 9]}",
            r"images.range: give two values of 0 to 65535 in order \(given \[9, 9",
        ),
        ("{channels: 1, bits: 16, range: [0, 65536]}", "images.range: give two values"),
        ("{channels: 4, show: [1, 2]}", "images.show: give one or three of the bands 1 to 4"),
        ("{channels: 4, show: [1, 2, 5]}", "images.show"),
        ("{channels: 4, show: [0]}", "images.show"),
        ("{channels: 0}", "channels"),
        ("{channels: 4, bits: 12}", "bits"),
    ],
)
def test_what_does_not_fit_together_is_told(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        described(text)


def test_two_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        described("{channels: 1, range: [0, 5], show: [2]}")
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    "bands", [RGB, Bands.of(4), Bands.of(2), Bands.of(1, 16, (3, 900)), Bands.of(6, 16, show=(6, 5, 4))]
)
def test_what_is_written_is_read_again(bands: Bands) -> None:
    file = strictyaml.validate(DatasetFile, strictyaml.parse(f"layout: flat\n{CLASSES}", "x"))
    text = render(file.model_copy(update={"images": ImagesSpec.with_bands(bands, folder="i")}), {})
    assert ("channels" in text) is (bands != RGB)
    assert strictyaml.validate(DatasetFile, strictyaml.parse(text, "x")).images.bands() == bands
    assert Bands.from_dict(bands.to_dict()) == bands


def test_pictures_show_the_chosen_bands_stretched_by_the_range() -> None:
    pixels = np.array([[[0, 100, 7, 350, 600, 65535]]], np.uint16)
    shown = Bands.of(6, 16, (100, 600), (4, 5, 2)).picture(pixels)
    assert shown.dtype == np.uint8 and shown.tolist() == [[[128, 255, 0]]]  # 127.5 is rounded to even
    assert Bands.of(6, 16, (100, 600), (6,)).picture(pixels).tolist() == [[[255, 255, 255]]]
    assert Bands.of(4, show=(4, 1, 2)).picture(np.array([[[1, 2, 3, 9]]], np.uint8)).tolist() == [[[9, 1, 2]]]


def test_rgb_is_its_own_picture() -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    assert RGB.picture(pixels) is pixels
    assert Bands(show=(3, 2, 1)).picture(np.array([[[1, 2, 3]]], np.uint8)).tolist() == [[[3, 2, 1]]]


@pytest.mark.parametrize("held", [(4, 8, False), (4, 8, True), (5, 8, True)])
def test_alpha_may_be_a_band_or_beside_them(held: tuple[int, int, bool]) -> None:
    Bands.of(4).require(*held, "x.tif")


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ((3, 8, False), "holds 3 bands of 8 bits, where 4 bands of 8 bits"),
        ((5, 8, False), "5 bands"),
        ((4, 16, False), "16 bits"),
    ],
)
def test_other_bands_are_refused(held: tuple[int, int, bool], told: str) -> None:
    with pytest.raises(DataError, match=f"x.tif: .*{told}.*dataset.yaml"):
        Bands.of(4).require(*held, "x.tif")


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint16), (3, np.uint8), (5, np.uint16)])
def test_sums_are_exact(rng: np.random.Generator, channels: int, dtype: type) -> None:
    pixels = rng.integers(0, np.iinfo(dtype).max, (31, 17, channels), endpoint=True).astype(dtype)
    sums = channel_sums(pixels)
    values = pixels.reshape(-1, channels).astype(object)
    assert sums.tolist() == [values.sum(0).tolist(), (values * values).sum(0).tolist()]
    mean, std = mean_std(*sums.tolist(), 31 * 17, (5, 105))
    floats = (pixels.reshape(-1, channels).astype(float) - 5) / 100
    np.testing.assert_allclose(mean, floats.mean(0))
    np.testing.assert_allclose(std, floats.std(0))


def test_sums_are_exact_in_large_images_that_are_nearly_constant() -> None:
    image = np.full((3001, 2503, 3), (0, 254, 255), np.uint8)
    image[3, 4] = 253
    values = image.reshape(-1, 3).astype(np.int64)
    assert channel_sums(image).tolist() == [values.sum(0).tolist(), (values * values).sum(0).tolist()]


def test_no_pixel_has_no_mean() -> None:
    assert all(math.isnan(value) for values in mean_std([0, 0], [0, 0], 0, (0, 255)) for value in values)
