"""The size report against counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.modeling.models.size import Size, kept_bytes, measure
from maskwright.modeling.models.unet import UNet
from maskwright.modeling.models.unet2 import UNet2
from maskwright.modeling.models.unet_fcn import UNetFCN


def test_macs_of_a_unet_by_hand() -> None:
    """One stage of 4 channels over a bottleneck of 8, two layers of 3 x 3 a block, 2 classes, 16 x 24 pixels: each
    output value of a convolution takes kernel area x input channels, each input value of a transposed one its kernel
    area x output channels."""
    full, half = 16 * 24, 8 * 12
    encoder = full * 4 * (9 * 3 + 9 * 4)
    bottleneck = half * 8 * (9 * 4 + 9 * 8)
    up = half * 8 * (2 * 2 * 4)
    decoder = full * 4 * (9 * 8 + 9 * 4)
    head = full * 2 * 4
    model = UNet(channels=[4], bottleneck=8)
    total = encoder + bottleneck + up + decoder + head
    assert measure(model, (16, 24)).macs == total
    assert measure(model, [15, 23]).macs == total  # padded inside
    assert measure(UNet2(channels=[4], bottleneck=8), (16, 24)).macs == total + half * 4 * 9 * 4
    # The auxiliary head is a part of the model, but not of an image's way to its logits.
    sizes = [measure(UNetFCN(base=4, stages=3, aux_weight=weight), (16, 24)) for weight in (0.0, 0.4)]
    assert sizes[0].macs == sizes[1].macs and sizes[0].parameters < sizes[1].parameters


def hooked_macs(model: nn.Module, image: torch.Tensor) -> int:
    """Counted by module hooks: convolutions and linear layers only."""
    total = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.ConvTranspose2d):
            total += inputs[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    with torch.no_grad():
        model(image)
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("SegNet", None),
        ("AttentionUNet", "resnet18"),
        ("DeepLabV3Plus", "tu-mobilenetv3_small_050"),
        ("Unet", "resnet18"),
    ],
)
def test_macs_against_hooks_on_modules(name: str, encoder: str | None) -> None:
    args = {"encoder_channels": [4, 8], "decoder_channels": [4, 4]} if name == "SegNet" else {}
    model = build_model(ModelSpec(name, 3, encoder, args)).eval()
    assert measure(model, (64, 64)).macs == hooked_macs(model, torch.zeros(1, 3, 64, 64))


def test_attention_counts() -> None:
    """SegFormer's products of queries with keys, and of weights with values, are no modules: 2 q k c each block, where
    k are the keys that are left after shrinking by `sr_ratios` 8, 4, 2, 1."""
    model = build_model(ModelSpec("Segformer", 3, "mit_b0")).eval()
    attention = 0
    for stage, (width, shrunk) in enumerate(zip((32, 64, 160, 256), (8, 4, 2, 1), strict=True)):
        queries = (64 >> stage + 2) * (96 >> stage + 2)
        attention += 2 * 2 * queries * (queries // shrunk**2) * width  # two blocks a stage
    assert measure(model, (64, 96)).macs == hooked_macs(model, torch.zeros(1, 3, 64, 96)) + attention


def test_fused_attention_counts_too() -> None:
    """A vision transformer of timm takes one operation for it: 12 blocks, 2 t t c for t tokens, 192 channels."""
    model = build_model(
        ModelSpec(
            "DPT",
            3,
            "tu-vit_tiny_patch16_224",
            {"decoder_intermediate_channels": [8] * 4, "decoder_fusion_channels": 8},
        )
    ).eval()
    tokens = 4 * 4 + 1
    attention = 12 * 2 * tokens * tokens * 192
    # `forward_features` of timm calls every linear layer as a module.
    assert measure(model, (64, 64)).macs == hooked_macs(model, torch.zeros(1, 3, 64, 64)) + attention


def test_images_are_padded_as_the_segmenter_does() -> None:
    model = build_model(ModelSpec("FPN", 2, "tu-mobilenetv3_small_050"))
    assert measure(model, (50, 70)).macs == measure(model, (64, 96)).macs
    assert measure(model, (50, 70)).image_size == (50, 70)


def test_the_model_stays_as_it_was() -> None:
    model = UNet(channels=[4], bottleneck=4, dropout=0.2).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    size = measure(model, (8, 8))
    kept_bytes(model, lambda trial: trial(torch.randn(2, 3, 8, 8)).mean())
    assert model.training and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert size.parameter_bytes == 4 * size.parameters
    assert size.to_dict()["image_size"] == [8, 8]


def test_the_words() -> None:
    assert str(Size(1234567, 4938268, 2_345_600_000, (192, 256))) == (
        "1,234,567 parameters, 2.35 billion MACs (compute cost) for an image of 192 x 256"
    )


@pytest.mark.parametrize(
    ("layers", "values"),
    [
        ([nn.Conv2d(3, 5, 1)], 3),  # its input
        ([nn.Conv2d(3, 5, 1), nn.Sigmoid()], 3 + 5),  # the sigmoid keeps its output
        ([nn.Conv2d(3, 5, 1), nn.Sigmoid(), nn.Conv2d(5, 2, 1)], 3 + 5),  # which is the next input: counted once
        ([nn.Conv2d(3, 5, 1), nn.ReLU(inplace=True), nn.Conv2d(5, 2, 1, bias=False)], 3 + 5),
    ],
)
def test_kept_bytes_by_hand(layers: list[nn.Module], values: int) -> None:
    images = torch.randn(2, 3, 6, 7)
    kept = kept_bytes(nn.Sequential(*layers), lambda model: model(images).sum())
    assert kept == 4 * values * 2 * 6 * 7


def test_kept_bytes_follow_the_batch_and_the_precision() -> None:
    model = UNet(channels=[4, 8], bottleneck=8)

    def loss(images: torch.Tensor, dtype: torch.dtype) -> int:
        def of(trial: nn.Module) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                result: torch.Tensor = trial(images).float().sum()
            return result

        return kept_bytes(model, of)

    one, two = (loss(torch.randn(n, 3, 32, 32), torch.float32) for n in (1, 2))
    statistics = 2 * two - (four := loss(torch.randn(4, 3, 32, 32), torch.float32))
    assert two - one == (four - two) / 2 and 0 <= statistics < 0.02 * one  # per image, but for means and variances
    assert 0.4 * two < loss(torch.randn(2, 3, 32, 32), torch.bfloat16) < 0.8 * two


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: what it keeps was not compared with its memory")
def test_kept_bytes_against_the_memory_of_a_gpu() -> None:
    model = UNet().cuda()
    images = torch.randn(4, 3, 128, 128, device="cuda")
    before = torch.cuda.memory_allocated()
    value = model(images).sum()
    held = torch.cuda.memory_allocated() - before
    kept = kept_bytes(model, lambda trial: trial(images).sum())
    assert value.isfinite() and kept == pytest.approx(held, rel=0.1)
