"""What our own networks are made of: blocks of convolutions, the U shape, initialisation, padding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

Norm = Literal["batch", "group", "instance", "none"]
Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu"]

_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(math.gcd(channels, 32), channels),
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
}
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(inplace=True),
    "elu": lambda: nn.ELU(inplace=True),
    "gelu": nn.GELU,
    "silu": lambda: nn.SiLU(inplace=True),
}


@dataclass(frozen=True)
class Blocks:
    """A block: `depth` layers (convolution of size `kernel`, normalisation, activation), then `dropout` of whole
    channels. Group normalisation takes the largest power of two up to 32 that divides the channels. ValueError for
    values out of range."""

    depth: int = 2
    kernel: int = 3
    norm: Norm = "batch"
    activation: Activation = "relu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        at_least_one("depth", self.depth)
        if self.kernel % 2 == 0 or self.kernel < 1:
            raise ValueError(f"kernel must be odd (given {self.kernel})")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1 (given {self.dropout})")

    def __call__(self, inputs: int, outputs: int) -> nn.Sequential:
        """A block from (N, inputs, H, W) to (N, outputs, H, W)."""
        layers = self.layer(inputs, outputs)
        for _ in range(self.depth - 1):
            layers += self.layer(outputs, outputs)
        if self.dropout:
            layers.append(nn.Dropout2d(self.dropout))
        return nn.Sequential(*layers)

    def layer(self, inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
        """One layer of a block; sizes that are multiples of `stride` are divided by it."""
        convolution = nn.Conv2d(inputs, outputs, self.kernel, stride, self.kernel // 2, bias=self.norm == "none")
        norm = [_NORMS[self.norm](outputs)] if self.norm != "none" else []
        return [convolution, *norm, _ACTIVATIONS[self.activation]()]


class UShaped(nn.Module):
    """Abstract: an encoder with a stage for each of `channels`, a bottleneck, and a decoder that upsamples by
    transposed convolutions and joins the encoder's maps. A stage is `pool` times smaller than the one above; `down`,
    given its channels, makes the module that leads from it to the next. Subclasses add heads and end with
    `initialise`."""

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        bottleneck: int,
        pool: int,
        block: Blocks,
        down: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        at_least_one("channels", *channels)
        at_least_one("bottleneck", bottleneck)
        if pool < 2:
            raise ValueError(f"pool must be at least 2 (given {pool})")
        self.multiple = pool ** len(channels)
        self.encoder = nn.ModuleList(map(block, [in_channels, *channels[:-1]], channels))
        self.down = nn.ModuleList(map(down, channels))
        self.bottleneck = block(channels[-1], bottleneck)
        below = [*channels[1:], bottleneck]
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, c, pool, pool) for b, c in zip(below, channels, strict=True))
        self.decoder = nn.ModuleList(block(2 * c, c) for c in channels)

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images (N, C, H, W) of any size to the decoder's maps, the deepest first; the last one has the size of the
        images, padded at the bottom and right to `multiple`."""
        maps = pad_to_multiple(images, self.multiple)
        skips = []
        for block, down in zip(self.encoder, self.down, strict=True):
            maps = block(maps)
            skips.append(maps)
            maps = down(maps)
        maps = self.bottleneck(maps)
        found = []
        for up, block, skip in zip(reversed(self.up), reversed(self.decoder), reversed(skips), strict=True):
            maps = block(torch.cat([up(maps), skip], 1))
            found.append(maps)
        return found


def at_least_one(name: str, *values: int) -> None:
    """ValueError when there are no values, or one below 1."""
    if not values or min(values) < 1:
        raise ValueError(f"{name} must be at least 1 (given {', '.join(map(str, values)) or 'none'})")


def initialise(module: nn.Module) -> None:
    """Draws the weights of all convolutions for ReLUs behind them (He et al., 2015); biases become zero."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def pad_to_multiple(images: torch.Tensor, multiple: int) -> torch.Tensor:
    """Pads (N, C, H, W) at the bottom and right by repeating the edge, to multiples of `multiple`."""
    bottom, right = -images.shape[-2] % multiple, -images.shape[-1] % multiple
    return functional.pad(images, (0, right, 0, bottom), mode="replicate") if bottom or right else images


def cropped(maps: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """`maps` (N, K, h, w) cut at the bottom and right to the height and width of `images`."""
    return maps[..., : images.shape[-2], : images.shape[-1]]
