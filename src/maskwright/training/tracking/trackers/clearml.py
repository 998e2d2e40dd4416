"""ClearML: the server of `clearml-init`, or with `offline` a zip file for `clearml-task --import-offline-session`.

Addresses and keys are taken from where ClearML has them: ~/clearml.conf, or CLEARML_API_HOST,
CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskwright.base.storage import STAGING_PREFIX
from maskwright.training.tracking.trackers.base import TrackedRecord, TrackedRun, TrackedScores, Tracker

# A task of the user's own program is none of this process's business.
_FOREIGN = ("CLEARML_TASK_ID", "TRAINS_TASK_ID", "CLEARML_PROC_MASTER_ID", "TRAINS_PROC_MASTER_ID")
# Everything that ClearML would patch or look at by itself.
_HOOKS = (
    "catboost",
    "detect_repository",
    "fastai",
    "gradio",
    "hydra",
    "joblib",
    "jsonargparse",
    "lightgbm",
    "matplotlib",
    "megengine",
    "pytorch",
    "scikit",
    "tensorboard",
    "tensorflow",
    "tfdefines",
    "xgboost",
)


class ClearML(Tracker):
    """Hyperparameters, scalars by iteration, pictures; scores as single values.

    The server keeps one value for the same task, name and iteration, so repeated records count once. An offline
    session cannot be gone on with, so it is written as a whole.
    """

    package = "clearml"

    def __init__(self, project: str = "maskwright", offline: bool = False, artifacts: bool = False) -> None:
        super().__init__()
        self.project, self.offline, self.artifacts, self.anew = project, offline, artifacts, offline
        self._task: Any = None

    @property
    def where(self) -> str:
        """The task's page, or the zip file."""
        return str(self.state["where"])

    def open(self, facts: TrackedRun) -> None:
        """Finds the task by its key or makes it, with every hook of ClearML off."""
        self._staging, self._store = facts.folder / f"{STAGING_PREFIX}session", facts.folder / "session.zip"
        for name in _FOREIGN:
            os.environ.pop(name, None)
        os.environ |= {"CLEARML_LOG_LEVEL": "ERROR", "CLEARML_MAX_SERIES_PER_METRIC": "1000"}
        if self.offline:
            shutil.rmtree(self._staging, ignore_errors=True)
            os.environ |= {"CLEARML_CACHE_DIR": str(self._staging), "CLEARML_OFFLINE_MODE": "1"}
        from clearml import Task

        # By default reports go through a process more, which outlives this one, and closing waits seconds for it.
        Task._report_subprocess_enabled = False
        known = self.state.get("task_id")
        if not known and not self.offline:  # a session that was killed here may have made it already
            tasks = Task.get_tasks(project_name=self.project, tags=[facts.key])
            known = tasks[0].id if tasks else None
        self._task = Task.init(
            project_name=self.project,
            task_name=facts.name,
            task_type="training",
            tags=[facts.key],
            reuse_last_task_id=known or False,
            continue_last_task=0 if known else False,
            output_uri=False,
            auto_connect_arg_parser=False,
            auto_connect_frameworks=dict.fromkeys(_HOOKS, False),
            auto_resource_monitoring=False,
            auto_connect_streams=False,
        )
        self._task.set_parameters(
            {f"General/{key}": value for key, value in facts.params.items()}
            | {f"Run/{key}": value for key, value in facts.tags.items()}
        )
        self.state = {
            "task_id": self._task.id,
            "where": str(self._store) if self.offline else self._task.get_output_log_web_page(),
        }

    def send(self, records: Sequence[TrackedRecord], at: float) -> None:
        """Reports scalars and pictures; names with `/` become title and series."""
        logger = self._task.get_logger()
        for record in records:
            for name, value in record.values.items():
                title, _, series = name.partition("/")
                logger.report_scalar(title, series or title, value, record.iteration)
            if record.picture:
                logger.report_image("samples", "validation", record.iteration, local_path=str(record.picture))
        self._flush()

    def score(self, scores: TrackedScores) -> None:
        """Single values named `SPLIT/…`; the newest evaluation counts."""
        for name, value in scores.values.items():
            self._task.get_logger().report_single_value(f"{scores.split}/{name}", value)
        self._flush()

    def _flush(self) -> None:
        if not self.offline:
            self._task.flush(wait_for_uploads=True)
            self._task.reload()  # flushing says nothing about a server that is gone; this raises

    def close(self, finished: bool, best: Path | None) -> None:
        """Ends the task; an offline session is moved beside the run."""
        if best is not None:
            self._task.set_parameter("Run/best_checkpoint", str(best))
            if self.artifacts and finished:
                self._task.upload_artifact("best_checkpoint", str(best), wait_on_upload=True)
        if not finished:
            self._task.mark_stopped(status_message="training was stopped")
        self._task.close()
        if self.offline:
            (session,) = (self._staging / "offline").glob("*.zip")
            os.replace(session, self._store)
            shutil.rmtree(self._staging, ignore_errors=True)
