"""The processes of one training: this one alone, or all that `torchrun` has started, on any number of hosts.

All that processes say to each other goes through `Processes`; with a single process each of its methods gives back what
it got, so there is one training code. The first process (rank 0) owns the run folder: it decides, reads the
state and writes, and the others get its word. docs/decisions/0008 has the reasons.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import psutil
import torch
from torch import distributed
from torch.optim import Optimizer

from maskwright.errors import ConfigError, LostError, MaskwrightError, SetupError

# How long a process waits for one that does not answer. One that has ended is noticed at once.
PATIENCE = timedelta(minutes=10)
_INTERFACE = "GLOO_SOCKET_IFNAME"
Value = TypeVar("Value")
Error = TypeVar("Error", bound=MaskwrightError)
Array = TypeVar("Array", bound=npt.NDArray[Any])


@contextmanager
def _listening() -> Iterator[None]:
    """torch has one word for all that goes wrong between processes, RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[.*?\] |\. .*", "", str(error).splitlines()[0])
        raise LostError(
            f"torchrun: another process of this training has ended or does not answer ({reason}); fix "
            "what it or torchrun reports and start again; a run folder that was printed keeps its "
            "state, for `resume` under torchrun"
        ) from None


@dataclass(frozen=True)
class Processes:
    """One of `size` processes, of which `local_size` run on this host. Every method is called by all of them."""

    rank: int = 0
    size: int = 1
    local_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process owns the run folder."""
        return self.rank == 0

    def share(self, value: Value) -> Value:
        """The first process's value."""
        if self.size == 1:
            return value
        box = [value]
        with _listening():
            distributed.broadcast_object_list(box)
        return box[0]

    def gather(self, value: Value) -> list[Value]:
        """The values of all, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _listening():
            distributed.all_gather_object(values, value)
        return values

    def share_tensors(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The first process's tensors, which lie in main memory."""
        if self.size == 1:
            return tensors
        described = self.share({key: (value.shape, value.dtype) for key, value in tensors.items()})
        shared = {}
        for key, (shape, dtype) in described.items():
            shared[key] = tensors[key].contiguous() if self.first else torch.empty(shape, dtype=dtype)
            with _listening():
                distributed.broadcast(shared[key], 0)
        return shared

    @contextmanager
    def together(self) -> Iterator[None]:
        """All processes come out of the block well, or all leave it with the error of one of them."""
        found: MaskwrightError | None = None
        try:
            yield
        except MaskwrightError as error:
            found = error
        for rank, met in enumerate(self.gather(found)):
            if met:
                raise self.common(type(met)(f"{met} (met by process {rank}, not by the first)") if rank else met)

    def common(self, error: Error) -> Error:
        """An error that all processes raise; only the first one says it."""
        error.quiet = not self.first
        return error

    def any(self, *flags: bool) -> Sequence[bool]:
        """For each flag, whether any process has raised it."""
        if self.size == 1:
            return flags
        return list(self.total(np.array(flags, np.int64)).astype(bool).tolist())

    def own(self, values: Sequence[Value]) -> Sequence[Value]:
        """This process's share of values that all hold: every size-th."""
        return values[self.rank :: self.size]

    def total(self, values: Array) -> Array:
        """The sum over all processes, elementwise."""
        if self.size == 1:
            return values
        sums = torch.from_numpy(values.copy())
        with _listening():
            distributed.all_reduce(sums)
        return sums.numpy()  # type: ignore[return-value]

    def stacked(self, part: torch.Tensor) -> torch.Tensor:
        """(size, ...) of all processes' parts, which have the same shape; no gradient flows through it."""
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(self.size)]
        with _listening():
            distributed.all_gather(parts, part.detach().contiguous())
        return torch.stack(parts)

    def whole(self, part: torch.Tensor) -> torch.Tensor:
        """This process's share (n, ...) of a batch to the whole (N, ...), in the order in which one process has it.

        The gradient flows to the own share, so that the gradients of all processes add up to that of the batch.
        """
        if self.size == 1:
            return part
        parts = list(self.stacked(part))
        parts[self.rank] = part
        return torch.stack(parts, 1).flatten(0, 1)

    def add_gradients(self, optimizer: Optimizer) -> None:
        """Replaces the gradients of the optimiser's parameters by their sums over all processes.

        One message in a fixed order: buckets whose order is learnt on the way, as in DistributedDataParallel, would
        sum three or more numbers in another order after a resumption.
        """
        if self.size == 1:
            return
        gradients = [
            _in_memory_order(parameter.grad)
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        message = torch.cat(gradients)
        with _listening():
            distributed.all_reduce(message)
        torch._foreach_copy_(gradients, torch.split(message, [gradient.numel() for gradient in gradients]))


ALONE = Processes()


def _in_memory_order(tensor: torch.Tensor) -> torch.Tensor:
    """The numbers of a dense tensor as they lie in memory, as a view."""
    return tensor.as_strided((tensor.numel(),), (1,))


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Joins the processes that torchrun has started, if it has; takes a GPU for each, if they train on `cuda`.

    Raises SetupError when the others cannot be reached or a host has fewer GPUs than processes.
    """
    environment = os.environ
    if not distributed.is_torchelastic_launched() or environment["WORLD_SIZE"] == "1":
        yield ALONE
        return
    local_rank, local_size = int(environment["LOCAL_RANK"]), int(environment["LOCAL_WORLD_SIZE"])
    processes = Processes(int(environment["RANK"]), int(environment["WORLD_SIZE"]), local_size)
    with _reachable(processes, environment["MASTER_ADDR"], int(environment["MASTER_PORT"])), _listening():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    try:
        with processes.together():
            if device.startswith("cuda:"):
                raise ConfigError(f"torchrun: each process has a GPU of its own; give the device cuda, not {device}")
            if device == "cuda":
                if torch.cuda.device_count() < local_size:
                    raise SetupError(
                        f"torchrun: {local_size} processes for {torch.cuda.device_count()} GPUs on "
                        f"{socket.gethostname()}; start at most one for each"
                    )
                torch.cuda.set_device(local_rank)
        yield processes
    finally:
        distributed.destroy_process_group()


@contextmanager
def _reachable(processes: Processes, address: str, port: int) -> Iterator[None]:
    """Lets gloo listen where the other hosts can reach this one: at the interface that leads to the first process.

    gloo itself takes the address that the host's name stands for, which is often the loopback one.
    """
    if processes.size == processes.local_size or _INTERFACE in os.environ:
        yield
        return
    try:
        (*_, target), *_ = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)
        with socket.socket(socket.AF_INET6 if len(target) == 4 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(target)  # sends nothing: it only asks for the way
            own = probe.getsockname()[0]
    except OSError as error:
        raise SetupError(
            f"torchrun: {address} cannot be reached from {socket.gethostname()} ({error}); give torchrun "
            "a --rdzv-endpoint or --master-addr that every host reaches"
        ) from None
    names = [name for name, addresses in psutil.net_if_addrs().items() if any(own == one.address for one in addresses)]
    if names and not own.startswith("127."):
        os.environ[_INTERFACE] = names[0]
    try:
        yield
    finally:
        os.environ.pop(_INTERFACE, None)
