"""What the extras of the installation bring, and one line where they are missing."""

from __future__ import annotations

import importlib.util

from maskwright.errors import SetupError

_TRAIN = ("torch", "segmentation_models_pytorch", "safetensors", "sklearn")


def require_train(verb: str = "this verb") -> None:
    """SetupError where the extra `train` is not installed."""
    if missing := [name for name in _TRAIN if not importlib.util.find_spec(name)]:
        raise SetupError(f"{verb} needs {', '.join(missing)}: not installed; `pip install maskwright[train]`")


def require_review() -> None:
    """SetupError where the extra `review` is not installed."""
    if missing := [name for name in ("fastapi", "uvicorn") if not importlib.util.find_spec(name)]:
        raise SetupError(f"review needs {', '.join(missing)}: not installed; `pip install maskwright[review]`")
