"""Our own U-Net: any size, any configuration, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from maskwright.models.blocks import pad_to_multiple
from maskwright.models.unet import UNet


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (16, 50), (1, 1), (5, 64)])
def test_logits_have_the_size_of_the_image(size: tuple[int, int]) -> None:
    model = UNet(classes=5, channels=[4, 8, 8], bottleneck=8).eval()
    images = torch.randn(2, 3, *size)
    logits = model(images)
    assert logits.shape == (2, 5, *size)
    high, wide = (-(-side // 8) * 8 for side in size)
    padded = functional.pad(images, (0, wide - size[1], 0, high - size[0]), mode="replicate")
    torch.testing.assert_close(logits, model(padded)[..., :size[0], :size[1]])


@pytest.mark.parametrize("settings", [
    {"channels": [8]}, {"channels": (4, 4, 4, 4, 4), "bottleneck": 2}, {"depth": 1}, {"depth": 3, "kernel": 5},
    {"kernel": 1}, {"dropout": 0.5}, {"in_channels": 1}, {"in_channels": 4, "classes": 1}])
def test_configurations(settings: dict[str, Any]) -> None:
    model = UNet(**({"channels": (4, 8), "bottleneck": 8} | settings))
    logits = model(torch.randn(2, settings.get("in_channels", 3), 17, 19))
    assert logits.shape == (2, settings.get("classes", 2), 17, 19)
    logits.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_documented_structure() -> None:
    model = UNet(classes=3, channels=[64, 128, 256, 512], bottleneck=512, depth=3, kernel=3)
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convolutions) == 3 * (4 + 1 + 4)
    assert [block[0].out_channels for block in model.encoder] == [64, 128, 256, 512]
    assert [block[0].in_channels for block in model.decoder] == [128, 256, 512, 1024]


def test_dropout_acts_in_training_only() -> None:
    model = UNet(channels=[8], bottleneck=8, dropout=0.5)
    images = torch.randn(2, 3, 16, 16)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


@pytest.mark.parametrize(("settings", "what"), [
    ({"channels": []}, "at least 1"), ({"channels": [0]}, "at least 1"), ({"bottleneck": 0}, "at least 1"),
    ({"depth": 0}, "at least 1"), ({"kernel": 2}, "odd"), ({"kernel": -1}, "odd"), ({"dropout": 1.0}, "below 1"),
    ({"dropout": -0.1}, "at least 0"), ({"dropout": float("nan")}, "dropout")])
def test_settings_are_checked(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        UNet(**settings)


def test_padding_repeats_the_edge() -> None:
    images = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert pad_to_multiple(images, 4)[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    assert pad_to_multiple(images, 1) is images
