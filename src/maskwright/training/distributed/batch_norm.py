"""Batch normalisation over a batch that several processes share, so that they train the model that one would."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from maskwright.training.distributed.processes import Processes


class WholeBatchNorm(TorchFunctionMode):
    """While it is active, batch normalisation in training takes mean and variance over all processes.

    It steps in at `functional.batch_norm`, which the layers of every library end in (torch's own SyncBatchNorm works
    on GPUs only, and layers that join it with an activation need their own). All processes have as many values.
    """

    def __init__(self, processes: Processes) -> None:
        super().__init__()
        self.processes = processes

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.batch_norm:
            return self._batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        features: torch.Tensor,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> torch.Tensor:
        if not training:
            return functional.batch_norm(features, running_mean, running_var, weight, bias, False, momentum, eps)
        wide = torch.promote_types(features.dtype, torch.float32)
        ones = torch.ones(features.shape[1], device=features.device, dtype=wide)
        weight, bias = ones if weight is None else weight, torch.zeros_like(ones) if bias is None else bias
        own = torch.stack(torch.batch_norm_update_stats(features, torch.zeros_like(ones), torch.ones_like(ones), 0.0))
        means, variances = self.processes.stacked(own).unbind(1)
        mean = means.mean(0)
        # Not from the sums of squares, which cancel; all processes compute the same numbers in the same order.
        variance = (variances + (means - mean).square()).mean(0)
        count = self.processes.size * features.numel() // features.shape[1]
        with torch.no_grad():
            if running_mean is not None and running_var is not None:
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((variance * (count / max(1, count - 1))).to(running_var.dtype), momentum)
        normalised: torch.Tensor = _Normalise.apply(features, weight, bias, mean, variance, eps, count, self.processes)
        return normalised


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, where mean and variance depend on the x of all processes."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
        eps: float,
        count: int,
        processes: Processes,
    ) -> torch.Tensor:
        ctx.save_for_backward(features, weight, mean, variance)
        ctx.eps, ctx.count, ctx.processes = eps, count, processes  # type: ignore[attr-defined]
        return functional.batch_norm(features, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        features, weight, mean, variance = ctx.saved_tensors
        direct, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, features, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        # The way through mean and variance (Ioffe and Szegedy, 2015, section 3): linear in the features.
        along_weight, along_bias = ctx.processes.stacked(torch.stack([of_weight, of_bias])).sum(0) / ctx.count
        inverse = (variance + ctx.eps).rsqrt()
        slope = weight * inverse * inverse * along_weight
        offset = weight * inverse * along_bias - slope * mean
        through = functional.batch_norm(
            features, torch.zeros_like(mean), torch.ones_like(mean), slope, offset, False, 0.0, 0.0
        )
        return direct - through, of_weight, of_bias, None, None, None, None, None
