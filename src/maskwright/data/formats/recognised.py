"""Annotation formats that are recognised but not read, with the way to export something that is."""

from __future__ import annotations

from pathlib import Path


def recognised(root: Path) -> str | None:
    """One line about the annotation files in `root` that no reader takes; None where there are none."""
    return None
