"""Student's t against scipy's."""

import pytest
import scipy.stats

from maskwright.evaluation.metrics.statistics import t_below, t_within


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 16, 49, 200])
def test_students_t_is_that_of_scipy(freedom):
    for t in (-7.5, -2.1, -0.3, 0.0, 1.4, 5.0):
        assert t_below(t, freedom) == pytest.approx(scipy.stats.t.cdf(t, freedom), abs=1e-12)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 18, 49, 200])
@pytest.mark.parametrize("share", [0, 0.5, 0.95, 0.999])
def test_its_quantiles_are_those_of_scipy(share, freedom):
    assert t_within(share, freedom) == pytest.approx(scipy.stats.t.ppf((1 + share) / 2, freedom), rel=1e-10, abs=1e-10)
