"""The object in a box, and boxes in which there is too little to learn from."""

import cv2
import numpy as np
import pytest

from maskwright.core.grabcut import cut_out


def marked(size, box):
    marks = np.full(size, cv2.GC_BGD, np.uint8)
    marks[box] = cv2.GC_PR_FGD
    return marks


@pytest.mark.parametrize("scale", [1, 12])
def test_a_disc_is_found_and_nothing_outside_of_the_box(scale, rng):
    rows, columns = np.indices((80 * scale, 100 * scale))
    disc = (rows - 40 * scale) ** 2 + (columns - 50 * scale) ** 2 < (20 * scale) ** 2
    noise = rng.integers(0, 20, (80 * scale, 100 * scale, 3))
    image = (np.where(disc[..., None], (200, 60, 40), (40, 90, 60)) + noise).astype(np.uint8)
    box = np.s_[19 * scale : 62 * scale, 29 * scale : 72 * scale]
    found = cut_out(image, marked(disc.shape, box))
    assert np.count_nonzero(found & disc) / np.count_nonzero(found | disc) > 0.95
    np.testing.assert_array_equal(found, cut_out(image, marked(disc.shape, box)))
    found[box] = False
    assert not found.any()


@pytest.mark.parametrize("box", [np.s_[3:5, 3:5], np.s_[:1, :3], np.s_[:, :], np.s_[2:2, 2:2]])
def test_too_few_pixels_of_a_kind_stay_as_they_are_marked(box, rng):
    marks = marked((9, 9), box)
    found = cut_out(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8), marks)
    np.testing.assert_array_equal(found, marks == cv2.GC_PR_FGD)
