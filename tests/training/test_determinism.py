"""The same config, data and seed give the same bytes, however batches are made; another seed gives others."""

import pytest
import torch

from maskwright.training.train import train
from tiny import EVERY_AUGMENTATION, config, write_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("determinism"), {"train": 5, "val": 2}, ids=(0, 1, 2))


def run(data, out, *, seed=3, **changes):
    settings = config(
        data,
        train={"iterations": 12, **changes},
        model={"dropout": 0.2},
        augment=EVERY_AUGMENTATION,
        optimizer={"lr": 0.01},
        seed=seed,
    )
    return train(settings, out=out)


def artifacts(run):
    return [path.read_bytes() for path in (run.best, run.last, run.metrics.path)]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_again_and_with_any_number_of_loader_processes(data, tmp_path):
    first = artifacts(run(data, tmp_path / "first"))
    for workers in (0, 1, 2):
        assert artifacts(run(data, tmp_path / f"workers{workers}", workers=workers)) == first, workers


def test_the_resolved_config_gives_the_same_model(data, tmp_path):
    first = run(data, tmp_path / "first", iterations=None, epochs=8)
    again = train(first.path / "config.yaml", out=tmp_path / "again")
    assert again.config().train.iterations == 10
    assert artifacts(again) == artifacts(first)


def test_another_seed_differs(data, tmp_path):
    first, other = run(data, tmp_path / "first"), run(data, tmp_path / "other", seed=4)
    assert all(a != b for a, b in zip(artifacts(first), artifacts(other), strict=True))
    rates = [[record.get("lr") for record in run.metrics.read()] for run in (first, other)]
    assert rates[0] == rates[1]


def test_the_seed_alone_decides_the_first_weights_and_not_what_was_drawn_before(data, tmp_path):
    torch.manual_seed(1)
    first = artifacts(run(data, tmp_path / "first", iterations=1))
    torch.rand(100)
    assert artifacts(run(data, tmp_path / "again", iterations=1)) == first
