"""The verb `search`: trials of a config with values that Optuna chooses from a space, and what the best of them is
worth."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from maskwright.base.extras import require_search, require_train
from maskwright.base.progress import say
from maskwright.base.stopping import graceful
from maskwright.base.storage import atomic_write_json, atomic_write_text, patient_lock
from maskwright.base.systems import require_posix
from maskwright.base.texts import clock, plural
from maskwright.config import BestConfig, RunConfig, seconds_argument
from maskwright.core.dataset import Dataset
from maskwright.errors import ConfigError, Interrupted, argument
from maskwright.evaluation.comparing import compare
from maskwright.evaluation.metrics.marginals import SCORES
from maskwright.evaluation.scoring.evaluation import newest
from maskwright.run import Run
from maskwright.studies.checking import check_runs, check_versions
from maskwright.studies.decoding import decode
from maskwright.studies.pool import run_all, threads_of
from maskwright.studies.searching.folder import Search
from maskwright.studies.searching.sampling import opened
from maskwright.studies.searching.space import Space, load_search
from maskwright.studies.searching.status import SearchStatus, TrialStatus
from maskwright.studies.searching.trials import Trials
from maskwright.studies.study import notes

if TYPE_CHECKING:
    import optuna

# Trials that a statement about the importance of keys needs.
_FEW = 10


def search(
    file: str | Path,
    *,
    workers: int = 1,
    out: str | Path | None = None,
    trials: int | None = None,
    time: str | None = None,
    overrides: Sequence[str] = (),
    device: str | None = None,
) -> SearchStatus:
    """Tries values for keys of a config, `workers` trainings at a time, and writes the config of the best trial.

    `file` is a `search.yaml`, or the folder of a search to resume. The search goes to `out`, or to `searches/NAME`
    beside the file. Where it is there already it goes on: trials that were stopped or killed are resumed exactly.
    `trials` and `time` take the place of what the file says; `overrides` are settings of its base, such as
    `train.iterations=100`. The same call in several processes, on machines that share the folder and the storage, makes
    one search of all. Every choice and both ends of every range are checked
    before the first training.

    A trial is a run that is scored on the validation split; one that is ended early says why in its run and can be
    resumed. Only the best trial is scored on the test split, when the search is complete. The folder is also a folder
    of runs for `compare`, `report` and `plot`. `device` is that of `train`.

    Raises Interrupted on Ctrl-C or SIGTERM with the state of every run saved, SetupError without the extra `search` and
    for a storage that cannot be used, ConfigError and DataError for what is found before.
    """
    require_train("search")
    require_search()
    require_posix("search")
    for name, number in (("workers", workers), ("trials", trials)):
        if number is not None and number < 1:
            raise ConfigError(f"{argument(name)}: {number} given; at least 1 is needed")
    if time is not None:
        seconds_argument("time", time)
    from maskwright.modeling.models.devices import device_of

    device = device_of(device)
    source, path = Search.places(Path(file), out)
    space = load_search(source, overrides)
    length = {key: value for key, value in {"trials": trials, "time": time}.items() if value is not None}
    config = space.config.model_copy(update=length)
    corners = [space.run_config(chosen) for chosen in space.corners()]
    datasets = check_runs(corners)
    found = Search(path)
    say(f"search folder: {path}")
    space = found.begin(config)
    with opened(found, space.config, space.best.lower_is_better) as study:
        led = _work(found, space, study, corners, datasets, workers, device)
        with patient_lock(found.path):  # of the processes that end together one looks after the other
            result = led.status()
            if result.best is not None:
                data = datasets[corners[0].data.root]
                result = _concluded(found, study, result, space.best, data, device)
                atomic_write_json(found.result_file, result.to_dict())
            if result.complete:
                shutil.rmtree(found.decoded, ignore_errors=True)
    say(f"{result.summary()}\nsearch folder: {path}")
    return result


def _work(
    found: Search,
    space: Space,
    study: optuna.Study,
    corners: Sequence[RunConfig],
    datasets: dict[str, Dataset],
    workers: int,
    device: str,
) -> Trials:
    """Brings the search to its end."""
    threads = threads_of(workers)
    for note in notes(corners, workers):
        say(f"note: {note}")
    go_on = f"resume with `maskwright search {shlex.quote(str(found.path))}`"
    try:
        with patient_lock(found.path):  # others that begin now find it decoded
            known = {name: found.run_config(name) for name in found.prepared}
            decode(found, corners, datasets, check_versions(found, known, datasets))
    except KeyboardInterrupt:
        raise Interrupted(f"{found.path}: stopped before the next training; {go_on}") from None
    with graceful() as stop:
        trials = Trials(found, space, study, stop.is_set)
        with trials.leading():
            run_all(
                found,
                trials.next_run,
                workers,
                threads,
                stop.is_set,
                trials.ended,
                trials.look,
                device,
                trials.unwanted,
            )
        if stop.is_set():
            summary = trials.status().summary()
            raise Interrupted(f"{found.path}: stopped, every run has saved its state ({summary}); {go_on}")
        return trials


def _concluded(
    found: Search, study: optuna.Study, result: SearchStatus, best: BestConfig, data: Dataset, device: str
) -> SearchStatus:
    """The result with what the best trial is worth; its config is written."""
    winner = result.best
    assert winner is not None
    ranked = result.ranked
    result = replace(result, importance=_importance(study) if len(ranked) >= _FEW else {})
    usual = best.class_ is None and best.level is None and not best.without_background
    if usual and best.score in SCORES and len(ranked) > 1:
        compared = compare([trial.run for trial in ranked], split="val", score=best.score)
        optimisms = [finding.evidence.get("optimism") for finding in compared.findings if finding.evidence]
        optimism = next((value for value in optimisms if value is not None), None)
        result = replace(result, optimism=None if optimism is None else round(optimism, 4))
    if result.complete and any(sample.labelled for sample in data.splits.get("test", ())):
        result = replace(result, test=_test_scores(Run(winner.run), device))
    atomic_write_text(found.best_file, _best_text(found, result, winner))
    return replace(result, best_config=found.best_file)


def _importance(study: optuna.Study) -> dict[str, float]:
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    try:
        return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0)))
    except (RuntimeError, ValueError):  # all scores are equal, or no key is in all trials
        return {}


def _test_scores(run: Run, device: str) -> dict[str, Any]:
    from maskwright.evaluation.scoring.evaluate import evaluate

    return (newest(run, "test") or evaluate(run, split="test", device=device)).to_dict()


def _best_text(found: Search, result: SearchStatus, winner: TrialStatus) -> str:
    """The config of the best trial, with what is known about it."""
    optimism = f" (too high by about {result.optimism:.4f})" if result.optimism else ""
    lines = [
        f"# {winner.name} of {plural(len(result.trials), 'trial')} of `maskwright search` in {clock(result.seconds)}: "
        f"validation {result.score} {winner.score:.4f}{optimism}.",
        "# Chosen by the search:",
        *(
            f"#   {key}: {value}"
            + (
                f"  ({100 * result.importance[key]:.0f} % of the differences between trials)"
                if key in result.importance
                else ""
            )
            for key, value in winner.values.items()
        ),
    ]
    config = yaml.safe_dump(found.run_config(winner.name).to_dict(), sort_keys=False, allow_unicode=True)
    return "\n".join(lines) + "\n" + config
