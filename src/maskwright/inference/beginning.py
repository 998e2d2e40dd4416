"""How a folder of predictions was begun: `model.json`, which says what it may be continued with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskwright.base.storage import STAGING_PREFIX, atomic_write_json, read_json, require_absent
from maskwright.core.classes import Level
from maskwright.core.predictor import Predictor
from maskwright.errors import ConfigError, argument
from maskwright.inference.loading import model_file
from maskwright.inference.probabilities import form
from maskwright.run import Run


def averaging(
    with_: Sequence[str | Path | Run], flip_average: bool | None, scales: Sequence[float]
) -> dict[str, Any] | None:
    """What is averaged otherwise than the model does it, for `model.json`; None for nothing."""
    found: dict[str, Any] = {}
    if with_:
        found["with"] = [_digest(model_file(one)) for one in with_]
    if flip_average is not None:
        found["flip_average"] = flip_average
    if (several := [*dict.fromkeys(map(float, scales))]) not in ([], [1.0]):
        found["scales"] = several
    return found or None


def begin(
    folder: Path,
    file: Path,
    segmenter: Predictor,
    above: Sequence[Level],
    probabilities: bool,
    averaging: dict[str, Any] | None,
) -> None:
    """Makes the output folder, unless this very model has begun it in the same way. ConfigError for any other one."""
    digest = _digest(file)
    facts: dict[str, Any] = {"hash": digest}
    if segmenter.classes.depth > 1:
        facts |= {
            "selector": segmenter.selector,
            "levels": [{"level": level.number, "classes": level.classes.to_dict()} for level in above],
        }
    if probabilities:
        facts["probabilities"] = form(segmenter.classes)
    if segmenter.postprocessing:
        facts["postprocessing"] = segmenter.postprocessing.to_dict()
    if averaging:
        facts["averaging"] = averaging
    marker = folder / "model.json"
    if marker.exists():
        found = read_json(marker)
        if found.get("hash") != digest:
            raise ConfigError(f"{folder}: holds predictions of another model; choose another {argument('out')}")
        if found.get("averaging") != averaging:
            raise ConfigError(
                f"{folder}: holds predictions that were averaged in another way, or not at all; choose another "
                f"{argument('out')}"
            )
        if probabilities != ("probabilities" in found):
            raise ConfigError(
                f"{folder}: holds predictions with{'out' * probabilities} {argument('probabilities')}; choose another "
                f"{argument('out')}"
            )
        if found.get("postprocessing") != facts.get("postprocessing"):
            raise ConfigError(
                f"{folder}: holds predictions with other post-processing, or without; choose another {argument('out')}"
            )
        if {key: found.get(key) for key in facts} != facts:
            raise ConfigError(
                f"{folder}: holds predictions with another {argument('selector')} or {argument('levels')}; "
                f"choose another {argument('out')}"
            )
        return
    # A kill while the marker was written leaves no more than its unfinished file.
    if not folder.is_dir() or any(not path.name.startswith(STAGING_PREFIX) for path in folder.iterdir()):
        require_absent(folder)
    atomic_write_json(marker, {"model": str(file.resolve()), "classes": segmenter.classes.to_dict(), **facts})


def _digest(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
