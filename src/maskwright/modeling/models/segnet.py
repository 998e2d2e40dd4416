"""SegNet (Badrinarayanan et al., 2017): values go back up to the places that they came from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from maskwright.modeling.models.blocks import (
    Activation,
    Blocks,
    Norm,
    at_least_one,
    cropped,
    initialise,
    pad_to_multiple,
)


class SegNet(nn.Module):
    """Max-pooling encoder and a decoder that unpools with the encoder's indices and joins no other maps.

    `encoder_channels` from the first stage down and `decoder_channels` from the deepest stage up, one each: a stage
    of the decoder gives what the next one unpools, so all but its last have the channels of the encoder's stage above
    (64, 128, 256, 512 and 256, 128, 64, 64). Every stage is a block (see `Blocks`) and `pool` times smaller or larger
    than the one before. Input (N, C, H, W) of any size, logits (N, K, H, W): sizes that are no multiple of
    pool ** stages are padded inside by repeating the edge.
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 2,
        *,
        encoder_channels: Sequence[int] = (32, 64, 128, 256),
        decoder_channels: Sequence[int] = (128, 64, 32, 32),
        depth: int = 2,
        kernel: int = 3,
        pool: int = 2,
        norm: Norm = "batch",
        activation: Activation = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        block = Blocks(depth, kernel, norm, activation, dropout)
        at_least_one("encoder_channels", *encoder_channels)
        at_least_one("decoder_channels", *decoder_channels)
        if pool < 2:
            raise ValueError(f"pool must be at least 2 (given {pool})")
        expected = list(encoder_channels[-2::-1])
        if len(decoder_channels) != len(encoder_channels) or list(decoder_channels[:-1]) != expected:
            raise ValueError(
                f"decoder_channels must be {[*expected, 'any']} for these encoder_channels "
                f"(given {list(decoder_channels)}): indices are those of the encoder's stages"
            )
        self.pool = pool
        self.encoder = nn.ModuleList(map(block, [in_channels, *encoder_channels[:-1]], encoder_channels))
        self.decoder = nn.ModuleList(map(block, [encoder_channels[-1], *decoder_channels[:-1]], decoder_channels))
        self.head = nn.Conv2d(decoder_channels[-1], classes, 1)
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) to logits (N, K, H, W)."""
        maps = pad_to_multiple(images, self.pool ** len(self.encoder))
        indices = []
        for block in self.encoder:
            maps, places = functional.max_pool2d(block(maps), self.pool, return_indices=True)
            indices.append(places)
        for block, places in zip(self.decoder, reversed(indices), strict=True):
            maps = block(functional.max_unpool2d(maps, places, (self.pool, self.pool)))
        return cropped(self.head(maps), images)
