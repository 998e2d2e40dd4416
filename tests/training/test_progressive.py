"""Progressive resizing: which steps are small follows from the place in the schedule, and a resumed run does the same."""

from __future__ import annotations

import signal
from itertools import pairwise

import numpy as np
import pytest
import torch

from maskwright.errors import ConfigError, Interrupted
from maskwright.modeling.optim.build import Schedule
from maskwright.run import Run
from maskwright.training import loop
from maskwright.training.length import Length, Refit, Speed, spacing
from maskwright.training.loader import Batches
from maskwright.training.progressive import Progressive
from maskwright.training.train import resume, train
from tiny import config, write_dataset

HALF = {"until": 0.6, "scale": 0.5}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("progressive") / "data", {"train": 6, "val": 2}, size=(64, 64))


def settings_of(data, **train):
    changed = {"iterations": 20, "evaluate_every": 3, "progressive": HALF, **train}
    size = {"root": str(data), "image_size": [64, 96]}
    return config(data, train=changed, model={"dropout": 0.2}, data=size)


@pytest.fixture
def sizes(monkeypatch):
    """The sizes of the images of all steps from now on."""
    seen, made = [], loop.train_step

    def watching(*arguments):
        step = made(*arguments)

        def watched(images, targets):
            assert images.shape[2:] == targets.shape[1:]
            seen.append(tuple(targets.shape[1:]))
            return step(images, targets)

        return watched

    monkeypatch.setattr(loop, "train_step", watching)
    return seen


def test_images_are_averaged_and_targets_keep_their_values():
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (2, 3, 64, 128), np.uint8))
    targets = torch.from_numpy(rng.integers(0, 3, (2, 64, 128), np.uint8))
    targets[:, :, 60:] = 255
    smaller, nearest = Progressive(0.5, 0.5).resized(images, targets)
    assert smaller.shape == (2, 3, 32, 64) and nearest.shape == (2, 32, 64)
    assert smaller.dtype == nearest.dtype == torch.uint8
    assert set(np.unique(nearest)) == {0, 1, 2, 255}
    own = targets.numpy()[:, 1::2, 1::2]
    assert (nearest.numpy() == own).all() or (nearest.numpy() == targets.numpy()[:, ::2, ::2]).all()
    level = torch.full((1, 3, 64, 64), 77, dtype=torch.uint8)
    assert (Progressive(0.5, 0.5).resized(level, targets[:1, :, :64])[0] == 77).all()
    # An area twice as large as a pixel is averaged by weights that fall with the distance: noise loses most of its power.
    assert smaller.float().std() < 0.6 * images.float().std()


def test_sides_are_multiples_of_32():
    for side, scale, wanted in ((224, 0.5, 128), (32, 0.5, 32), (256, 0.6, 160), (40, 0.25, 32)):
        images, targets = (
            torch.zeros(1, 3, side, side, dtype=torch.uint8),
            torch.zeros(1, side, side, dtype=torch.uint8),
        )
        assert Progressive(0.5, scale).resized(images, targets)[1].shape == (1, wanted, wanted)


def test_small_steps_come_first_and_are_not_evaluated(data, tmp_path, sizes):
    run = train(settings_of(data), out=tmp_path / "run")
    assert sizes == [(32, 64)] * 12 + [(64, 96)] * 8  # 48 is rounded to 64
    evaluated = [record["iteration"] for record in run.metrics.read() if "val_mIoU" in record]
    assert evaluated == [12, 15, 18, 20]
    assert 0 < run.info()["small_step_cost"] <= 1
    sizes.clear()
    train(settings_of(data, progressive=None), out=tmp_path / "full")
    assert sizes == [(64, 96)] * 20


@pytest.mark.parametrize("stop", [5, 11, 12, 14])
def test_a_stopped_run_ends_with_the_same_bytes(data, tmp_path, monkeypatch, stop):
    whole = train(settings_of(data), out=tmp_path / "whole")
    item = Batches.__getitem__
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(
            Batches,
            "__getitem__",
            lambda self, step: (
                step == stop and Run(tmp_path / "cut").last.exists() and signal.raise_signal(signal.SIGINT),
                item(self, step),
            )[1],
        )
        train(settings_of(data), out=tmp_path / "cut")
    cut = resume(tmp_path / "cut")
    for path in (whole.best, whole.last, whole.metrics.path):
        assert path.read_bytes() == (cut.path / path.relative_to(whole.path)).read_bytes()


def test_the_learning_rate_follows_the_pixels():
    progressive = Progressive(0.75, 0.5, 0.3)
    length, schedule = Length(400, 50, progressive=progressive), Schedule("poly", 0, {"power": 1.0})
    factors = [length.factor(schedule, step) for step in range(400)]
    # 300 small steps have as many pixels as 75 full ones, of 175 in all.
    assert factors[0] == 1 and factors[300] == pytest.approx(1 - 75 / 175) and factors[399] == pytest.approx(1 / 175)
    falls = [a - b for a, b in pairwise(factors)]
    assert falls[:299] == pytest.approx([0.25 / 175] * 299) and falls[301:] == pytest.approx([1 / 175] * 98)


def test_a_new_length_keeps_the_place():
    """Of a training that turns out longer or shorter, what was done keeps its share, so small steps never come back."""
    for iterations in (60, 90, 300):
        refits = [Refit(50, iterations, 10), Refit(55, 2 * iterations, 10)]
        length = Length(100, 10, refits, progressive=Progressive(0.6, 0.5))
        small = []
        while len(small) < length.iterations:
            small.append(length.small(len(small)))
            length.refit(len(small))
        assert small == sorted(small, reverse=True) and 0 < sum(small) < len(small)


def test_needed_counts_small_steps_and_evaluations_as_the_loop_does():
    for until in (0.3, 0.7):
        progressive = Progressive(until, 0.5, 0.25)
        for iterations in (1, 7, 40, 100):
            for every in (1, 9, None):
                length = Length(iterations, every or spacing(iterations), progressive=progressive)
                small = sum(length.small(step) for step in range(iterations))
                done = sum(length.next_evaluation(step - 1) == step for step in range(1, iterations + 1))
                expected = (iterations - small) * 2.0 + small * 0.5 + done * 5.0
                # A part of a step is counted in full, one way or the other, and the evaluation with it.
                assert Speed(2.0, 5.0, every, progressive).needed(0, iterations) == pytest.approx(expected, abs=6.6)


def test_a_model_that_takes_no_smaller_images_is_refused_before_the_run(data, tmp_path, monkeypatch):
    from maskwright.modeling.models.unet import UNet

    forward = UNet.forward

    def fixed(self, images):
        if images.shape[2:] != (64, 96):
            raise RuntimeError("needs images of 64 x 96")
        return forward(self, images)

    monkeypatch.setattr(UNet, "forward", fixed)
    with pytest.raises(ConfigError, match=r"needs images of 64 x 96.*train\.progressive"):
        train(settings_of(data), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
