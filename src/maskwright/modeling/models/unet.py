"""U-Net (Ronneberger et al., 2015) of any widths and depths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from maskwright.modeling.models.blocks import Activation, Blocks, Norm, UShaped, cropped, initialise


class UNet(UShaped):
    """Max-pooling encoder, bottleneck, and a decoder that upsamples by transposed convolutions and joins
    the encoder's maps.

    `channels` from the first stage down, each `pool` times smaller than the one before; `bottleneck` channels below
    them; `depth`, `kernel`, `norm`, `activation` and `dropout` of each block as in `Blocks`. Input (N, C, H, W) of
    any size, logits (N, K, H, W): sizes that are no multiple of pool ** len(channels) are padded inside by repeating
    the edge.
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 2,
        *,
        channels: Sequence[int] = (32, 64, 128, 256),
        bottleneck: int = 256,
        depth: int = 2,
        kernel: int = 3,
        pool: int = 2,
        norm: Norm = "batch",
        activation: Activation = "relu",
        dropout: float = 0.0,
    ) -> None:
        block = Blocks(depth, kernel, norm, activation, dropout)
        super().__init__(in_channels, channels, bottleneck, pool, block, lambda _: nn.MaxPool2d(pool))
        self.head = nn.Conv2d(channels[0], classes, 1)
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) to logits (N, K, H, W)."""
        return cropped(self.head(self.maps(images)[-1]), images)
