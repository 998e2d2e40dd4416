"""The verb `plan`: a commented `run.yaml` from the data's fingerprint, with a reason for each choice."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.base import strictyaml
from maskwright.base.display import Result
from maskwright.base.storage import atomic_write_text
from maskwright.config import EXCLUSIVE, LENGTHS, RunConfig, check_document, rebase, seconds_argument
from maskwright.core.dataset import Dataset
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, argument
from maskwright.modeling import models
from maskwright.training.planning.fingerprint import fingerprint
from maskwright.training.planning.text import render, rewritten
from maskwright.training.planning.weights import Weights, choose_weights, weights_of_run

if TYPE_CHECKING:
    from maskwright.modeling.models.size import Size
    from maskwright.training.lr_finder import RangeTest

# Of models that another encoder is usual for, or that take no other kind.
_ENCODERS = {"AttentionUNet": "resnet34", "DPT": "tu-vit_tiny_patch16_224", "Segformer": "mit_b0"}


@dataclass(frozen=True, repr=False)
class RunPlan(Result):
    """The text of a commented `run.yaml`, its config, the size of its model (None without torch), the range test that
    its learning rate comes from, if one was asked for, and the files that were written: the config, and the picture of
    the range test."""

    text: str
    config: RunConfig
    size: Size | None
    range_test: RangeTest | None = None
    file: Path | None = None
    picture: Path | None = None

    def facts(self) -> dict[str, object]:
        """For the short forms."""
        train = self.config.train
        return {
            "model": self.config.model.name,
            "encoder": self.config.model.encoder,
            "image_size": "x".join(map(str, self.config.data.image_size)),
            "length": next(f"{key}={getattr(train, key)}" for key in LENGTHS if getattr(train, key) is not None),
            "file": self.file,
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `plan`."""
        tested = {"range_test": asdict(self.range_test) | {"picture": _text(self.picture)}} if self.range_test else {}
        return {
            "file": _text(self.file),
            "config": self.config.to_dict(),
            "text": self.text,
            "size": self.size.to_dict() if self.size else None,
            **tested,
        }

    def human(self) -> str:
        """The text itself, or where it was written."""
        if self.file is None:
            return self.text
        lines = []
        if self.range_test:
            drawn = f"; drawn: {self.picture}" if self.picture else ""
            lines.append(f"optimizer.lr: {self.config.optimizer.lr:g} ({self.range_test.reason}){drawn}")
        return "\n".join([*lines, f"written: {self.file}; next: maskwright train {self.file}"])


def _text(path: Path | None) -> str | None:
    return str(path) if path else None


def plan(
    data: str | Path | Dataset,
    *,
    out: str | Path | None = None,
    budget: str = "5m",
    model: str | None = None,
    encoder: str | None = None,
    weights: str | None = None,
    download: bool = False,
    overrides: Sequence[str] = (),
    lr_find: bool = False,
    folder: Path | None = None,
    device: str | None = None,
) -> RunPlan:
    """A commented `run.yaml` for a dataset; written to `out` if given.

    `budget` is the training's wall time. `model` is a row of the model table, `encoder` what it goes over; left out,
    both are chosen. `weights` is `imagenet`, `none`, a .safetensors file, or the folder of a run, whose model is then
    taken; left out, ImageNet weights are taken if this machine has those of the encoder or, where none is named, of a
    small one. `download` fetches them if they are missing. `lr_find` sets the learning rate by a range test of the
    planned training on `device`, which takes 100 steps and changes nothing else. Relative paths in the text start from
    `folder`, by default that of `out`, or the working folder. Never overwrites a file.
    """
    if out is not None and Path(out).exists():
        raise ConfigError(f"{out}: already exists and is never overwritten; choose another file")
    seconds_argument("budget", budget)
    if model is not None and model not in models.MODELS:
        raise ConfigError(
            f"{argument('model')}: {model!r} is not known" + strictyaml.did_you_mean(model, models.MODELS)
        )
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    dataset.require_contrast()
    found = fingerprint(dataset)
    if weights is not None and Path(weights).is_dir() and importlib.util.find_spec("torch"):
        chosen = weights_of_run(weights, model, encoder)
    elif model is None or models.takes_encoder(model):
        usual = _ENCODERS.get(model or "") if weights in (None, "none", "imagenet") else None
        chosen = choose_weights(encoder or usual, weights, download, needed=model is not None)
    elif encoder or weights not in (None, "none"):
        raise ConfigError(
            f"{argument('model')} {model}: has no separate encoder and no pretrained weights; leave "
            f"{argument('encoder')} and {argument('weights')} out"
        )
    else:
        chosen = Weights("none", None, "asked for")
    folder = folder or (Path(out).resolve().parent if out is not None else Path.cwd())
    place = (data.home or data.root) if isinstance(data, Dataset) else Path(data)
    root = os.path.relpath(place.resolve(), folder)
    if chosen.value not in ("none", "imagenet"):
        chosen = replace(chosen, value=os.path.relpath(Path(chosen.value).resolve(), folder))
    text = render(dataset, found, chosen, root, budget, _device(device), model)
    document = strictyaml.parse(text, str(out or "run.yaml"))
    if overrides:
        strictyaml.apply_overrides(document, overrides, EXCLUSIVE)
        touched = [override.split("=")[0].split(".")[0] for override in overrides]
        text = rewritten(text, document.data, dict.fromkeys(touched, f"with {argument('overrides', '--set')}"))
        document = strictyaml.parse(text, str(out or "run.yaml"))
    config = check_document(document, folder)
    if size := measure_model(config, len(dataset.classes), dataset.bands.channels):
        text = re.sub("^model:", f"# The model has {size}.\\nmodel:", text, count=1, flags=re.MULTILINE)
    tested = None
    if lr_find:
        from maskwright.training.lr_finder import find_rate

        tested = find_rate(rebase(config, folder), device)
        rate = {"lr": tested.suggested or config.optimizer.lr}
        written = document.data["optimizer"]
        optimizer = ({"name": written} if isinstance(written, str) else written) | rate
        text = rewritten(text, {"optimizer": optimizer}, {"optimizer": tested.reason})
        config = check_document(strictyaml.parse(text, str(out or "run.yaml")), folder)
    if out is not None:
        atomic_write_text(Path(out), text)
    return RunPlan(text, rebase(config, folder), size, tested, Path(out) if out is not None else None)


def measure_model(config: RunConfig, classes: int, channels: int = 3) -> Size | None:
    """The size of the config's model, built with random weights; None without torch. ConfigError when it cannot be
    built."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    from maskwright.modeling.models.build import SIZE_ERRORS, ModelSpec, build_model, why_refused
    from maskwright.modeling.models.size import measure

    with torch.random.fork_rng(devices=[]):  # initialisation draws from the global generator
        model = build_model(ModelSpec(config.model.name, classes, config.model.encoder, config.model.args, channels))
    try:
        return measure(model, config.data.image_size, channels)
    except SIZE_ERRORS as error:
        height, width = config.data.image_size
        reason, remark = why_refused(error, config.model.encoder)
        raise ConfigError(
            f"model: {config.model.name} does not take images of {height} x {width} ({reason}); change "
            f"data.image_size or the encoder{remark}"
        ) from None


def _device(asked: str | None) -> str:
    if importlib.util.find_spec("torch") is None:
        return "cpu"
    from maskwright.modeling.models.devices import device_of

    return device_of(asked).partition(":")[0]
