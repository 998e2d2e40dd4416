"""The range test: its rule on drawn curves, and that it is the same each time and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError
from maskwright.training.distributed.processes import ALONE
from maskwright.training.lr_finder import HIGHEST, LOWEST, STEPS, find_rate, range_test, suggestion
from maskwright.training.prepare import groups_of, prepare, training_splits
from tiny import config, write_dataset

RATES = np.geomspace(LOWEST, HIGHEST, STEPS)


def curve(fall, rise, width=0.4):
    """A loss that falls from 2 to 0.2 around the rate `fall` and grows beyond `rise`."""
    logs = np.log10(RATES)
    down = 1 / (1 + np.exp(-(logs - np.log10(fall)) / width))
    return 2 - 1.8 * down + np.exp((logs - np.log10(rise)) / 0.2)


@pytest.mark.parametrize("fall", [1e-4, 1e-3, 1e-2])
def test_the_steepest_fall_is_found(fall):
    found, reason = suggestion(list(RATES), list(curve(fall, 3.0)))
    assert found == pytest.approx(fall, rel=0.25)
    assert "most steeply" in reason


def test_noise_of_batches_is_not_taken_for_the_fall():
    rng = np.random.default_rng(0)
    for _ in range(20):
        found, _ = suggestion(list(RATES), list(curve(1e-3, 3.0) + rng.normal(0, 0.02, STEPS)))
        assert 2.5e-4 < found < 4e-3


def test_at_most_a_tenth_of_the_rate_of_the_lowest_loss():
    losses = curve(1e-2, 5e-2)
    found, reason = suggestion(list(RATES), list(losses))
    assert found == pytest.approx(RATES[losses.argmin()] / 10, rel=0.06)
    assert "a tenth of" in reason


@pytest.mark.parametrize("losses", [[], [1.0] * 3, [1.0] * 50, list(range(1, 60))])
def test_a_loss_that_never_falls_suggests_nothing(losses):
    found, reason = suggestion(list(RATES[: len(losses)]), losses)
    assert found is None and "never fell" in reason


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    data = write_dataset(tmp_path_factory.mktemp("rates") / "data", {"train": 6, "val": 2})
    return config(
        data, model={"dropout": 0.2}, optimizer={"name": "sgd", "lr": 0.3, "groups": {"head": {"lr_mult": 2.0}}}
    )


def prepared(settings):
    dataset = load_dataset(settings.data.root)
    return prepare(settings, dataset, training_splits(dataset, 0.2, 0), None, "cpu", ALONE)


def test_the_same_each_time_and_nothing_is_changed(settings):
    parts = prepared(settings)
    before = {key: value.clone() for key, value in parts.segmenter.model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = range_test(parts.segmenter, parts.criterion, parts.batches, groups_of(settings), 3, steps=30)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, before[key]) for key, value in parts.segmenter.model.state_dict().items())
    again = range_test(parts.segmenter, parts.criterion, parts.batches, groups_of(settings), 3, steps=30)
    assert first == again
    np.testing.assert_allclose(first.rates, np.geomspace(LOWEST, HIGHEST, 30)[: len(first.rates)])
    around = [np.mean(first.losses[max(0, i - 5) : i + 6]) for i in range(len(first.losses))]
    np.testing.assert_allclose(first.smoothed, around)


def test_it_stops_when_the_loss_runs_away(settings):
    parts = prepared(settings)
    found = range_test(parts.segmenter, parts.criterion, parts.batches, groups_of(settings), 3, steps=60, highest=1e9)
    assert 5 < len(found.rates) < 60
    assert np.isfinite(found.losses).all()


def test_the_planned_training_is_tested(settings):
    first, again = find_rate(settings), find_rate(settings)
    assert first == again and 20 < len(first.rates) <= STEPS
    assert first.suggested is not None and LOWEST < first.suggested < HIGHEST
    # The losses follow from the rates, so another base rate changes nothing: not a bit, when it is 8 times the other
    # one, as products and quotients by powers of two are exact.
    lr = 8 * settings.optimizer.lr
    other = settings.model_copy(update={"optimizer": settings.optimizer.model_copy(update={"lr": lr})})
    assert find_rate(other).losses == first.losses


def test_an_impossible_model_is_refused(settings):
    bad = settings.model_copy(
        update={
            "optimizer": settings.optimizer.model_copy(update={"groups": {"hed": settings.optimizer.groups["head"]}})
        }
    )
    with pytest.raises(ConfigError, match="did you mean 'head'"):
        find_rate(bad)
