"""Maskwright: from a folder of images with few and imperfect masks to a segmentation model that can be trusted.

The verbs of the command line are functions here, imported when they are first used, so that
`import maskwright` is light and needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from maskwright.config import load_config as load_config
    from maskwright.core.edits import edits as edits
    from maskwright.data.convert import convert as convert
    from maskwright.data.opening import init as init
    from maskwright.data.opening import load_dataset as load_dataset
    from maskwright.data.splitting.split import split as split
    from maskwright.demonstration.demo import demo as demo
    from maskwright.diagnosis import doctor as doctor
    from maskwright.evaluation.comparing import compare as compare
    from maskwright.evaluation.curves.finding import read_curves as read_curves
    from maskwright.evaluation.scoring.evaluate import evaluate as evaluate
    from maskwright.inference.predict import load as load
    from maskwright.inference.predict import predict as predict
    from maskwright.labels.suspecting.applying import apply_proposals as apply_proposals
    from maskwright.reporting import report as report
    from maskwright.reporting.plots import plot as plot
    from maskwright.reporting.preview import preview as preview
    from maskwright.studies.matrix import load_study as load_study
    from maskwright.studies.status import study_status as study_status
    from maskwright.studies.study import study as study
    from maskwright.training.tracking.delivery.sync import sync as sync
    from maskwright.training.train import resume as resume
    from maskwright.training.train import train as train
    from maskwright.verbs.audit import audit as audit
    from maskwright.verbs.decide import decide as decide
    from maskwright.verbs.explain import explain as explain
    from maskwright.verbs.plan import plan as plan
    from maskwright.verbs.suspects import suspects as suspects

_HOMES = {
    "apply_proposals": "labels.suspecting.applying",
    "audit": "verbs.audit",
    "compare": "evaluation.comparing",
    "convert": "data.convert",
    "decide": "verbs.decide",
    "demo": "demonstration.demo",
    "doctor": "diagnosis",
    "edits": "core.edits",
    "evaluate": "evaluation.scoring.evaluate",
    "explain": "verbs.explain",
    "init": "data.opening",
    "load": "inference.predict",
    "load_config": "config",
    "load_dataset": "data.opening",
    "load_study": "studies.matrix",
    "plan": "verbs.plan",
    "plot": "reporting.plots",
    "predict": "inference.predict",
    "preview": "reporting.preview",
    "read_curves": "evaluation.curves.finding",
    "report": "reporting",
    "resume": "training.train",
    "split": "data.splitting.split",
    "study": "studies.study",
    "study_status": "studies.status",
    "suspects": "verbs.suspects",
    "sync": "training.tracking.delivery.sync",
    "train": "training.train",
}
__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'maskwright' has no attribute {name!r}")
    return getattr(importlib.import_module(f"maskwright.{_HOMES[name]}"), name)
