"""What the extras of the installation bring, and one line where they are missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from maskwright.errors import SetupError

_TRAIN = ("torch", "segmentation_models_pytorch", "safetensors", "sklearn")


def require_train(verb: str = "this verb") -> None:
    """SetupError where the extra `train` is not installed."""
    _require(verb, "train", _TRAIN)


def require_onnx(verb: str) -> None:
    """SetupError where the extra `onnx` is not installed, which runs exported models."""
    _require(verb, "onnx", ("onnxruntime",))


def require_export(verb: str) -> None:
    """SetupError where what writes exported models is not installed: the extras `train` and `export`."""
    require_train(verb)
    _require(verb, "export", ("onnx", "onnxruntime", "onnxscript"))


def require_remote(verb: str) -> None:
    """SetupError where the extra `remote` is not installed."""
    _require(verb, "remote", ("fsspec",))


def require_ray() -> None:
    """SetupError where the extra `ray` is not installed."""
    _require("work on a cluster", "ray", ("ray",))


def require_search() -> None:
    """SetupError where the extra `search` is not installed."""
    _require("search", "search", ("optuna", "sqlalchemy"))


def _require(verb: str, extra: str, modules: Sequence[str]) -> None:
    if missing := [name for name in modules if not importlib.util.find_spec(name)]:
        raise SetupError(f"{verb} needs {', '.join(missing)}: not installed; `pip install maskwright[{extra}]`")


def require_review(verb: str = "review") -> None:
    """SetupError where the extra `review` is not installed, which the local servers need."""
    _require(verb, "review", ("fastapi", "uvicorn"))
