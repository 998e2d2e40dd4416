"""Our own U-Net (Ronneberger et al., 2015), configurable from the command line."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional


def _block(inputs: int, outputs: int, depth: int, kernel: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Conv2d(inputs if i == 0 else outputs, outputs, kernel, padding=kernel // 2, bias=False),
                   nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    if dropout:
        layers.append(nn.Dropout2d(dropout))
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Max-pooling encoder, bottleneck, and a decoder that upsamples by transposed convolutions and joins
    the encoder's maps.

    `channels` from the first stage down, `bottleneck` channels below them, `depth` convolutions
    (convolution, batch normalisation, ReLU) of size `kernel` a block, `dropout` of whole channels at the
    end of each block. Input (N, C, H, W) of any size, logits (N, K, H, W): sizes that are no multiple of
    2 ** len(channels) are padded inside by repeating the edge.
    """

    def __init__(self, in_channels: int = 3, classes: int = 2, *, channels: Sequence[int] = (32, 64, 128, 256),
                 bottleneck: int = 256, depth: int = 2, kernel: int = 3, dropout: float = 0.0) -> None:
        super().__init__()
        if not channels or min(*channels, bottleneck, depth) < 1:
            raise ValueError("channels, bottleneck and depth must be at least 1")
        if kernel % 2 == 0 or kernel < 1:
            raise ValueError(f"kernel must be odd (given {kernel})")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1 (given {dropout})")
        ins = [in_channels, *channels[:-1]]
        self.encoder = nn.ModuleList(_block(i, o, depth, kernel, dropout) for i, o in zip(ins, channels, strict=True))
        self.bottleneck = _block(channels[-1], bottleneck, depth, kernel, dropout)
        below = [*channels[1:], bottleneck]
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, c, 2, stride=2) for b, c in zip(below, channels, strict=True))
        self.decoder = nn.ModuleList(_block(2 * c, c, depth, kernel, dropout) for c in channels)
        self.head = nn.Conv2d(channels[0], classes, 1)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) to logits (N, K, H, W)."""
        height, width = images.shape[-2:]
        multiple = 2 ** len(self.encoder)
        maps = pad_to_multiple(images, multiple)
        skips = []
        for block in self.encoder:
            maps = block(maps)
            skips.append(maps)
            maps = functional.max_pool2d(maps, 2)
        maps = self.bottleneck(maps)
        for up, block, skip in zip(reversed(self.up), reversed(self.decoder), reversed(skips), strict=True):
            maps = block(torch.cat([up(maps), skip], 1))
        logits: torch.Tensor = self.head(maps)
        return logits[..., :height, :width]


def pad_to_multiple(images: torch.Tensor, multiple: int) -> torch.Tensor:
    """Pads (N, C, H, W) at the bottom and right by repeating the edge, to multiples of `multiple`."""
    bottom, right = -images.shape[-2] % multiple, -images.shape[-1] % multiple
    return functional.pad(images, (0, right, 0, bottom), mode="replicate") if bottom or right else images
