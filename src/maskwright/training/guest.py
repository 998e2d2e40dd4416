"""A training is a guest in the process that calls it: what is global to the process is left as it was found.

Dropout and initialisation draw from torch's global generator, so that only one training can use it at a time.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import torch

from maskwright.errors import LockedError
from maskwright.training.step import fast_arithmetic

_ALONE = threading.RLock()


@contextmanager
def as_a_guest() -> Iterator[None]:
    """`fast_arithmetic` around a training, after which the global generators of torch, numpy and Python, and OpenCV's
    number of threads, are as before. LockedError when another thread of this process trains."""
    if not _ALONE.acquire(blocking=False):
        raise LockedError(
            "another thread of this process is training, and both would draw from the same random numbers; train one "
            "after the other, or in processes of their own (`maskwright study --workers`)"
        )
    threads, drawn, numpy = cv2.getNumThreads(), random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(devices), fast_arithmetic():
            yield
    finally:
        random.setstate(drawn)
        np.random.set_state(numpy)
        cv2.setNumThreads(threads)
        _ALONE.release()


def seed_torch(seed: int, device: torch.device) -> None:
    """Seeds torch's generators for a training on `device`. Those of GPUs only where it uses one: else a program that
    uses them later would find them seeded."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
