"""A training leaves what is global to the process as it found it, and is not disturbed by another one."""

import random
import threading

import cv2
import numpy as np
import pytest
import torch

from helpers import THREADS
from maskwright.errors import LockedError
from maskwright.training import loop
from maskwright.training.lr_finder import find_rate
from maskwright.training.train import resume, train
from tiny import config, write_dataset


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    root = write_dataset(tmp_path_factory.mktemp("guest") / "data", {"train": 4, "val": 2})
    return config(root, train={"iterations": 3, "evaluate_every": 2, "workers": 1}, model={"dropout": 0.2})


def state():
    denormal = float(torch.tensor([1e-310], dtype=torch.float64).mul(0.5))
    drawn = torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()
    return *drawn, cv2.getNumThreads(), torch.get_num_threads(), denormal


@pytest.mark.parametrize("flush", [False, True])
def test_the_state_of_the_process_is_left_as_it_was(settings, tmp_path, monkeypatch, flush):
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(3)
    torch.set_flush_denormal(flush)
    try:
        before = state()
        train(settings, out=tmp_path / "run")
        assert state() == before
        find_rate(settings)
        assert state() == before
        monkeypatch.setattr(loop, "validate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(settings, out=tmp_path / "broken")
        assert state() == before
        monkeypatch.undo()
        resume(tmp_path / "broken")
        assert state() == before
    finally:
        torch.set_flush_denormal(False)
        cv2.setNumThreads(threads)
        torch.set_num_threads(THREADS)


def test_a_second_training_in_another_thread_is_refused_and_disturbs_nothing(settings, tmp_path, monkeypatch):
    alone = train(settings, out=tmp_path / "alone")
    refused, evaluate = [], loop.validate

    def meanwhile():
        with pytest.raises(LockedError, match="another thread of this process is training, .*; train one after the"):
            train(settings, out=tmp_path / "second")
        refused.append(True)

    def validate(*arguments):
        thread = threading.Thread(target=meanwhile)
        thread.start()
        thread.join()
        return evaluate(*arguments)

    monkeypatch.setattr(loop, "validate", validate)
    run = train(settings, out=tmp_path / "run")
    assert refused and not (tmp_path / "second").exists()
    assert run.last.read_bytes() == alone.last.read_bytes()
    train(settings, out=tmp_path / "second")  # now it may
