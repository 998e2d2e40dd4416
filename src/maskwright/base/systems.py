"""Which operating systems do what: Linux and macOS everything, Windows what neither trains nor follows a training."""

from __future__ import annotations

import os

from maskwright.errors import SetupError


def require_posix(verb: str) -> None:
    """SetupError where processes cannot be forked and stopped by signals, which is so on Windows.

    What trains renames folders and replaces files that are open, and answers signals: Windows knows neither.
    """
    if not hasattr(os, "fork"):
        raise SetupError(
            f"{verb}: runs on Linux and macOS only; on Windows use WSL, or train elsewhere and use the "
            "run here: init, audit, convert, split, evaluate, predict and report work on Windows"
        )
