"""What a model costs: parameters, multiply-accumulates and memory, so that gains are not just parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from maskwright.modeling.models.blocks import pad_to_multiple
from maskwright.modeling.models.build import size_multiple


@dataclass(frozen=True)
class Size:
    """`parameters`: how many numbers are learnt, auxiliary heads included, and `parameter_bytes` what they take.
    `macs`: multiplications with an addition on one image's way to its logits, at `image_size` (height, width): those
    of convolutions, matrix products and attention. Normalisation, activations, pooling and resampling do not count."""

    parameters: int
    parameter_bytes: int
    macs: int
    image_size: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"image_size": list(self.image_size)}

    def __str__(self) -> str:
        height, width = self.image_size
        return (
            f"{self.parameters:,} parameters, {self.macs / 1e9:.3g} billion MACs (compute cost) for an image of "
            f"{height} x {width}"
        )


@torch.no_grad()
def measure(model: nn.Module, image_size: Sequence[int], channels: int = 3) -> Size:
    """The size of a model, by sending one image (1, C, H, W) of zeros through it, on its own device.

    It is padded as images are (see `Segmenter.logits`), and the padding counts. The model stays as it was.
    """
    height, width = image_size
    parameters = list(model.parameters())
    training = model.training
    model.eval()
    with FlopCounterMode(display=False) as counter:
        image = torch.zeros(1, channels, height, width, device=parameters[0].device)
        model(pad_to_multiple(image, size_multiple(model)))
    model.train(training)
    return Size(
        sum(p.numel() for p in parameters),
        sum(p.nbytes for p in parameters),
        counter.get_total_flops() // 2,
        (height, width),
    )


def kept_bytes(model: nn.Module, loss: Callable[[nn.Module], torch.Tensor]) -> int:
    """Bytes that `loss`, given a copy of `model` in training mode, keeps until its backward pass.

    Every stored tensor counts once, however many operations need it: activations, the input, and copies of weights in
    a lower precision; not the parameters and buffers themselves. Gradients, the optimiser's state and what operations
    need only for a moment come on top in a training.
    """
    trial = copy.deepcopy(model).train()
    own = {tensor.untyped_storage().data_ptr() for tensor in (*trial.parameters(), *trial.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor  # so that it stays alive, and no other tensor gets its address

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = loss(trial)
    total = sum(size for address, size in kept.items() if address not in own)
    del value
    return total
