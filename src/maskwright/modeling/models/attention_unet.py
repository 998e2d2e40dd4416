"""Attention U-Net (Oktay et al., 2018) over any encoder of segmentation_models_pytorch or timm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from segmentation_models_pytorch.encoders import get_encoder
from torch import nn
from torch.nn import functional

from maskwright.modeling.models.blocks import Activation, Blocks, Norm, cropped, initialise, pad_to_multiple


class AttentionGate(nn.Module):
    """Weighs each place of an encoder's map by how well it fits the coarser map that asks for it.

    a = sigmoid(psi(relu(theta(x) + phi(g)))), upsampled bilinearly, times x: theta is a convolution of size and
    stride 2 without bias, phi and psi are of size 1, with half of x's channels in between. Where sizes are no
    multiples, phi(g) is brought to the size of theta(x).
    """

    def __init__(self, channels: int, gating: int) -> None:
        super().__init__()
        between = max(1, channels // 2)
        self.theta = nn.Conv2d(channels, between, 2, stride=2, bias=False)
        self.phi = nn.Conv2d(gating, between, 1)
        self.psi = nn.Conv2d(between, 1, 1)

    def forward(self, x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """Maps x (N, C, 2h, 2w) and g (N, G, h, w) to (N, C, 2h, 2w)."""
        looked_at = self.theta(x)
        asked_for = functional.interpolate(self.phi(g), looked_at.shape[-2:], mode="bilinear")
        weights = self.psi(functional.relu(looked_at + asked_for)).sigmoid()
        return x * functional.interpolate(weights, x.shape[-2:], mode="bilinear")


class _Stage(nn.Module):
    """Doubles a map, joins the gated map of the encoder where it has one of that size, and convolves."""

    def __init__(self, below: int, skip: int, outputs: int, block: Blocks) -> None:
        super().__init__()
        self.gate = AttentionGate(skip, below) if skip else None
        self.block = block(below + skip, outputs)

    def forward(self, maps: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        if self.gate is None or skip is None:
            joined = functional.interpolate(maps, scale_factor=2.0, mode="nearest")
        else:
            larger = functional.interpolate(maps, skip.shape[-2:], mode="nearest")
            joined = torch.cat([larger, self.gate(skip, maps)], 1)
        result: torch.Tensor = self.block(joined)
        return result


class AttentionUNet(nn.Module):
    """A decoder that doubles the encoder's deepest map `encoder_depth` times, up to the size of the image, and joins
    the encoder's maps through attention gates.

    `encoder_name` is an encoder of segmentation_models_pytorch, or `tu-NAME` for one of timm that halves its maps
    stage by stage; `encoder_weights` are what that library fetches by this name (None: random). `decoder_channels`
    from the deepest stage up, one for each of `encoder_depth`; `depth`, `kernel`, `norm`, `activation` and `dropout`
    of their blocks as in `Blocks`. Input (N, C, H, W) of any size, logits (N, K, H, W): sizes that are no multiple of
    the encoder's are padded inside by repeating the edge.
    """

    def __init__(
        self,
        encoder_name: str = "resnet34",
        encoder_weights: str | None = None,
        in_channels: int = 3,
        classes: int = 2,
        *,
        encoder_depth: int = 5,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        depth: int = 2,
        kernel: int = 3,
        norm: Norm = "batch",
        activation: Activation = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(decoder_channels) != encoder_depth:
            raise ValueError(
                f"decoder_channels must be {encoder_depth} numbers, one for each of encoder_depth "
                f"(given {len(decoder_channels)})"
            )
        block = Blocks(depth, kernel, norm, activation, dropout)
        self.encoder = get_encoder(encoder_name, in_channels=in_channels, depth=encoder_depth, weights=encoder_weights)
        # The encoder's first map is the image itself, and transformers have none of half its size (no channels).
        skips = [*self.encoder.out_channels[-2:0:-1], 0]
        below = [self.encoder.out_channels[-1], *decoder_channels[:-1]]
        self.decoder = nn.ModuleList(
            _Stage(*widths, block) for widths in zip(below, skips, decoder_channels, strict=True)
        )
        self.head = nn.Conv2d(decoder_channels[-1], classes, 1)
        initialise(self.decoder)
        initialise(self.head)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) to logits (N, K, H, W)."""
        _, *features = self.encoder(pad_to_multiple(images, self.encoder.output_stride))
        maps = features[-1]
        for stage, skip in zip(self.decoder, [*features[-2::-1], None], strict=True):
            maps = stage(maps, skip)
        return cropped(self.head(maps), images)
