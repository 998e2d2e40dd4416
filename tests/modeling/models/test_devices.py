"""What a user asks for as a device, and what is there."""

from __future__ import annotations

import pytest
import torch

from maskwright.errors import ConfigError, SetupError
from maskwright.modeling.models.devices import device_of, is_there, preferring


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_with_gpus(two_gpus):
    assert [device_of(asked) for asked in (None, "auto", "cuda", "cuda:1", "cpu")] == [
        "cuda",
        "cuda",
        "cuda",
        "cuda:1",
        "cpu",
    ]
    with pytest.raises(SetupError, match="there are only 2 GPUs, from cuda:0") as caught:
        device_of("cuda:2")
    assert caught.value.exit_code == 4 and "\n" not in str(caught.value)
    assert is_there("cuda:1") and not is_there("cuda:2")


def test_without_gpus(no_gpu):
    assert device_of(None) == device_of("auto") == "cpu"
    for asked in ("cuda", "cuda:0"):
        with pytest.raises(SetupError, match=f"`device` {asked}: there is no GPU that torch can use here"):
            device_of(asked)
    with pytest.raises(SetupError, match="no GPU of Apple"):
        device_of("mps")


@pytest.mark.parametrize("asked", ["gpu", "cuda:", "cuda:-1", "cuda:x", "CPU", "cpu:0", ""])
def test_what_is_no_device(asked, no_gpu):
    if not asked:
        assert device_of(asked) == "cpu"
        return
    with pytest.raises(ConfigError, match="not a device; give auto, cpu, cuda, cuda:1 or mps"):
        device_of(asked)


def test_the_work_around_is_asked_first(two_gpus):
    with preferring("cpu"):
        assert device_of(None) == "cpu"
        assert device_of("cuda:1") == "cuda:1"
        with preferring(None):
            assert device_of(None) == "cpu"
    assert device_of(None) == "cuda"
    with pytest.raises(SetupError), preferring("cuda:7"):
        pass
    assert device_of(None) == "cuda"
