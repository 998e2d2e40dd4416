"""A U-Net without pooling: what to keep on the way down is learnt (Springenberg et al., 2015)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from maskwright.modeling.models.blocks import Activation, Blocks, Norm, UShaped, cropped, initialise


class UNet2(UShaped):
    """As `UNet`, but a layer of strided convolutions leads from one stage down to the next: `kernel` wide, with
    stride `pool`, normalised and activated like those of the blocks. Arguments, sizes and padding are those of
    `UNet`."""

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
        super().__init__(
            in_channels,
            channels,
            bottleneck,
            pool,
            block,
            lambda width: nn.Sequential(*block.layer(width, width, pool)),
        )
        self.head = nn.Conv2d(channels[0], classes, 1)
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) to logits (N, K, H, W)."""
        return cropped(self.head(self.maps(images)[-1]), images)
