"""What has to be the same for all processes of a training, or suit their number, before it begins."""

from __future__ import annotations

import socket
from pathlib import Path

from maskwright.config import RunConfig
from maskwright.core.dataset import Dataset
from maskwright.errors import ConfigError, DataError
from maskwright.training.distributed.processes import Processes


def require_shareable(config: RunConfig, processes: Processes) -> None:
    """ConfigError where so many processes cannot train so."""
    if rest := config.train.batch_size % processes.size:
        more = config.train.batch_size - rest + processes.size
        raise ConfigError(
            f"train.batch_size: {config.train.batch_size} images cannot be shared evenly by {processes.size} "
            f"processes; set it to {more}, or another multiple"
        )
    if processes.size > 1 and config.train.compile != "none":
        raise ConfigError("train.compile: a compiled model cannot be shared by several processes; set it to none")


def agreed_version(dataset: Dataset, processes: Processes, spare: Path) -> tuple[str, dict[Path, str]]:
    """The content version of the dataset, and the hashes of its files."""
    with processes.together():
        hashes = dataset.file_hashes(spare)
        version = dataset.version(hashes)
    return agreed(dataset.root, version, processes), hashes


def agreed(folder: Path, version: str, processes: Processes) -> str:
    """The version of a folder's content. DataError when a process, perhaps on another host, reads a different one."""
    first = processes.share(version)
    with processes.together():
        if version != first:
            raise DataError(
                f"{folder}: is not the same on {socket.gethostname()} as for the first process; copy "
                "it again, or use a folder that all hosts share"
            )
    return version
