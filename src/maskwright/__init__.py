"""Maskwright: from a folder of images with few and imperfect masks to a segmentation model that can be trusted.

The verbs of the command line are functions here. These, what they take and return, and the errors that they raise are
imported when they are first used, so that `import maskwright` is light and needs no torch. Two lists hold each name, as
type checkers read no table; a test holds them together.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from maskwright.base.cluster import working_on as working_on
    from maskwright.config import RunConfig as RunConfig
    from maskwright.config import load_config as load_config
    from maskwright.core.classes import ClassTree as ClassTree
    from maskwright.core.dataset import Dataset as Dataset
    from maskwright.core.edits import EditsResult as EditsResult
    from maskwright.core.edits import edits as edits
    from maskwright.core.findings import Finding as Finding
    from maskwright.core.findings import Severity as Severity
    from maskwright.core.sample import Sample as Sample
    from maskwright.data.auditing import AuditResult as AuditResult
    from maskwright.data.certificate import Certificate as Certificate
    from maskwright.data.convert import convert as convert
    from maskwright.data.fetch import FetchResult as FetchResult
    from maskwright.data.fetch import fetch as fetch
    from maskwright.data.init import init as init
    from maskwright.data.init import labels_table as labels_table
    from maskwright.data.marking import set_status as set_status
    from maskwright.data.opening import load_dataset as load_dataset
    from maskwright.data.splitting.split import SplitResult as SplitResult
    from maskwright.data.splitting.split import split as split
    from maskwright.demonstration.demo import demo as demo
    from maskwright.diagnosis import DoctorReport as DoctorReport
    from maskwright.diagnosis import doctor as doctor
    from maskwright.errors import ConfigError as ConfigError
    from maskwright.errors import DataError as DataError
    from maskwright.errors import Interrupted as Interrupted
    from maskwright.errors import LockedError as LockedError
    from maskwright.errors import LostError as LostError
    from maskwright.errors import MaskwrightError as MaskwrightError
    from maskwright.errors import SetupError as SetupError
    from maskwright.evaluation.comparing import compare as compare
    from maskwright.evaluation.comparing.results import Comparison as Comparison
    from maskwright.evaluation.curves.curve import Curves as Curves
    from maskwright.evaluation.curves.finding import read_curves as read_curves
    from maskwright.evaluation.explaining.results import Explanation as Explanation
    from maskwright.evaluation.scoring.evaluate import evaluate as evaluate
    from maskwright.evaluation.scoring.evaluation import Evaluation as Evaluation
    from maskwright.inference.exporting.exported import ExportedModel as ExportedModel
    from maskwright.inference.loading import load as load
    from maskwright.inference.predict import predict as predict
    from maskwright.inference.predictions import Predictions as Predictions
    from maskwright.inference.serving.serve import serve as serve
    from maskwright.labels.choosing.results import NextResult as NextResult
    from maskwright.labels.deciding.results import Decision as Decision
    from maskwright.labels.refining.results import RefineResult as RefineResult
    from maskwright.labels.suspecting.applying import apply_proposals as apply_proposals
    from maskwright.labels.suspecting.results import SuspectsResult as SuspectsResult
    from maskwright.modeling.models.available import WeightsTable as WeightsTable
    from maskwright.modeling.models.available import weights as weights
    from maskwright.modeling.models.segmenter import Segmenter as Segmenter
    from maskwright.reporting.plots import Plots as Plots
    from maskwright.reporting.plots import plot as plot
    from maskwright.reporting.preview import preview as preview
    from maskwright.reporting.writing import report as report
    from maskwright.reviewing.importing import ImportResult as ImportResult
    from maskwright.reviewing.importing import import_edits as import_edits
    from maskwright.reviewing.review import review as review
    from maskwright.run import Run as Run
    from maskwright.studies.matrix import load_study as load_study
    from maskwright.studies.searching.search import search as search
    from maskwright.studies.searching.status import SearchStatus as SearchStatus
    from maskwright.studies.status import StudyStatus as StudyStatus
    from maskwright.studies.status import study_status as study_status
    from maskwright.studies.study import study as study
    from maskwright.training.tracking.delivery.sync import SyncResult as SyncResult
    from maskwright.training.tracking.delivery.sync import sync as sync
    from maskwright.training.train import resume as resume
    from maskwright.training.train import train as train
    from maskwright.verbs.audit import audit as audit
    from maskwright.verbs.decide import decide as decide
    from maskwright.verbs.explain import explain as explain
    from maskwright.verbs.export import ExportResult as ExportResult
    from maskwright.verbs.export import export as export
    from maskwright.verbs.next import next as next
    from maskwright.verbs.plan import plan as plan
    from maskwright.verbs.plan_refine import RefinePlan as RefinePlan
    from maskwright.verbs.plan_refine import plan_refine as plan_refine
    from maskwright.verbs.refine import refine as refine
    from maskwright.verbs.suspects import suspects as suspects
    from maskwright.verbs.tune import TuneResult as TuneResult
    from maskwright.verbs.tune import tune as tune

_VERBS = {
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
    "export": "verbs.export",
    "fetch": "data.fetch",
    "import_edits": "reviewing.importing",
    "init": "data.init",
    "load": "inference.loading",
    "load_config": "config",
    "labels_table": "data.init",
    "load_dataset": "data.opening",
    "load_study": "studies.matrix",
    "next": "verbs.next",
    "plan": "verbs.plan",
    "plan_refine": "verbs.plan_refine",
    "plot": "reporting.plots",
    "predict": "inference.predict",
    "preview": "reporting.preview",
    "read_curves": "evaluation.curves.finding",
    "refine": "verbs.refine",
    "report": "reporting.writing",
    "resume": "training.train",
    "review": "reviewing.review",
    "set_status": "data.marking",
    "serve": "inference.serving.serve",
    "split": "data.splitting.split",
    "search": "studies.searching.search",
    "study": "studies.study",
    "study_status": "studies.status",
    "suspects": "verbs.suspects",
    "sync": "training.tracking.delivery.sync",
    "train": "training.train",
    "tune": "verbs.tune",
    "weights": "modeling.models.available",
    "working_on": "base.cluster",
}
# What verbs take and return, and what they raise.
_NOUNS = {
    "AuditResult": "data.auditing",
    "Certificate": "data.certificate",
    "ClassTree": "core.classes",
    "Comparison": "evaluation.comparing.results",
    "ConfigError": "errors",
    "Curves": "evaluation.curves.curve",
    "DataError": "errors",
    "Dataset": "core.dataset",
    "Decision": "labels.deciding.results",
    "DoctorReport": "diagnosis",
    "EditsResult": "core.edits",
    "Evaluation": "evaluation.scoring.evaluation",
    "Explanation": "evaluation.explaining.results",
    "ExportResult": "verbs.export",
    "ExportedModel": "inference.exporting.exported",
    "FetchResult": "data.fetch",
    "Finding": "core.findings",
    "ImportResult": "reviewing.importing",
    "Interrupted": "errors",
    "LockedError": "errors",
    "LostError": "errors",
    "MaskwrightError": "errors",
    "NextResult": "labels.choosing.results",
    "Plots": "reporting.plots",
    "Predictions": "inference.predictions",
    "RefinePlan": "verbs.plan_refine",
    "RefineResult": "labels.refining.results",
    "Run": "run",
    "RunConfig": "config",
    "Sample": "core.sample",
    "Segmenter": "modeling.models.segmenter",
    "SetupError": "errors",
    "Severity": "core.findings",
    "SplitResult": "data.splitting.split",
    "SearchStatus": "studies.searching.status",
    "StudyStatus": "studies.status",
    "SuspectsResult": "labels.suspecting.results",
    "SyncResult": "training.tracking.delivery.sync",
    "TuneResult": "verbs.tune",
    "WeightsTable": "modeling.models.available",
}
_HOMES = _VERBS | _NOUNS
__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'maskwright' has no attribute {name!r}")
    try:
        home = importlib.import_module(f"maskwright.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        lacking = error
    else:
        return getattr(home, name)
    from maskwright.base.extras import require_train

    require_train(name)
    raise lacking


def __dir__() -> list[str]:
    return [*__all__, "__doc__", "__file__", "__name__", "__path__"]
