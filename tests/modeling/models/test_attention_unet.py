"""Attention U-Net: the gate by a plain recomputation, encoders of every kind, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from maskwright.modeling.models.attention_unet import AttentionGate, AttentionUNet

SMALL = {"decoder_channels": (16, 16, 8, 8, 8)}


def test_the_gate_against_plain_loops() -> None:
    torch.manual_seed(0)
    gate = AttentionGate(6, 5).double()
    x, g = torch.randn(2, 6, 8, 12, dtype=torch.float64), torch.randn(2, 5, 4, 6, dtype=torch.float64)
    theta, phi, psi = (getattr(gate, name).weight.detach().numpy() for name in ("theta", "phi", "psi"))
    phi_bias, psi_bias = gate.phi.bias.detach().numpy(), gate.psi.bias.detach().numpy()
    assert theta.shape == (3, 6, 2, 2) and gate.theta.bias is None
    coarse = np.zeros((2, 4, 6))
    for n, row, column in np.ndindex(coarse.shape):
        patch = x.numpy()[n, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        between = (theta * patch).sum((1, 2, 3)) + phi[:, :, 0, 0] @ g.numpy()[n, :, row, column] + phi_bias
        coarse[n, row, column] = 1 / (1 + np.exp(-(psi[0, :, 0, 0] @ np.maximum(between, 0) + psi_bias[0])))
    expected = np.zeros((2, 6, 8, 12))
    for n, row, column in np.ndindex(2, 8, 12):  # bilinear: centres of pixels, edges repeated
        above, left = (row + 0.5) / 2 - 0.5, (column + 0.5) / 2 - 0.5
        weight = 0.0
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            r, c = int(np.floor(above)) + i, int(np.floor(left)) + j
            share = (1 - abs(above - r)) * (1 - abs(left - c))
            weight += share * coarse[n, np.clip(r, 0, 3), np.clip(c, 0, 5)]
        expected[n, :, row, column] = x.numpy()[n, :, row, column] * weight
    np.testing.assert_allclose(gate(x, g).detach().numpy(), expected, rtol=1e-12, atol=1e-12)


# The library's own, one of timm, one whose stages begin at a quarter of the size, and one with a map of full size.
@pytest.mark.parametrize(
    "encoder",
    [
        "resnet18",
        "tu-mobilenetv3_small_050",
        "mit_b0",
        "tu-convnext_atto",
        pytest.param("vgg11", marks=pytest.mark.slow),
    ],
)
def test_over_encoders(encoder: str) -> None:
    model = AttentionUNet(encoder, in_channels=4, classes=5, **SMALL)
    logits = model(torch.randn(2, 4, 70, 81))
    assert logits.shape == (2, 5, 70, 81)
    logits.square().mean().backward()
    unreached = [key for key, p in model.named_parameters() if p.grad is None]
    assert not [key for key in unreached if not key.startswith("encoder.")], unreached
    quarter = encoder in ("mit_b0", "tu-convnext_atto")
    assert [stage.gate is None for stage in model.decoder] == [False] * 3 + [quarter, True]


def test_resnet34_is_the_first_choice() -> None:
    model = AttentionUNet()
    assert [len(getattr(model.encoder, f"layer{i}")) for i in (1, 2, 3, 4)] == [3, 4, 6, 3]
    assert [stage.block[0].in_channels for stage in model.decoder] == [512 + 256, 256 + 128, 128 + 64, 64 + 64, 32]


def test_the_gates_decide_what_passes() -> None:
    """With gates shut, the encoder's finer maps do not matter."""
    torch.manual_seed(0)
    model = AttentionUNet("tu-mobilenetv3_small_050", **SMALL).eval()
    images = torch.randn(1, 3, 64, 64)
    features = model.encoder(images)
    with torch.no_grad():
        for stage in model.decoder[:-1]:
            stage.gate.psi.weight.zero_()  # type: ignore[union-attr]
            stage.gate.psi.bias.fill_(-200)  # type: ignore[union-attr]
        shut = model(images)
        maps = features[-1]
        for stage in model.decoder[:-1]:
            larger = torch.nn.functional.interpolate(maps, scale_factor=2.0)
            width = stage.block[0].in_channels - larger.shape[1]  # type: ignore[index,union-attr]
            maps = stage.block(torch.cat([larger, larger.new_zeros(1, width, *larger.shape[2:])], 1))  # type: ignore[operator]
        torch.testing.assert_close(shut, model.head(model.decoder[-1](maps, None)))


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"decoder_channels": [8, 8]}, "decoder_channels must be 5 numbers"),
        ({"kernel": 2}, "odd"),
        ({"encoder_name": "tu-vit_tiny_patch16_224"}, "downsampling pattern"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        AttentionUNet(**({"encoder_name": "resnet18"} | settings))
