"""Maskwright: from a folder of images with few and imperfect masks to a segmentation model that can be trusted.

The verbs of the command line are functions here, imported when they are first used, so that
`import maskwright` is light and needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from maskwright.comparing import compare as compare
    from maskwright.config import load_config as load_config
    from maskwright.core.edits import edits as edits
    from maskwright.curves.finding import read_curves as read_curves
    from maskwright.deciding import decide as decide
    from maskwright.delivery.sync import sync as sync
    from maskwright.demonstration import demo as demo
    from maskwright.diagnosis import doctor as doctor
    from maskwright.formats.conversion import convert as convert
    from maskwright.formats.opening import init as init
    from maskwright.formats.opening import load_dataset as load_dataset
    from maskwright.planning import plan as plan
    from maskwright.prediction.evaluate import evaluate as evaluate
    from maskwright.prediction.predict import load as load
    from maskwright.prediction.predict import predict as predict
    from maskwright.reporting import report as report
    from maskwright.reporting.plots import plot as plot
    from maskwright.reporting.preview import preview as preview
    from maskwright.results.audit import audit as audit
    from maskwright.results.explain import explain as explain
    from maskwright.results.suspects import suspects as suspects
    from maskwright.splitting.assign import split as split
    from maskwright.studying.matrix import load_study as load_study
    from maskwright.studying.running import study as study
    from maskwright.studying.status import study_status as study_status
    from maskwright.suspecting.applying import apply_proposals as apply_proposals
    from maskwright.training.train import resume as resume
    from maskwright.training.train import train as train

_HOMES = {
    "apply_proposals": "suspecting.applying", "audit": "results.audit", "compare": "comparing",
    "convert": "formats.conversion", "decide": "deciding", "demo": "demonstration", "doctor": "diagnosis",
    "edits": "core.edits", "evaluate": "prediction.evaluate", "explain": "results.explain",
    "init": "formats.opening", "load": "prediction.predict", "load_config": "config",
    "load_dataset": "formats.opening", "load_study": "studying.matrix", "plan": "planning", "plot": "reporting.plots",
    "predict": "prediction.predict", "preview": "reporting.preview", "read_curves": "curves.finding",
    "report": "reporting", "resume": "training.train", "split": "splitting.assign", "study": "studying.running",
    "study_status": "studying.status", "suspects": "results.suspects", "sync": "delivery.sync",
    "train": "training.train",
}
__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'maskwright' has no attribute {name!r}")
    return getattr(importlib.import_module(f"maskwright.{_HOMES[name]}"), name)
