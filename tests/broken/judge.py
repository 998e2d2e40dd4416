"""Opens, audits and converts a broken folder, and holds what is said against the verdict of the row."""

from __future__ import annotations

import re
import shutil
import time
from functools import lru_cache
from pathlib import Path

import numpy as np

from broken.table import Row
from helpers import fingerprint
from maskwright.core.dataset import Dataset
from maskwright.data.auditing import audit
from maskwright.data.convert import convert
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, MaskwrightError

_SEVERITY = {"error": "error", "warning": "warning", "note": "info"}
_SECONDS = 20.0  # for a row; a hundred times what most take, for slow and busy machines
_LONGEST = 1510  # of a message; its middle is left out beyond


def judge(row: Row, good: Path, place: Path) -> None:
    """Breaks a copy of `good` below `place`, and asserts the verdict of the row and that not a byte is changed."""
    folder = place / "data"
    shutil.copytree(good, folder, symlinks=True)
    made = row.breaks(folder)
    target = made if isinstance(made, Path) and row.place == "archive" else folder
    before = fingerprint(place)
    began = time.monotonic()
    try:
        if row.place == "archive":
            _check_archive(row, target)
        else:
            _check_dataset(row, good, load_dataset(folder))
        raised = None
    except MaskwrightError as error:
        raised = error
    assert time.monotonic() - began < _SECONDS
    assert fingerprint(place) == before
    if row.verdict == "refused":
        assert raised is not None
        check_refusal(row, raised, target)
    else:
        assert raised is None, raised


def check_refusal(row: Row, error: MaskwrightError, target: Path) -> None:
    """Lines that name the file and say what to do, one of them in the words of the row."""
    assert error.exit_code == row.code and isinstance(error, DataError | ConfigError)
    lines = error.problems if isinstance(error, ConfigError) else [str(error)]
    assert any(row.says in line for line in lines), lines
    for line in lines:
        assert line.isprintable() and len(line) < _LONGEST, line
        # Names that are no text are shown as ASCII.
        assert str(target) in line and re.search("; |should |and only", line), line


def _check_dataset(row: Row, good: Path, dataset: Dataset) -> None:
    new = [finding for finding in audit(dataset, progress=False).findings if finding.message not in _known(good)]
    said = [(finding.severity.label, finding.code, finding.message) for finding in new]
    fitting = [
        finding
        for finding in new
        if row.says in finding.message and finding.severity.label == _SEVERITY.get(row.verdict)
    ]
    assert fitting, said
    assert all(finding.message.isprintable() and len(finding.message) < _LONGEST for finding in new), said
    if fitting[0].code.startswith("annotation."):
        out = dataset.root.with_name("out")
        assert fitting[0] in convert(dataset, out, to="index", images=False, progress=False).lost
        shutil.rmtree(out)
    masks, unbroken = _masks(dataset), _masks_of_good(good)
    if row.changes:
        assert masks != unbroken
        return
    # What is broken cannot be read; all the rest is as it was.
    assert None in masks.values() or row.verdict != "error", said
    assert {name: unbroken.get(name) for name, mask in masks.items() if mask} == {
        name: mask for name, mask in masks.items() if mask
    }


def _check_archive(row: Row, archive: Path) -> None:
    """Only `convert` takes archives."""
    out = archive.with_name("out")
    certificate = convert(archive, out, to="index", progress=False)
    shutil.rmtree(out)
    assert row.verdict == "error"
    assert any(row.says in why and str(archive) in why for why in certificate.left_out.values()), certificate


def _masks(dataset: Dataset) -> dict[str, bytes | None]:
    """The masks, by the names of classes, for the names of samples; None for those that cannot be read, empty for
    samples without one."""
    names = np.array([*dataset.classes.names, *["?"] * (256 - len(dataset.classes))], "U20")
    found: dict[str, bytes | None] = {}
    for sample in dataset.samples:
        try:
            found[sample.name] = names[dataset.read(sample)[1]].tobytes() if sample.labelled else b""
        except DataError:
            found[sample.name] = None
    return found


@lru_cache
def _masks_of_good(good: Path) -> dict[str, bytes | None]:
    return _masks(load_dataset(good))


@lru_cache
def _known(good: Path) -> set[str]:
    """What the audit says of a good folder."""
    return {finding.message for finding in audit(good, progress=False).findings}
