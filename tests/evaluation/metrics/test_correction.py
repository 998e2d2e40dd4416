from __future__ import annotations

import math

import pytest

from maskwright.evaluation.metrics import holm


def test_holm_is_that_of_the_paper():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.4]) == pytest.approx([0.9, 0.8]) and holm([]) == [] and holm([0.5, 0.9]) == [1, 1]


def test_what_is_unknown_stays_so_and_does_not_count():
    corrected = holm([0.02, math.nan, 0.9])
    assert corrected[0] == 0.04 and math.isnan(corrected[1]) and corrected[2] == 0.9
