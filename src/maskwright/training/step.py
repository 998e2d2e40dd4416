"""One training step, and the settings of torch under which steps are fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn

from maskwright.modeling.models.segmenter import Segmenter
from maskwright.training.distributed.batch_norm import WholeBatchNorm
from maskwright.training.distributed.processes import ALONE, Processes


def train_step(
    segmenter: Segmenter, criterion: nn.Module, optimizer: torch.optim.Optimizer, processes: Processes = ALONE
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """One optimisation step: images (N, C, H, W) and targets (N, H, W) uint8 to the loss before it.

    Of several processes each is given its share of the batch; the loss is that of the whole batch, and so are the
    normalisation and the gradients.
    """

    def step(images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = step_loss(segmenter, criterion, images, targets, processes)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        processes.add_gradients(optimizer)
        optimizer.step()
        return loss.detach()

    return step


def step_loss(
    segmenter: Segmenter,
    criterion: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    processes: Processes = ALONE,
) -> torch.Tensor:
    """The loss of a batch, images (N, C, H, W) and targets (N, H, W) uint8, summed over the model's heads with their
    weights; each process gives its share of the batch."""
    with WholeBatchNorm(processes) if processes.size > 1 else nullcontext():
        heads = segmenter.weighted_logits(images)
    truth = processes.whole(targets.to(segmenter.device, non_blocking=True)).long()
    return torch.stack([weight * criterion(processes.whole(logits), truth) for weight, logits in heads]).sum()


def synchronise(device: torch.device) -> None:
    """Waits for the device, so that a clock read next is honest."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def fast_arithmetic() -> Iterator[None]:
    """Settings of torch for speed, and its number of threads, taken back in the end.

    On CPUs, numbers too small for full precision count as zero: they are many times slower. It is a setting of the
    thread; torch's helper threads take it over when they are made, which is why exact resumption is promised between
    fresh processes. On GPUs, float32 products may round to TF32 (10 bits of mantissa), and cuDNN tries which of its
    convolutions is fastest, since all batches have one size.
    """
    threads, flushed = torch.get_num_threads(), _flushes()
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    torch.set_flush_denormal(True)
    _set_gpu("high", True, True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        torch.set_num_threads(threads)
        _set_gpu(*before)


def _flushes() -> bool:
    """Whether numbers too small for full precision count as zero in this thread, which torch does not tell."""
    return not bool(torch.tensor([torch.finfo(torch.float64).tiny], dtype=torch.float64).div(2).ne(0))


def _set_gpu(products: str, convolutions: bool, benchmark: bool) -> None:
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = convolutions, benchmark
