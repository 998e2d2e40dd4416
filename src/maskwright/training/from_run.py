"""A training that starts from the weights of another run: which of its tensors fit, and what is said of the rest.

Parts whose names and shapes fit are taken over. The head (all that depends on the number of classes) is taken over only
where the classes are the same by name, whatever their order; else it is new, also where its shape would fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from maskwright.base.texts import counted
from maskwright.config import ModelConfig
from maskwright.core.classes import ClassTree
from maskwright.errors import ConfigError, SetupError
from maskwright.inference.loading import model_file
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.modeling.models.segmenter import read_tensors
from maskwright.modeling.models.weights import Found, resolve
from maskwright.run import Run


@dataclass(frozen=True)
class OfRun:
    """The best checkpoint `path` of a `run`, with its hash; `mean` and `std` are those that it was trained with."""

    run: Path
    path: Path
    sha256: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    spec: ModelSpec
    classes: ClassTree

    @classmethod
    def open(cls, folder: Path) -> OfRun:
        """That of a run folder. ConfigError when it is none, DataError when it has no checkpoint that can be read."""
        if not Run(folder).info_file.is_file():
            raise ConfigError(
                f"model.weights: {folder}: not a run folder (no run.json); give the folder that `train` printed"
            )
        path = model_file(folder)
        header, _ = read_tensors(path)
        stored = header["preprocessing"]
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return cls(
            folder,
            path,
            digest,
            tuple(stored["mean"]),
            tuple(stored["std"]),
            ModelSpec(**header["model"]),
            ClassTree.from_dict(header["classes"]),
        )

    def __str__(self) -> str:
        return str(self.run)

    def load(self, model: nn.Module, spec: ModelSpec, classes: ClassTree) -> Start:
        """Loads what fits into a model of `spec` for these classes. ConfigError when nothing does."""
        _, tensors = read_tensors(self.path)
        state = model.state_dict()
        axes = _class_axes(spec, state)
        same = sorted(self.classes.names) == sorted(classes.names)
        order = torch.tensor([self.classes.names.index(name) for name in classes.names]) if same else None
        fitting: dict[str, torch.Tensor] = {}
        for key, value in state.items():
            given = tensors.get(key)
            if given is not None and key in axes:
                axis = axes[key]
                fits = axis is not None and axis < given.ndim and given.shape[axis] == len(self.classes)
                given = given.index_select(axis, order) if order is not None and axis is not None and fits else None
            if given is not None and given.shape == value.shape:
                fitting[key] = given
        needed = [key for key in state if not key.endswith("num_batches_tracked")]
        taken = [key for key in needed if key in fitting]
        if axes.keys() >= {*taken}:  # a head alone may fit any other body
            raise ConfigError(
                f"model.weights: {self.run} is a {_named(self.spec)}, of which no tensor fits {_named(spec)}; "
                "take its model.name, encoder and args, or write `weights: none`"
            )
        model.load_state_dict(fitting, strict=False)
        others = [key for key in needed if key not in fitting and key not in axes]
        head = bool(axes) and all(key in fitting for key in axes if key in needed)
        return Start(self, len(taken), len(needed), same, head, others)


@dataclass(frozen=True)
class Start:
    """What a model has taken over from a run: so many of its tensors, whether the classes are the same by name, whether
    the `head` is among them, and the `others` that are new."""

    weights: OfRun
    taken: int
    tensors: int
    same_classes: bool
    head: bool
    others: list[str]

    def __str__(self) -> str:
        text = f"starts from {self.weights.run}: {self.taken} of {self.tensors} tensors"
        if self.head:
            text += "; the head too, since the classes are the same"
        else:
            text += "; the head is new, since the " + ("models" if self.same_classes else "classes") + " differ"
        if self.others:
            text += f"; {counted(len(self.others), 'more {is|are} new')}, such as {self.others[0]}"
        return text

    def to_dict(self) -> dict[str, Any]:
        """For `run.json`."""
        return {
            "run": str(self.weights.run.resolve()),
            "sha256": self.weights.sha256,
            "taken": self.taken,
            "tensors": self.tensors,
            "head": "taken over" if self.head else "new",
        }


def start_of(model: ModelConfig) -> Found | OfRun | None:
    """The weights that a config's model starts with: those of an encoder, those of a run, or none.

    Raises ConfigError for what is neither, SetupError when they are not here, or are others than the config was written
    for."""
    path = Path(model.weights)
    if path.is_dir():
        found = OfRun.open(path)
        if model.weights_sha256 not in (None, found.sha256):
            raise SetupError(
                f"model.weights: {found.path} is another checkpoint than when this config was written; restore it, or "
                "remove model.weights_sha256 to start from it as it is now"
            )
        return found
    if model.encoder:
        return resolve(model.encoder, model.weights)
    if model.weights == "none":
        return None
    raise ConfigError(f"model.weights: {model.weights}: no such folder; give the folder of a run, or write `none`")


def started(spec: ModelSpec, weights: Found | OfRun | None, classes: ClassTree) -> tuple[nn.Module, Start | None]:
    """The model with its weights: random ones, and on top of them those that it starts with; and what these are where
    they are a run's. Raises ConfigError or SetupError when they do not fit."""
    if not isinstance(weights, OfRun):
        return build_model(spec, weights), None
    model = build_model(spec)
    return model, weights.load(model, spec, classes)


def _class_axes(spec: ModelSpec, state: Mapping[str, torch.Tensor]) -> dict[str, int | None]:
    """The tensors whose shape depends on the number of classes, and along which axis; None for more than one."""
    with torch.random.fork_rng(devices=[]):  # initialisation draws from the global generator
        larger = build_model(replace(spec, classes=spec.classes + 1)).state_dict()
    axes: dict[str, int | None] = {}
    for key, value in state.items():
        if value.shape != larger[key].shape:
            differing = [
                i for i, (one, other) in enumerate(zip(value.shape, larger[key].shape, strict=True)) if one != other
            ]
            axes[key] = differing[0] if len(differing) == 1 else None
    return axes


def _named(spec: ModelSpec) -> str:
    return f"{spec.name} over {spec.encoder}" if spec.encoder else spec.name
