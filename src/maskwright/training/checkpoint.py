"""The whole state of a training in one safetensors file, written by one rename."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from maskwright.base.storage import atomic_write_bytes, require_format
from maskwright.errors import DataError
from maskwright.modeling.models.segmenter import HEADER, read_tensors
from maskwright.training.distributed.processes import Processes

# 1 had no number.
FORMAT = 2


@dataclass
class Progress:
    """What besides tensors makes the rest of a run the same: counters, pending losses, the log's length."""

    step: int = 0
    log_bytes: int = 0
    best_miou: float | None = None  # of the best checkpoint
    best_value: float | None = None  # of the score that has chosen it
    best_step: int = 0
    evaluations_since_best: int = 0
    pending_losses: list[float] = field(default_factory=list)


def _state(model: nn.Module, average: nn.Module | None, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    tensors = {f"model/{key}": value for key, value in model.state_dict().items()}
    if average is not None:
        tensors |= {f"average/{key}": value for key, value in average.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value for key, value in values.items()}
    return tensors


def save_state(
    path: Path, progress: Progress, model: nn.Module, average: nn.Module | None, optimizer: torch.optim.Optimizer
) -> None:
    """Writes everything that the next step depends on. The same state gives the same bytes."""
    tensors = {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in _state(model, average, optimizer).items()
    }
    header = {"format": FORMAT, **asdict(progress)}
    if progress.best_value == progress.best_miou:  # chosen by mIoU, as all were before there was a choice
        del header["best_value"]
    atomic_write_bytes(path, save(tensors, {HEADER: json.dumps(header, sort_keys=True)}))


def load_state(
    path: Path, model: nn.Module, average: nn.Module | None, optimizer: torch.optim.Optimizer, processes: Processes
) -> Progress:
    """Restores what `save_state` wrote, in place; of several processes only the first one reads it. DataError when
    the file is damaged, of another training, or of a format that this version does not read."""
    with processes.together():
        header, tensors = read_tensors(path) if processes.first else ({}, {})
        if processes.first:
            require_format(path, "training state", header.pop("format", 1), FORMAT)
    header, tensors = processes.share(header), processes.share_tensors(tensors)

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

    # In the order in which the optimiser numbers its state.
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    try:
        model.load_state_dict(part("model/"))
        if average is not None:
            average.load_state_dict(part("average/"))
        for key, value in part("optimizer/").items():
            index, _, name = key.partition("/")
            state.setdefault(int(index), {})[name] = _laid_out_like(parameters[int(index)], value)
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
        return Progress(**{"best_value": header.get("best_miou"), **header})
    except (RuntimeError, TypeError, ValueError, IndexError):
        raise processes.common(
            DataError(
                f"{path}: is not the training state of this run; restore it, or train a new run "
                "(the best checkpoint stays usable)"
            )
        ) from None


def continued(path: Path, log_bytes: int) -> bytes:
    """The state at `path` for a run that goes on from it, with a log of so many bytes: it may get better again."""
    header, tensors = read_tensors(path)
    require_format(path, "training state", header.get("format", 1), FORMAT)
    header |= {"format": FORMAT, "log_bytes": log_bytes, "evaluations_since_best": 0}
    return save(tensors, {HEADER: json.dumps(header, sort_keys=True)})


def _laid_out_like(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The fused optimiser walks through memory and not through indices: moments must have the parameter's strides."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
