"""Edges by colour."""

import numpy as np
import pytest

from maskwright.core.edges import edge_strength, smoothed


def test_a_ramp_changes_by_its_slope_and_a_plain_image_not_at_all():
    rows, columns = np.indices((20, 30)).astype(np.float32)
    ramp = np.stack([3 * columns, 4 * rows, np.zeros_like(rows)], -1)
    assert edge_strength(ramp)[1:-1, 1:-1] == pytest.approx(np.full((18, 28), 5.0), rel=1e-5)
    assert not edge_strength(np.full((9, 9, 3), 7, np.float32)).any()


def test_smoothing_keeps_the_mean_and_takes_noise_away(rng):
    noise = rng.normal(50, 10, (64, 64, 3)).astype(np.float32)
    assert smoothed(noise).mean() == pytest.approx(noise.mean(), rel=0.01)
    assert smoothed(noise).std() < noise.std() / 2
