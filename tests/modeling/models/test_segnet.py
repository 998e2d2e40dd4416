"""SegNet: values return to where they came from; its structure by hand, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from maskwright.modeling.models.segnet import SegNet


def test_the_forward_pass_against_the_modules_of_torch() -> None:
    torch.manual_seed(0)
    model = SegNet(classes=3, encoder_channels=[4, 8, 16], decoder_channels=[8, 4, 4], depth=1).eval().double()
    pool, unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
    images = torch.randn(2, 3, 24, 16).double()
    maps, places = images, []
    for block in model.encoder:
        maps, found = pool(block(maps))
        places.append(found)
    for block in model.decoder:
        maps = block(unpool(maps, places.pop()))
    torch.testing.assert_close(model(images), model.head(maps))


def test_a_value_returns_to_its_place() -> None:
    """One stage that only passes on: the logits are the images' largest values, each where it was, and zeros."""
    model = SegNet(1, 1, encoder_channels=[1], decoder_channels=[1], depth=1, kernel=1, norm="none").eval()
    for convolution in (model.encoder[0][0], model.decoder[0][0], model.head):
        nn.init.ones_(convolution.weight)  # type: ignore[index,union-attr]
    images = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4)[..., torch.tensor([1, 0, 3, 2])]  # largest below on the left
    expected = torch.zeros(4, 4)
    expected[1, 0], expected[1, 2], expected[3, 0], expected[3, 2] = 6, 8, 14, 16
    assert torch.equal(model(images)[0, 0], expected)


def test_parameters_by_hand() -> None:
    """Encoder 4-8, decoder 4-6, two layers of 5 x 5 a block, 3 classes; unpooling learns nothing."""
    encoder = (25 * 3 * 4 + 2 * 4) + (25 * 4 * 4 + 2 * 4) + (25 * 4 * 8 + 2 * 8) + (25 * 8 * 8 + 2 * 8)
    decoder = (25 * 8 * 4 + 2 * 4) + (25 * 4 * 4 + 2 * 4) + (25 * 4 * 6 + 2 * 6) + (25 * 6 * 6 + 2 * 6)
    head = 6 * 3 + 3
    model = SegNet(classes=3, encoder_channels=[4, 8], decoder_channels=[4, 6], kernel=5)
    assert sum(p.numel() for p in model.parameters()) == encoder + decoder + head


def test_the_documented_structure() -> None:
    model = SegNet(encoder_channels=[64, 128, 256, 512], decoder_channels=[256, 128, 64, 64], kernel=5, depth=3)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (5, 5)]
    assert len(convolutions) == 3 * (4 + 4)
    assert [block[0].in_channels for block in model.decoder] == [512, 256, 128, 64]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pool": 3},
        {"kernel": 5, "depth": 1},
        {"norm": "group"},
        {"norm": "none", "activation": "gelu"},
        {"dropout": 0.5},
        {"in_channels": 1, "classes": 1},
    ],
)
@pytest.mark.parametrize("size", [(16, 16), (17, 30), (1, 1)])
def test_configurations_and_sizes(settings: dict[str, Any], size: tuple[int, int]) -> None:
    model = SegNet(**({"encoder_channels": [4, 8], "decoder_channels": [4, 8]} | settings))
    logits = model(torch.randn(2, settings.get("in_channels", 3), *size))
    assert logits.shape == (2, settings.get("classes", 2), *size)
    logits.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"decoder_channels": [128, 64, 32]}, r"decoder_channels must be \[128, 64, 32, 'any'\]"),
        ({"decoder_channels": [128, 64, 64, 32]}, r"given \[128, 64, 64, 32\]"),
        ({"encoder_channels": []}, "at least 1"),
        ({"encoder_channels": [4], "decoder_channels": [0]}, "at least 1"),
        ({"pool": 1}, "pool"),
        ({"kernel": 4}, "odd"),
        ({"depth": 0}, "at least 1"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        SegNet(**settings)
