"""Where models compute: what a user asks for, checked against what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from maskwright.errors import ConfigError, SetupError, argument

_preferred: ContextVar[str | None] = ContextVar("preferred", default=None)


def device_of(asked: str | None) -> str:
    """The device that `auto`, `cpu`, `cuda`, `cuda:1` or `mps` means: for torch, and surely there. `auto` is a CUDA GPU
    where there is one, else the CPU; None is what the work around prefers (see `preferring`), else `auto`.

    ConfigError for another text, SetupError where the device is not there."""
    asked = asked or _preferred.get() or "auto"
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    found = re.fullmatch(r"cpu|mps|cuda(?::(\d+))?", asked)
    if not found:
        raise ConfigError(f"{argument('device')} {asked}: not a device; give auto, cpu, cuda, cuda:1 or mps")
    if why := _missing(asked, int(found[1] or 0)):
        raise SetupError(f"{argument('device')} {asked}: {why}; give another one, or auto")
    return asked


def is_there(device: str) -> bool:
    """Whether this machine has the device of a run."""
    return not _missing(device, int(device.partition(":")[2] or 0))


@contextmanager
def preferring(device: str | None) -> Iterator[None]:
    """All that computes inside, and names no device itself, does so on this one. Errors are those of `device_of`."""
    token = _preferred.set(device_of(device))
    try:
        yield
    finally:
        _preferred.reset(token)


def _missing(device: str, number: int) -> str:
    """Why a device cannot be used, empty where it can."""
    if device == "mps":
        return "" if torch.backends.mps.is_available() else "there is no GPU of Apple that torch can use here"
    if device == "cpu":
        return ""
    if not torch.cuda.is_available():
        built = "" if torch.version.cuda else " (this torch was built without CUDA)"
        return f"there is no GPU that torch can use here{built}"
    count = torch.cuda.device_count()
    return (
        ""
        if number < count
        else f"there are only {count} GPUs, from cuda:0"
        if count > 1
        else "there is one GPU, cuda:0"
    )
