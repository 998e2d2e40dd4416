"""Weights & Biases: its service, a server of one's own, or with `offline` a folder for `wandb sync`.

The API key is taken from where wandb has it: `wandb login`, or WANDB_API_KEY.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskwright.base.storage import STAGING_PREFIX
from maskwright.training.tracking.trackers.base import TrackedRecord, TrackedRun, TrackedScores, Tracker, check_uri

# A run of the user's own program is none of this process's business.
_FOREIGN = ("WANDB_SERVICE", "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_SWEEP_ID", "WANDB_DIR", "WANDB_MODE")
_SECONDS = 20


class WeightsAndBiases(Tracker):
    """Config, history by step, pictures; scores as summary; the best model as a file of the run with `artifacts`.

    wandb has a spool of its own and says only at the end whether all has arrived, so a session that was cut off is
    sent again as a whole: the run has the same id, and wandb drops steps that it has.
    """

    package = "wandb"
    anew = True

    def __init__(
        self,
        uri: str | None = None,
        project: str = "maskwright",
        entity: str | None = None,
        offline: bool = False,
        artifacts: bool = False,
    ) -> None:
        super().__init__()
        self.uri = check_uri(uri, ("http", "https"), "run `wandb login`, or set WANDB_API_KEY")
        self.project, self.entity, self.offline, self.artifacts = project, entity, offline, artifacts
        self._run: Any = None

    @property
    def where(self) -> str:
        """The run's page, or the folder for `wandb sync`."""
        return str(self.state["where"])

    def open(self, facts: TrackedRun) -> None:
        """Starts a session in a folder of its own, with everything off that looks at the machine or the program."""
        for name in _FOREIGN:
            os.environ.pop(name, None)
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        import wandb

        self._staging = facts.folder / f"{STAGING_PREFIX}session"
        self._store = facts.folder / f"offline-run-{facts.key}"
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staging.mkdir()
        settings = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
            init_timeout=_SECONDS,
            login_timeout=_SECONDS,
            finish_timeout=_SECONDS,
            finish_timeout_raises=True,
            **({"base_url": self.uri} if self.uri else {}),
        )
        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            id=facts.key,
            name=facts.name,
            dir=self._staging,
            config={**facts.params, **{f"run.{key}": value for key, value in facts.tags.items()}},
            mode="offline" if self.offline else "online",
            resume=None if self.offline else "allow",
            reinit="create_new",
            settings=settings,
        )
        self.state = {"where": str(self._store) if self.offline else self._run.url}

    def send(self, records: Sequence[TrackedRecord], at: float) -> None:
        """Logs one row a record; rows of the same step become one."""
        import wandb

        for record in records:
            row: dict[str, Any] = dict(record.values)
            if record.picture:
                row["samples"] = wandb.Image(str(record.picture))
            self._run.log(row, step=record.iteration)

    def score(self, scores: TrackedScores) -> None:
        """Summary values named `SPLIT/…`; the newest evaluation counts."""
        self._run.summary.update({f"{scores.split}/{name}": value for name, value in scores.values.items()})

    def close(self, finished: bool, best: Path | None) -> None:
        """Waits until everything has arrived. TimeoutError when it has not."""
        if best is not None:
            self._run.summary["best_checkpoint"] = str(best)
            if self.artifacts and finished:
                self._run.save(str(best), base_path=str(best.parent), policy="now")
        self._run.finish(exit_code=0 if finished else 1)
        if self.offline:
            (session,) = (self._staging / "wandb").glob("offline-run-*")
            shutil.rmtree(self._store, ignore_errors=True)
            session.rename(self._store)
        shutil.rmtree(self._staging, ignore_errors=True)
