"""A config is read from its file, with what is set from outside (`--set`, `overrides`, the matrix of a study)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskwright.base import strictyaml
from maskwright.base.strictyaml import Exclusive
from maskwright.config.checking import check_document
from maskwright.config.schema import LENGTHS, AugmentTerm, RunConfig
from maskwright.modeling import augment, models


def _other_lengths(own: str) -> Exclusive:
    """Of a training. What the clock made of its iterations (`refits`, `thread_changes`) ends with them."""
    others = tuple(key for key in (*LENGTHS, "refits", "thread_changes") if key != own)
    return Exclusive("train", own, lambda value: others)


def _without_encoder(name: Any) -> tuple[str, ...]:
    return ("encoder", "weights") if name in models.MODELS and not models.takes_encoder(name) else ()


# A value that is set from outside (`--set`, `overrides`, the matrix of a study) takes the place of what it rules out.
EXCLUSIVE = (
    *map(_other_lengths, LENGTHS),
    Exclusive("train", "threads", lambda threads: ("thread_changes",)),
    Exclusive("data.trust", "mode", lambda mode: ("least",) if mode == "weight" else ()),
    Exclusive("model", "name", _without_encoder),
    Exclusive("model", "weights", lambda weights: ("weights_sha256",)),
    Exclusive("schedule", "name", lambda name: ("warmup",) if name == "one_cycle" else ()),
    Exclusive("augment.*", "file", lambda file: ("pipeline",)),
    Exclusive("augment.*", "pipeline", lambda pipeline: ("file",)),
)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Reads `run.yaml`; relative paths in it become relative to its folder.

    `overrides` are settings such as `train.iterations=100`, which take the place of what the file has there, and of
    what cannot stand beside them (here `epochs` or `budget`). Raises ConfigError with every problem at once.
    """
    path = Path(path)
    document = strictyaml.read(path)
    strictyaml.apply_overrides(document, overrides, EXCLUSIVE)
    config = check_document(document, path.parent)
    return rebase(config, path.parent)


def rebase(config: RunConfig, folder: Path) -> RunConfig:
    """The config with its relative paths taken from `folder`."""
    data = config.data.model_copy(update={"root": str(folder / config.data.root)})
    if trust := data.trust:
        data = data.model_copy(update={"trust": trust.model_copy(update={"folder": str(folder / trust.folder)})})
    model = config.model
    if model.weights not in ("none", "imagenet"):
        model = model.model_copy(update={"weights": str(folder / model.weights)})
    terms = [
        term.model_copy(update={"file": str(folder / term.arguments["file"])})
        if term.name == augment.PASS_THROUGH and term.arguments.get("file")
        else term
        for term in config.augment
    ]
    return config.model_copy(update={"data": data, "model": model, "augment": terms})


def with_pipelines(config: RunConfig) -> RunConfig:
    """The config with the content of the pipeline file that it names, so that a run depends on no other file."""
    terms = [
        AugmentTerm.model_validate({"name": term.name, "pipeline": augment.pass_through(**term.arguments)})
        if term.name == augment.PASS_THROUGH
        else term
        for term in config.augment
    ]
    return config.model_copy(update={"augment": terms})
