"""MLflow: a tracking server, or a database beside the run where none is named.

User, password and token are taken from where MLflow has them: MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD,
MLFLOW_TRACKING_TOKEN, or ~/.mlflow/credentials.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from maskwright.training.tracking.trackers.base import TrackedRecord, TrackedRun, TrackedScores, Tracker, check_uri

_KEY = "maskwright.key"
# MLflow's own limits of one request, and of the text of a param.
_METRICS, _PARAMS, _TEXT = 1000, 100, 6000
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # By default a server that does not answer is waited for with growing pauses, for minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}


class MLflow(Tracker):
    """Params, tags, metrics by step and pictures; the best model too with `artifacts`.

    `uri` may be left out: then MLFLOW_TRACKING_URI counts, else a database in RUN/trackers/mlflow. MLflow keeps
    one row for metrics that are equal in name, step, value and time, so repeated records count once.
    """

    package = "mlflow"

    def __init__(self, uri: str | None = None, experiment: str = "maskwright", artifacts: bool = False) -> None:
        super().__init__()
        self.uri = check_uri(
            uri, ("http", "https", "sqlite"), "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
        )
        self.experiment, self.artifacts = experiment, artifacts

    @property
    def where(self) -> str:
        """The run's page on the server, or the database."""
        where = re.sub("://[^/@]+@", "://", self._uri)  # the environment's may hold a password
        if where.startswith("http"):
            where += f"/#/experiments/{self.state['experiment_id']}/runs/{self.state['run_id']}"
        return where + (f", without pictures ({self.state['no_files']})" if "no_files" in self.state else "")

    def open(self, facts: TrackedRun) -> None:
        """Finds the run by its key or makes it. A run that is resumed is set to RUNNING."""
        os.environ.update(_ENVIRONMENT)
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._uri = (self.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{facts.folder}/mlflow.db").rstrip(
            "/"
        )
        self._client = MlflowClient(tracking_uri=self._uri)
        if self.state:
            self._client.update_run(self.state["run_id"], status="RUNNING")
            return
        experiment = self._client.get_experiment_by_name(self.experiment)
        # Beside a database, files of runs would go to the folder that one happens to be in.
        store = None if self._uri.startswith("http") else (facts.folder / "artifacts").as_uri()
        where = (
            experiment.experiment_id
            if experiment
            else self._client.create_experiment(self.experiment, artifact_location=store)
        )
        # A session that was killed here may have made it already.
        found = self._client.search_runs([where], filter_string=f"tags.`{_KEY}` = '{facts.key}'", max_results=1)
        run = (
            found[0]
            if found
            else self._client.create_run(
                where, start_time=round(facts.started * 1000), tags={**facts.tags, _KEY: facts.key}, run_name=facts.name
            )
        )
        params = [Param(allowed_name(key), str(value)[:_TEXT]) for key, value in facts.params.items()]
        for part in _parts(params, _PARAMS):
            self._client.log_batch(run.info.run_id, params=part)
        self.state = {"experiment_id": where, "run_id": run.info.run_id}

    def send(self, records: Sequence[TrackedRecord], at: float) -> None:
        """Logs values in batches, then pictures as `samples/ITERATION.png`.

        A server whose file store cannot be used from here (no rights, no library for it) gets no more pictures.
        """
        self._log([(name, value, record.iteration) for record in records for name, value in record.values.items()], at)
        try:
            for record in records:
                if record.picture and "no_files" not in self.state:
                    self._client.log_artifact(self.state["run_id"], str(record.picture), "samples")
        except Exception as error:
            self._client.get_run(self.state["run_id"])  # raises when it is the server that is gone
            self.state["no_files"] = str(error).splitlines()[0][:100]

    def score(self, scores: TrackedScores) -> None:
        """Metrics named `SPLIT/…`, at the number of the evaluation."""
        self._log(
            [(f"{scores.split}/{name}", value, scores.number) for name, value in scores.values.items()], scores.at
        )

    def close(self, finished: bool, best: Path | None) -> None:
        """Sets the status, names the best model, and uploads it if asked for."""
        run_id = self.state["run_id"]
        if best is not None:
            self._client.set_tag(run_id, "best_checkpoint", str(best))
            if self.artifacts and finished:
                self._client.log_artifact(run_id, str(best), "checkpoints")
        self._client.set_terminated(run_id, "FINISHED" if finished else "KILLED")

    def _log(self, values: Sequence[tuple[str, float, int]], at: float) -> None:
        from mlflow.entities import Metric

        for part in _parts(values, _METRICS):
            metrics = [Metric(allowed_name(name), value, round(at * 1000), step) for name, value, step in part]
            self._client.log_batch(self.state["run_id"], metrics=metrics)


def _parts(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def allowed_name(name: str) -> str:
    """With `_` for what MLflow does not take in names."""
    return re.sub(r"[^/\w.\- ]", "_", name)[:250]
