"""Pretrained encoder weights: found, checked and loaded, never replaced silently by random ones.

Only safetensors files are read. `imagenet` means the file that the encoder's library publishes; it is
taken from the local cache and fetched only by `maskwright plan --download`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright.base.strictyaml import did_you_mean
from maskwright.errors import ConfigError, SetupError

TIMM = "tu-"
# Encoders of segmentation_models_pytorch by the beginning of their names; what it says in their source.
_LICENCES = {"mit_b": "NVIDIA Source Code License for SegFormer, which allows no commercial use of code and weights"}


@dataclass(frozen=True)
class EncoderInfo:
    """What an encoder's library says about it. `mean` and `std` (RGB, 0..1) are those of its ImageNet weights."""

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    repository: str | None
    revision: str | None
    licence: str


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


def cached(info: EncoderInfo) -> Path | None:
    """The encoder's ImageNet weights in the local cache, or None. Needs no network."""
    from huggingface_hub import try_to_load_from_cache

    if info.repository is None:
        return None
    found = try_to_load_from_cache(info.repository, "model.safetensors", revision=info.revision)
    return Path(found) if isinstance(found, str) else None


def download(info: EncoderInfo) -> Path:
    """Fetches the ImageNet weights into the cache. SetupError when that cannot be done."""
    from huggingface_hub import hf_hub_download

    if info.repository is None:
        raise SetupError(f"{info.name}: no ImageNet weights are published for it; take another encoder")
    try:
        return Path(hf_hub_download(info.repository, "model.safetensors", revision=info.revision))
    except Exception as error:  # the client raises many kinds: no network, no such file, no disk
        raise SetupError(
            f"{info.name}: its weights could not be fetched ({type(error).__name__}); check the network, "
            "or give a .safetensors file with `weights: path`"
        ) from None


def resolve(encoder: str, weights: str) -> Path | None:
    """The file that `model.weights` means; None for `none`. SetupError when it is not on this machine."""
    if weights == "none":
        return None
    info = encoder_info(encoder)
    if weights == "imagenet":
        path = cached(info)
        if path is None:
            raise SetupError(
                f"model.weights: the ImageNet weights of {encoder} are not on this machine; fetch them "
                "once with `maskwright plan DIR --download`, give a .safetensors file, or write "
                "`weights: none`"
            )
        return path
    path = Path(weights)
    if path.suffix != ".safetensors":
        raise ConfigError(
            f"model.weights: {weights} is not imagenet, none or a .safetensors file; "
            "other formats can run code when they are read, so convert it first"
        )
    if not path.is_file():
        raise SetupError(f"model.weights: {weights}: no such file; correct the path or write `weights: none`")
    return path


def read_weights(path: Path) -> dict[str, Any]:
    """Tensors of a safetensors file by name. SetupError when it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise SetupError(f"{path}: not a readable safetensors file ({error}); fetch it again") from None


def load_encoder(encoder: Any, name: str, path: Path) -> None:
    """Loads `path` into a model's encoder. Every tensor of the encoder must be in the file with its shape;
    tensors that only the classifier needs are left over.

    Raises SetupError that names what does not fit; nothing is loaded by halves.
    """
    tensors = read_weights(path)
    target = encoder
    if name.startswith(TIMM):
        target = encoder.model
        # timm's feature extractors flatten containers: `stages.0.blocks` becomes `stages_0.blocks`.
        tensors |= {key.replace(".", "_", 1): value for key, value in tensors.items()}
    needed = {key: value for key, value in target.state_dict().items() if not key.endswith("num_batches_tracked")}
    missing = [key for key in needed if key not in tensors]
    shapes = [key for key, value in needed.items() if key in tensors and tensors[key].shape != value.shape]
    if missing or shapes:
        what = f"{len(missing)} are missing, such as {missing[0]}" if missing else f"{shapes[0]} has another shape"
        raise SetupError(
            f"{path}: these are not weights of {name}: of its {len(needed)} tensors {what}; "
            "give the file of this encoder, or write `weights: none`"
        )
    target.load_state_dict({key: tensors[key] for key in needed}, strict=False)


def check_encoder(name: str, path: Path) -> None:
    """Proves that `load_encoder` will succeed, by loading into a throw-away encoder."""
    from segmentation_models_pytorch.encoders import get_encoder

    load_encoder(get_encoder(name, weights=None), name, path)
