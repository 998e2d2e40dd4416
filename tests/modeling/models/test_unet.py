"""UNet, UNet2 and UNetFCN: any size, any configuration, their structure counted by hand, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from maskwright.modeling.models.blocks import UShaped, pad_to_multiple
from maskwright.modeling.models.unet import UNet
from maskwright.modeling.models.unet2 import UNet2
from maskwright.modeling.models.unet_fcn import UNetFCN

TINY = {"channels": (4, 8), "bottleneck": 8}


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("network", [UNet, UNet2])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (16, 50), (1, 1), (5, 64)])
def test_logits_have_the_size_of_the_image(network: type[UShaped], size: tuple[int, int]) -> None:
    model = network(classes=5, channels=[4, 8, 8], bottleneck=8).eval().double()  # type: ignore[call-arg]
    images = torch.randn(2, 3, *size).double()
    logits = model(images)
    assert logits.shape == (2, 5, *size)
    high, wide = (-(-side // 8) * 8 for side in size)
    padded = functional.pad(images, (0, wide - size[1], 0, high - size[0]), mode="replicate")
    torch.testing.assert_close(logits, model(padded)[..., : size[0], : size[1]])


@pytest.mark.parametrize("network", [UNet, UNet2])
@pytest.mark.parametrize(
    "settings",
    [
        {"channels": [8]},
        {"channels": (4, 4, 4, 4, 4), "bottleneck": 2},
        {"depth": 1},
        {"depth": 3, "kernel": 5},
        {"kernel": 1},
        {"dropout": 0.5},
        {"in_channels": 1},
        {"in_channels": 4, "classes": 1},
        {"pool": 3},
        {"pool": 4, "channels": [6]},
        {"norm": "group"},
        {"norm": "instance"},
        {"norm": "none"},
        {"activation": "leaky_relu"},
        {"activation": "elu"},
        {"activation": "gelu"},
        {"activation": "silu"},
    ],
)
def test_configurations(network: type[UShaped], settings: dict[str, Any]) -> None:
    model = network(**(TINY | settings))
    logits = model(torch.randn(2, settings.get("in_channels", 3), 17, 19))
    assert logits.shape == (2, settings.get("classes", 2), 17, 19)
    logits.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_documented_structure() -> None:
    model = UNet(classes=3, channels=[64, 128, 256, 512], bottleneck=512, depth=3, kernel=3)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convolutions) == 3 * (4 + 1 + 4)
    assert [block[0].out_channels for block in model.encoder] == [64, 128, 256, 512]
    assert [block[0].in_channels for block in model.decoder] == [128, 256, 512, 1024]


def test_parameters_by_hand() -> None:
    """Two stages (4, 8 channels) over a bottleneck of 16, two layers of 3 x 3 a block, 3 classes. A layer has
    9 * inputs * outputs weights without bias, and scale and shift of its normalisation."""
    encoder = (9 * 3 * 4 + 2 * 4) + (9 * 4 * 4 + 2 * 4) + (9 * 4 * 8 + 2 * 8) + (9 * 8 * 8 + 2 * 8)
    bottleneck = (9 * 8 * 16 + 2 * 16) + (9 * 16 * 16 + 2 * 16)
    up = (2 * 2 * 16 * 8 + 8) + (2 * 2 * 8 * 4 + 4)
    decoder = (9 * 16 * 8 + 2 * 8) + (9 * 8 * 8 + 2 * 8) + (9 * 8 * 4 + 2 * 4) + (9 * 4 * 4 + 2 * 4)
    head = 4 * 3 + 3
    assert count(UNet(classes=3, channels=[4, 8], bottleneck=16)) == encoder + bottleneck + up + decoder + head
    down = (9 * 4 * 4 + 2 * 4) + (9 * 8 * 8 + 2 * 8)
    assert count(UNet2(classes=3, channels=[4, 8], bottleneck=16)) == encoder + down + bottleneck + up + decoder + head
    # Without normalisation: a bias in place of scale and shift, in each of the ten layers.
    biases = 2 * (4 + 8) + 2 * 16 + 2 * (8 + 4)
    plain = UNet(classes=3, channels=[4, 8], bottleneck=16, norm="none")
    assert count(plain) == encoder + bottleneck + up + decoder + head - biases


def test_the_two_go_down_by_pooling_and_by_strides() -> None:
    pooled, strided = UNet(**TINY), UNet2(**TINY)
    assert not [m for m in strided.modules() if isinstance(m, nn.MaxPool2d)]
    assert [m.kernel_size for m in pooled.modules() if isinstance(m, nn.MaxPool2d)] == [2, 2]
    assert [m.stride for m in strided.modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)] == [(2, 2), (2, 2)]


def test_a_unet_is_what_its_parts_compute() -> None:
    """The forward pass of two stages, written out."""
    torch.manual_seed(0)
    model = UNet(channels=[4, 8], bottleneck=8).eval().double()
    images = torch.randn(1, 3, 16, 24).double()
    first = model.encoder[0](images)
    second = model.encoder[1](functional.max_pool2d(first, 2))
    below = model.bottleneck(functional.max_pool2d(second, 2))
    second = model.decoder[1](torch.cat([model.up[1](below), second], 1))
    first = model.decoder[0](torch.cat([model.up[0](second), first], 1))
    torch.testing.assert_close(model(images), model.head(first))


def test_dropout_acts_in_training_only() -> None:
    model = UNet(channels=[8], bottleneck=8, dropout=0.5)
    images = torch.randn(2, 3, 16, 16)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


@pytest.mark.parametrize("network", [UNet, UNet2])
@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"channels": []}, "at least 1"),
        ({"channels": [0]}, "at least 1"),
        ({"bottleneck": 0}, "at least 1"),
        ({"depth": 0}, "at least 1"),
        ({"kernel": 2}, "odd"),
        ({"kernel": -1}, "odd"),
        ({"dropout": 1.0}, "below 1"),
        ({"dropout": -0.1}, "at least 0"),
        ({"dropout": float("nan")}, "dropout"),
        ({"pool": 1}, "pool must be at least 2"),
    ],
)
def test_settings_are_checked(network: type[UShaped], settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        network(**settings)


def test_padding_repeats_the_edge() -> None:
    images = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert pad_to_multiple(images, 4)[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    assert pad_to_multiple(images, 1) is images


class TestUNetFCN:
    def test_five_stages_from_64_channels(self) -> None:
        model = UNetFCN()
        widths = [block[0].out_channels for block in (*model.encoder, model.bottleneck)]
        assert widths == [64, 128, 256, 512, 1024]
        assert [part[-1].in_channels for part in (model.head, model.auxiliary)] == [64, 64]

    def test_parameters_by_hand(self) -> None:
        trunk = count(UNet(classes=3, channels=[4, 8], bottleneck=16)) - (4 * 3 + 3)
        head = (9 * 4 * 4 + 2 * 4) + (4 * 3 + 3)
        auxiliary = (9 * 8 * 4 + 2 * 4) + (4 * 3 + 3)
        assert count(UNetFCN(classes=3, base=4, stages=3, aux_weight=0.0)) == trunk + head
        assert count(UNetFCN(classes=3, base=4, stages=3)) == trunk + head + auxiliary

    def test_both_heads_answer_in_training_and_one_afterwards(self) -> None:
        torch.manual_seed(0)
        model = UNetFCN(classes=3, base=4, stages=3, head_dropout=0.0, aux_weight=0.25).double()
        images = torch.randn(2, 3, 17, 22).double()
        (one, main), (weight, auxiliary) = model(images)
        assert (one, weight) == (1.0, 0.25) and main.shape == auxiliary.shape == (2, 3, 17, 22)
        half = model.maps(images)[-2]
        expected = functional.interpolate(model.auxiliary(half), size=(20, 24), mode="bilinear")[..., :17, :22]
        torch.testing.assert_close(auxiliary, expected)
        logits = model.eval()(images)
        assert isinstance(logits, torch.Tensor) and logits.shape == (2, 3, 17, 22)
        assert isinstance(UNetFCN(base=4, stages=3, aux_weight=0.0).double()(images), torch.Tensor)

    @pytest.mark.parametrize(
        ("settings", "what"),
        [
            ({"stages": 2}, "stages must be at least 3"),
            ({"base": 0}, "at least 1"),
            ({"aux_weight": -1.0}, "aux_weight"),
            ({"aux_weight": float("nan")}, "aux_weight"),
            ({"head_dropout": 1.0}, "below 1"),
        ],
    )
    def test_settings_are_checked(self, settings: dict[str, Any], what: str) -> None:
        with pytest.raises(ValueError, match=what):
            UNetFCN(**({"base": 4, "stages": 3} | settings))
