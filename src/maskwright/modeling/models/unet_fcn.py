"""A U-Net under a head of the fully convolutional network (Long et al., 2015), with an auxiliary head."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from maskwright.modeling.models.blocks import Activation, Blocks, Norm, UShaped, cropped, initialise


class UNetFCN(UShaped):
    """A U-Net of `stages` stages, `base` channels in the first and twice as many in each one below (the last is the
    bottleneck), whose finest map goes through one more layer and `head_dropout` before it is classified.

    With `aux_weight` above 0, a second head of that kind classifies the decoder's map of half the size. Its loss,
    times `aux_weight`, is added in training, and nothing else uses it. Input (N, C, H, W) of any size, logits
    (N, K, H, W); sizes are padded as in `UNet`.
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 2,
        *,
        base: int = 64,
        stages: int = 5,
        depth: int = 2,
        kernel: int = 3,
        norm: Norm = "batch",
        activation: Activation = "relu",
        dropout: float = 0.0,
        head_dropout: float = 0.1,
        aux_weight: float = 0.4,
    ) -> None:
        if stages < 3:
            raise ValueError(f"stages must be at least 3 (given {stages})")
        if not 0 <= aux_weight < float("inf"):
            raise ValueError(f"aux_weight must be at least 0 (given {aux_weight})")
        block = Blocks(depth, kernel, norm, activation, dropout)
        widths = [base * 2**stage for stage in range(stages)]
        super().__init__(in_channels, widths[:-1], widths[-1], 2, block, lambda _: nn.MaxPool2d(2))
        last = Blocks(1, kernel, norm, activation, head_dropout)
        self.head = nn.Sequential(last(base, base), nn.Conv2d(base, classes, 1))
        self.aux_weight = aux_weight
        self.auxiliary = nn.Sequential(last(2 * base, base), nn.Conv2d(base, classes, 1)) if aux_weight else None
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor | list[tuple[float, torch.Tensor]]:
        """Images (N, C, H, W) to logits (N, K, H, W); while training with an auxiliary head, to the pairs
        (weight in the loss, logits) of both heads, the main one first."""
        *_, half, full = self.maps(images)
        logits = cropped(self.head(full), images)
        if self.auxiliary is None or not self.training:
            return logits
        coarse = functional.interpolate(self.auxiliary(half), scale_factor=2.0, mode="bilinear")
        return [(1.0, logits), (self.aux_weight, cropped(coarse, images))]
