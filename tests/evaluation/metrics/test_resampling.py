"""The one engine of resampling: two ways of drawing, whose sequences published intervals depend on."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.evaluation.metrics import Marginals
from maskwright.evaluation.metrics.statistics import quantiles, resampled_scores, resampled_sums, resampling


@pytest.mark.parametrize("draw", [resampling.draw_places, resampling.draw_numbers])
def test_weights_are_images_drawn_with_replacement_whatever_the_blocks(draw, monkeypatch):
    whole = np.concatenate([*resampling.weights(9, 4000, np.random.default_rng(3), draw, 9)])
    assert whole.shape == (4000, 9) and (whole.sum(1) == 9).all()
    # Binomial(9, 1/9): mean 1, variance 8/9.
    assert np.abs(whole.mean(0) - 1).max() < 4 * (8 / 9 / 4000) ** 0.5
    assert whole.var() == pytest.approx(8 / 9, rel=0.05)
    monkeypatch.setattr(resampling, "BLOCK_BYTES", 8 * 9 * 7)
    parts = [*resampling.weights(9, 4000, np.random.default_rng(3), draw, 9)]
    assert len(parts) > 500
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_the_draws_of_evaluate_and_of_compare_stay_what_they_are():
    """Written down from the generators themselves: another order of calls would change published intervals."""
    images = np.arange(1, 6)[:, None]
    by_places = np.concatenate([*resampled_sums(images, 50, np.random.default_rng(7))])
    places = np.random.default_rng(7).integers(5, size=(50, 5))
    np.testing.assert_array_equal(by_places[:, 0], images[places, 0].sum(1))
    run = Marginals(images * 1.0, images * 2.0, images * 1.0)
    numbers = np.random.default_rng((7, 0)).multinomial(5, [0.2] * 5, 50)
    expected = np.stack([(numbers @ images)[:, 0]])
    np.testing.assert_array_equal(resampled_scores([run], lambda drawn: drawn.hit[:, 0], 50, 7), expected)


def test_quantiles_leave_out_what_is_undefined():
    assert quantiles(np.array([3.0, np.nan, 1.0, 2.0]), 0.5, 1.0) == (2.0, 3.0)
    assert np.isnan(quantiles(np.array([np.nan]), 0.1, 0.9)).all()
