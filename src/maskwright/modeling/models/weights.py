"""Pretrained encoder weights: found, checked and loaded, never replaced silently by random ones.

`imagenet` means the weights of the first row of `SOURCES` that has them on this machine: an installed package
(`packaged.py`), then the cache of what the encoder's library publishes. Only `maskwright plan --download` uses the
network. Of other files only safetensors are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskwright.base.strictyaml import did_you_mean
from maskwright.errors import ConfigError, SetupError, argument
from maskwright.modeling.models.packaged import PACKAGED, packaged, read_packaged

TIMM = "tu-"
ENCODER = "tu-mobilenetv2_100"  # what is fetched when no encoder is named
# Small and fast enough for a CPU. When no encoder is named, `plan` takes the first of them whose ImageNet weights are
# here, and none of the others that may be here: they can be of any size.
ENCODERS = ("tu-tf_efficientnet_lite0", ENCODER, "tu-tf_efficientnet_lite1", "tu-tf_efficientnet_lite2")
# Encoders of segmentation_models_pytorch by the beginning of their names; what it says in their source.
_LICENCES = {"mit_b": "NVIDIA Source Code License for SegFormer, which allows no commercial use of code and weights"}


@dataclass(frozen=True)
class EncoderInfo:
    """What an encoder's library says about it. `mean` and `std` (RGB, 0..1) are those of its ImageNet weights,
    `image_size` (height, width) is the only one that it takes as it is usually built, None where it takes others."""

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    repository: str | None
    revision: str | None
    licence: str
    image_size: tuple[int, int] | None = None


def encoder_info(encoder: str) -> EncoderInfo:
    """Raises ConfigError, with a suggestion, for an unknown encoder. Imports torch."""
    if encoder.startswith(TIMM):
        import timm

        name = encoder.removeprefix(TIMM)
        if not timm.is_model(name.partition(".")[0]):
            raise ConfigError(
                f"model.encoder: timm has no model {name!r}; `timm.list_models()` lists them"
                + did_you_mean(name, timm.list_models())
            )
        try:
            cfg = timm.get_pretrained_cfg(name, allow_unregistered=True)
        except RuntimeError as error:  # an unknown tag behind the name
            raise ConfigError(f"model.encoder: {error} Leave the tag out") from None
        mean, std = (cfg.mean, cfg.std) if cfg else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        return EncoderInfo(
            encoder,
            tuple(mean),
            tuple(std),
            cfg.hf_hub_id if cfg else None,
            None,
            (cfg.license if cfg else None) or "not stated",
            (cfg.input_size[1], cfg.input_size[2]) if cfg and cfg.fixed_input_size else None,
        )
    from segmentation_models_pytorch.encoders import encoders

    if encoder not in encoders:
        raise ConfigError(
            f"model.encoder: {encoder!r} is not known"
            + did_you_mean(encoder, encoders)
            + " (write tu-NAME for an encoder of timm)"
        )
    licence = next((text for start, text in _LICENCES.items() if encoder.startswith(start)), None)
    settings = encoders[encoder].get("pretrained_settings", {}).get("imagenet")
    if settings is None:
        return EncoderInfo(encoder, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), None, None, licence or "not stated")
    return EncoderInfo(
        encoder,
        tuple(settings.get("mean", (0.485, 0.456, 0.406))),
        tuple(settings.get("std", (0.229, 0.224, 0.225))),
        settings.get("repo_id"),
        settings.get("revision"),
        licence or "as stated on the model's page",
    )


@dataclass(frozen=True)
class Found:
    """Weights that are on this machine: those of `info`, whose mean, std and licence are theirs, in the file `path`.
    `kind` is a row of `SOURCES` or `file`; `source` names the package, the repository or the file."""

    info: EncoderInfo
    kind: str
    source: str
    path: Path

    @property
    def mean(self) -> tuple[float, ...]:
        """What images are normalised by."""
        return self.info.mean

    @property
    def std(self) -> tuple[float, ...]:
        """What images are normalised by."""
        return self.info.std

    def tensors(self) -> dict[str, Any]:
        """The tensors by name. SetupError when the file is damaged, or not what the table of packages says."""
        row = packaged(self.info.name) if self.kind == "package" else None
        return read_packaged(row, self.path) if row else read_weights(self.path)

    def __str__(self) -> str:
        return f"{self.source}; licence: {self.info.licence}"

    def to_dict(self) -> dict[str, str]:
        """For `run.json`."""
        with open(self.path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"source": self.source, "licence": self.info.licence, "file": self.path.name, "sha256": digest}


def in_package(info: EncoderInfo) -> Found | None:
    """The encoder's ImageNet weights in an installed package, or None. SetupError when the package is incomplete."""
    row = packaged(info.name)
    if row is None or (path := row.path()) is None:
        return None
    theirs = replace(info, mean=row.mean, std=row.std, licence=row.licence)
    return Found(theirs, "package", f"the package {row.package} {row.version()} ({row.origin})", path)


def cached(info: EncoderInfo) -> Found | None:
    """The encoder's ImageNet weights in the local cache of the hub, or None. Needs no network."""
    from huggingface_hub import try_to_load_from_cache

    if info.repository is None:
        return None
    found = try_to_load_from_cache(info.repository, "model.safetensors", revision=info.revision)
    return Found(info, "hub cache", f"the cached {info.repository}", Path(found)) if isinstance(found, str) else None


# Where ImageNet weights are looked for, in this order.
SOURCES: dict[str, Callable[[EncoderInfo], Found | None]] = {"package": in_package, "hub cache": cached}


def find(info: EncoderInfo) -> Found | None:
    """The encoder's ImageNet weights on this machine, from the first source that has them, or None."""
    return next(filter(None, (look(info) for look in SOURCES.values())), None)


def how_to_get(encoder: str) -> str:
    """The command that brings the ImageNet weights of an encoder."""
    row = packaged(encoder)
    return f"`{row.command}`" if row else f"`maskwright plan DIR --encoder {encoder} --download`"


def installed(file: str | Path | None = None) -> list[Found]:
    """All encoders whose ImageNet weights are on this machine: the one that `file` (.safetensors) is named after, those
    of packages in the order of their table, then those in the cache of the hub by name. Needs no network.

    Raises ConfigError or SetupError for a file that cannot be used, and SetupError for a package that is incomplete.
    """
    given = [] if file is None else [_required(resolve(encoder_named_by(Path(file)), str(file)))]
    rows = [in_package(encoder_info(row.encoder)) for row in PACKAGED]
    return [*given, *filter(None, rows), *(found for name in hub_encoders() if (found := cached(encoder_info(name))))]


def _required(found: Found | None) -> Found:
    assert found is not None
    return found


def encoder_named_by(path: Path) -> str:
    """The timm encoder that a weights file is named after. ConfigError when it is none."""
    import timm

    name = path.name.split(".")[0]
    if timm.is_model(name):
        return f"{TIMM}{name}"
    raise ConfigError(
        f"{argument('weights')} {path}: name its encoder with {argument('encoder')}, such as {TIMM}resnet18"
    )


def hub_encoders() -> list[str]:
    """Encoders of which the cache of the hub has a repository, by name."""
    import timm
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir
    from segmentation_models_pytorch.encoders import encoders

    try:
        there = {repo.repo_id for repo in scan_cache_dir(constants.HF_HUB_CACHE).repos}
    except CacheNotFound:
        return []
    names = []
    for name in sorted(repository.removeprefix("timm/") for repository in there if repository.startswith("timm/")):
        short = name.partition(".")[0]
        if timm.is_model(short):
            usual = timm.get_pretrained_cfg(short)
            names.append(f"{TIMM}{short if usual and usual.hf_hub_id == f'timm/{name}' else name}")
    for name, row in encoders.items():
        if (row.get("pretrained_settings", {}).get("imagenet") or {}).get("repo_id") in there:
            names.append(name)
    return names


def download(info: EncoderInfo) -> Found:
    """Fetches the ImageNet weights into the cache of the hub. SetupError when that cannot be done."""
    from huggingface_hub import hf_hub_download

    if info.repository is None:
        raise SetupError(f"{info.name}: no ImageNet weights are published for it; take another encoder")
    try:
        path = Path(hf_hub_download(info.repository, "model.safetensors", revision=info.revision))
    except Exception as error:  # the client raises many kinds: no network, no such file, no disk
        row = packaged(info.name)
        raise SetupError(
            f"{info.name}: its weights could not be fetched ({type(error).__name__}); check the network, "
            + (f"`{row.command}`, " if row else "")
            + "or give a .safetensors file with `weights: path`"
        ) from None
    return Found(info, "hub cache", f"the cached {info.repository}", path)


def resolve(encoder: str, weights: str) -> Found | None:
    """The weights that `model.weights` means; None for `none`. SetupError when they are not on this machine."""
    if weights == "none":
        return None
    info = encoder_info(encoder)
    if weights == "imagenet":
        found = find(info)
        if found is None:
            raise SetupError(
                f"model.weights: the ImageNet weights of {encoder} are not on this machine; bring them with "
                f"{how_to_get(encoder)}, give a .safetensors file, or write `weights: none`"
            )
        return found
    path = Path(weights)
    if path.suffix != ".safetensors":
        raise ConfigError(
            f"model.weights: {weights} is not imagenet, none, a .safetensors file or the folder of a run; "
            "other formats can run code when they are read, so convert it first"
        )
    if not path.is_file():
        raise SetupError(f"model.weights: {weights}: no such file; correct the path or write `weights: none`")
    return Found(info, "file", str(path), path)


def read_weights(path: Path) -> dict[str, Any]:
    """Tensors of a safetensors file by name. SetupError when it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise SetupError(f"{path}: not a readable safetensors file ({error}); fetch it again") from None


def widened(weight: Any, channels: int) -> Any:
    """The weight (out, 3, ...) of a first layer for so many channels, as timm and segmentation_models_pytorch make it:
    the filters of red, green and blue in turn, times 3 / `channels`; for one channel their sum. So grey images give
    what they gave in three channels, or about that."""
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return weight[:, [channel % 3 for channel in range(channels)]] * (3 / channels)


def load_encoder(encoder: Any, weights: Found, channels: int = 3) -> None:
    """Loads weights into a model's encoder for images of so many channels. Every tensor of the encoder must be among
    them with its shape, that of the first layer for three channels (see `widened`); tensors that only the classifier
    needs are left over.

    Raises SetupError that names what does not fit; nothing is loaded by halves.
    """
    name, tensors, target = weights.info.name, weights.tensors(), encoder
    if name.startswith(TIMM):
        target = encoder.model
        # timm's feature extractors flatten containers: `stages.0.blocks` becomes `stages_0.blocks`.
        tensors |= {key.replace(".", "_", 1): value for key, value in tensors.items()}
    needed = {key: value for key, value in target.state_dict().items() if not key.endswith("num_batches_tracked")}
    for key, value in needed.items() if channels != 3 else ():
        if (
            key in tensors
            and value.ndim == tensors[key].ndim == 4
            and ((value.shape[1], tensors[key].shape[1]) == (channels, 3))
        ):
            tensors[key] = widened(tensors[key], channels)
    missing = [key for key in needed if key not in tensors]
    shapes = [key for key, value in needed.items() if key in tensors and tensors[key].shape != value.shape]
    if missing or shapes:
        what = f"{len(missing)} are missing, such as {missing[0]}" if missing else f"{shapes[0]} has another shape"
        raise SetupError(
            f"{weights.path}: these are not weights of {name}: of its {len(needed)} tensors {what}; "
            "give the file of this encoder, or write `weights: none`"
        )
    target.load_state_dict({key: tensors[key] for key in needed}, strict=False)


def check_encoder(weights: Found) -> None:
    """Proves that `load_encoder` will succeed, by loading into a throw-away encoder. Draws no random numbers."""
    import torch
    from segmentation_models_pytorch.encoders import get_encoder

    with torch.random.fork_rng(devices=[]):
        load_encoder(get_encoder(weights.info.name, weights=None), weights)
