"""The verb `study`: trains and scores every run of a study, and resumes one that was stopped or killed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maskwright.base.extras import require_train
from maskwright.base.progress import say
from maskwright.base.stopping import graceful
from maskwright.base.storage import exclusive_lock
from maskwright.base.systems import require_posix
from maskwright.config import RunConfig
from maskwright.core.dataset import Dataset
from maskwright.errors import ConfigError, Interrupted, LockedError, argument
from maskwright.studies.checking import check_runs, check_versions, splits_to_score
from maskwright.studies.decoding import decode
from maskwright.studies.folder import Study
from maskwright.studies.matrix import StudyEntry, load_study
from maskwright.studies.pool import run_all, threads_of
from maskwright.studies.progress_table import shown_progress
from maskwright.studies.status import StudyStatus, study_status

_MEASURED = ("precision", "channels_last", "threads")  # keys of `train` that a training measures when left to it


def study(
    file: str | Path,
    *,
    workers: int = 1,
    out: str | Path | None = None,
    retry: bool = False,
    overrides: Sequence[str] = (),
    device: str | None = None,
) -> StudyStatus:
    """Trains and scores every run of the study that `file` describes, `workers` of them at a time.

    `file` is a `study.yaml`, or the folder of a study to resume. The study goes to `out`, or to `studies/NAME`
    beside the file. Where it is there already it is resumed: what has finished is kept, what was stopped is resumed
    exactly, what has failed is left alone unless `retry` is given, and runs that are new in the file are added.
    `overrides` are settings of the base for all runs, such as `train.iterations=100`; they belong to the study. Every
    run's config, dataset, model and loss is checked before the first training. Runs that fail do not end the others;
    the result tells them. `device` is that of `train` for all; of several GPUs `auto` and `cuda` give each worker
    its own. Raises Interrupted on Ctrl-C or SIGTERM, with the state of every run saved, LockedError
    when another process works on the study, ConfigError, DataError and SetupError for what is found before.
    """
    require_train("study")
    require_posix("study")
    if workers < 1:
        raise ConfigError(f"{argument('workers')}: {workers} given; at least 1 is needed")
    from maskwright.modeling.models.devices import device_of

    device = device_of(device)
    source, path = Study.places(Path(file), out)
    matrix = load_study(source, overrides)
    datasets = check_runs([entry.config for entry in matrix.entries])
    evaluate = splits_to_score(matrix.config.evaluate, datasets.values())
    matrix = replace(matrix, config=matrix.config.model_copy(update={"evaluate": evaluate}))
    found = Study(path)
    say(f"study folder: {path}")
    if not found.file.is_file():
        found.begin(matrix)
    with exclusive_lock(path):
        found.extend(matrix)
        _work(found, matrix.entries, datasets, workers, retry, device)
        status = study_status(path)
        if not status.exit_code:
            shutil.rmtree(found.decoded, ignore_errors=True)
    say(
        "\n".join(
            [
                *(run.human() for run in status.runs if run.state != "finished"),
                status.summary(),
                f"study folder: {path}",
            ]
        )
    )
    return status


def _work(
    study: Study, entries: Sequence[StudyEntry], datasets: dict[str, Dataset], workers: int, retry: bool, device: str
) -> None:
    """Brings the runs that are left to an end."""
    before = {run.name: run for run in study_status(study.path).runs}
    left = [
        entry
        for entry in entries
        if before[entry.name].state != "finished" and (retry or not before[entry.name].reason)
    ]
    for run in before.values():
        if run.reason and not retry:
            say(f"{run.name}: has failed and is left alone; {argument('retry')} tries it again")
    if not left:
        return
    versions = check_versions(study, {entry.name: entry.config for entry in entries}, datasets)
    workers = min(workers, len(left))
    threads = threads_of(workers)
    say(f"{len(left)} of {len(entries)} runs are left; {workers} at a time, {threads} threads each")
    for note in notes([entry.config for entry in left], workers):
        say(f"note: {note}")

    def ended(name: str, code: int) -> None:
        known = (0, Interrupted.exit_code, LockedError.exit_code)
        if code > 0 and code not in known and not study.failure(name):
            study.fail(name, 1, f"its process ended with exit code {code}; see {study.log(name)}")
        status = study_status(study.path)
        killed = f"  its process was killed by signal {-code}" if code < 0 else ""
        say(next(run for run in status.runs if run.name == name).human() + killed)

    go_on = f"resume with `maskwright study {study.path}`"
    try:
        decode(study, [entry.config for entry in left], datasets, versions)
    except KeyboardInterrupt:
        raise Interrupted(f"{study.path}: stopped before the first training; {go_on}") from None
    with graceful() as stop, shown_progress(lambda: study_status(study.path)) as tick:
        names = iter([entry.name for entry in left])
        run_all(study, lambda: next(names, None), workers, threads, stop.is_set, ended, tick, device)
        status = study_status(study.path)
        if stop.is_set() and status.states.keys() - {"finished", "failed"}:
            raise Interrupted(f"{study.path}: stopped, every run has saved its state ({status.summary()}); {go_on}")


def notes(configs: Sequence[RunConfig], workers: int) -> list[str]:
    """What makes runs less comparable than they look, when several are trained at the same time."""
    found = []
    if workers > 1 and any(config.train.budget for config in configs):
        found.append(
            f"train.budget is wall time beside {workers - 1} other trainings, so a run's iterations depend on "
            "them; train.iterations is the same work for every run"
        )
    if workers > 1 and any(getattr(config.train, key) in ("auto", None) for config in configs for key in _MEASURED):
        found.append(
            "what a training measures when it starts is measured beside others; the bytes of a run do not "
            f"depend on the number of workers when train.{', '.join(_MEASURED)} are given in the base"
        )
    return found
