"""Copies are found, other images are not, and the search by bands finds what comparing all pairs finds."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy.fft import dctn

from maskwright.data.auditing import near_duplicates
from maskwright.data.auditing.near_duplicates import CORRELATION, DISTANCE, SIDE, alike, hashes, thumbnail

Pixels = npt.NDArray[np.uint8]


def scene(seed: int, size: tuple[int, int] = (120, 160)) -> Pixels:
    """Something with structure at several scales and some noise."""
    rng = np.random.default_rng(seed)
    image = np.zeros((*size, 3))
    for cells, strength in ((3, 90), (6, 60), (12, 30)):
        image += cv2.resize(rng.normal(0, strength, (cells, cells, 3)), size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(image + 128 + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8)


def as_jpeg(image: Pixels) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=50)
    return np.array(Image.open(stream))


def cropped(image: Pixels) -> Pixels:
    down, across = (round(side * 0.01) for side in image.shape[:2])
    return np.ascontiguousarray(image[down:-down, across:-across])


COPIES: dict[str, Callable[[Pixels], Pixels]] = {
    "JPEG of quality 50": as_jpeg,
    "half the size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "brighter by 10": lambda image: cv2.add(image, (10, 10, 10, 0)),
    "cropped by 2 %": cropped,
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_found_and_other_images_are_not(name: str) -> None:
    originals = [scene(seed) for seed in range(60)]
    copies = [COPIES[name](image) for image in originals[::3]]
    found = alike([thumbnail(image) for image in originals + copies])
    assert found.complete
    assert found.groups == [[3 * index, 60 + index] for index in range(20)]


def test_the_hash_is_the_sign_of_the_low_waves() -> None:
    thumbnails = np.random.default_rng(0).integers(0, 256, (50, SIDE * SIDE), np.uint8)
    for one, found in zip(thumbnails, hashes(thumbnails), strict=True):
        waves = dctn(one.reshape(SIDE, SIDE).astype(float))[:8, :8]
        bits = waves.reshape(-1) > np.median(waves.reshape(-1)[1:])
        assert int(found) == int(np.packbits(bits).view(np.uint64)[0])


def test_a_thumbnail_holds_the_means_of_cells() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (SIDE * 4, SIDE * 8), np.uint8)
    means = grey.reshape(SIDE, 4, SIDE, 8).mean((1, 3))
    found = np.frombuffer(thumbnail(np.repeat(grey[..., None], 3, 2)), np.uint8).reshape(SIDE, SIDE)
    np.testing.assert_allclose(found, means, atol=1.01)  # rounded twice


def brute_force(thumbnails: npt.NDArray[np.uint8]) -> list[list[int]]:
    found = hashes(thumbnails).tolist()
    group = list(range(len(thumbnails)))
    for i, j in combinations(range(len(thumbnails)), 2):
        if (found[i] ^ found[j]).bit_count() <= DISTANCE and np.corrcoef(thumbnails[i], thumbnails[j])[
            0, 1
        ] >= CORRELATION:
            group = [group[i] if g == group[j] else g for g in group]
    groups = [[i for i, g in enumerate(group) if g == name] for name in sorted(set(group))]
    return sorted(one for one in groups if len(one) > 1)


@pytest.mark.parametrize("noise", [2, 6, 10])
def test_bands_find_what_all_pairs_find(noise: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters with every distance from near to far; small blocks, so that their borders are crossed."""
    rng = np.random.default_rng(noise)
    centres = np.stack([cv2.resize(rng.normal(128, 50, (6, 6)), (SIDE, SIDE)).reshape(-1) for _ in range(12)])
    thumbnails = np.clip(centres[rng.integers(0, 12, 150)] + rng.normal(0, noise, (150, SIDE * SIDE)), 0, 255)
    pixels = thumbnails.astype(np.uint8)
    expected = brute_force(pixels)
    assert expected
    for cells, rows in ((1 << 20, 4096), (64, 7)):
        monkeypatch.setattr(near_duplicates, "CELLS", cells)
        monkeypatch.setattr(near_duplicates, "ROWS", rows)
        assert alike([one.tobytes() for one in pixels]).groups == expected


def test_images_that_show_nothing_are_alike_to_none() -> None:
    nothing = np.full(SIDE * SIDE, 90, np.uint8)
    hardly = nothing.copy()
    hardly[::40] += 1
    assert alike([nothing.tobytes(), hardly.tobytes(), nothing.tobytes()]).groups == []
    assert alike([]).groups == []


def test_smooth_images_with_equal_hashes_are_told_apart() -> None:
    """A slope to the right, and one with a hill that leaves the order of the waves as it is."""
    rows, columns = np.indices((SIDE, SIDE))
    slope = 60 + 8.0 * columns + 2 * rows
    images = [
        np.rint(slope + bump * np.exp(-((rows - 3) ** 2 + (columns - 12) ** 2) / 12)).astype(np.uint8)
        for bump in (0, 40, 80, 120)
    ]
    correlation = np.corrcoef([image.reshape(-1) for image in images])
    groups = alike([image.tobytes() for image in images]).groups
    for i, j in combinations(range(4), 2):
        if correlation[i, j] < CORRELATION and not any(
            correlation[i, k] >= CORRELATION <= correlation[k, j] for k in range(4)
        ):
            assert not any(i in group and j in group for group in groups)


def test_thousands_of_images_that_are_all_alike_are_one_group_quickly() -> None:
    rng = np.random.default_rng(0)
    centre = cv2.resize(rng.normal(128, 50, (5, 5)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).reshape(-1)
    noisy = np.clip(centre + rng.normal(0, 2, (20_000, SIDE * SIDE)), 0, 255).astype(np.uint8)
    began = time.process_time()
    found = alike([one.tobytes() for one in noisy])
    assert time.process_time() - began < 10  # all 200 million pairs would take minutes
    assert found.complete
    assert found.groups == [list(range(20_000))]


def test_a_search_without_end_is_given_up_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "COMPARED", 0)
    thumbnails = [thumbnail(scene(1)), thumbnail(as_jpeg(scene(1)))]
    assert thumbnails[0] != thumbnails[1]
    assert alike(thumbnails) == near_duplicates.Alike([], False)
