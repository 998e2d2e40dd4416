"""Where Optuna notes the trials of a search, and what it chooses and ends them by: a table of each, a row a name."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from maskwright.base.extras import require_search
from maskwright.base.quiet import silence
from maskwright.base.storage import patient_lock
from maskwright.errors import ConfigError, SetupError
from maskwright.studies.searching.folder import Search
from maskwright.studies.searching.space import PrunerConfig, SamplerConfig, SearchConfig

if TYPE_CHECKING:
    import optuna

# Steps that a trial's training is divided into, whatever its iterations: trials are compared at the same share.
STEPS = 100


def _tpe(seed: int, trials: int) -> Any:
    from optuna.samplers import TPESampler

    # A seed for each trial: a search that was killed goes on as it would have.
    return TPESampler(seed=seed + trials, multivariate=True, group=True, constant_liar=True)


def _random(seed: int, trials: int) -> Any:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed + trials)


def _qmc(seed: int, trials: int) -> Any:
    from optuna.samplers import QMCSampler, RandomSampler

    return QMCSampler(seed=seed, scramble=True, independent_sampler=RandomSampler(seed=seed + trials))


def _median(config: PrunerConfig) -> Any:
    from optuna.pruners import MedianPruner

    warmup = 0.2 if config.warmup is None else config.warmup
    return MedianPruner(n_startup_trials=config.startup or 5, n_warmup_steps=round(STEPS * warmup))


def _halving(config: PrunerConfig) -> Any:
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=STEPS // 10, reduction_factor=config.factor or 3)


def _hyperband(config: PrunerConfig) -> Any:
    from optuna.pruners import HyperbandPruner

    return HyperbandPruner(min_resource=STEPS // 10, max_resource=STEPS, reduction_factor=config.factor or 3)


def _none(config: PrunerConfig) -> Any:
    from optuna.pruners import NopPruner

    return NopPruner()


SAMPLERS: dict[str, Callable[[int, int], Any]] = {"tpe": _tpe, "random": _random, "qmc": _qmc}
PRUNERS: dict[str, Callable[[PrunerConfig], Any]] = {
    "median": _median,
    "halving": _halving,
    "hyperband": _hyperband,
    "none": _none,
}


def sampler(config: SamplerConfig, trials: int) -> Any:
    """What chooses the values of the trial that comes after so many `trials`."""
    return SAMPLERS[config.name](config.seed, trials)


@contextmanager
def opened(search: Search, config: SearchConfig, lower_is_better: bool) -> Iterator[optuna.Study]:
    """The trials of a search. SetupError for a storage that cannot be reached, also later; ConfigError where another
    search has the name in a database."""
    require_search()
    import optuna

    logger = logging.getLogger("optuna")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        # Of what it calls experimental, it warns in the name of who makes it.
        silence(rf"optuna\.|{re.escape(__name__)}", optuna.exceptions.ExperimentalWarning)
        with _reached(config.storage):
            with patient_lock(search.path):  # two processes must not make the tables of one storage at once
                storage = _storage(search, config.storage)
            try:
                study = optuna.create_study(
                    storage=storage,
                    study_name=config.name,
                    direction="minimize" if lower_is_better else "maximize",
                    pruner=PRUNERS[config.pruner.name](config.pruner),
                    load_if_exists=True,
                )
                _require_own(study, search, config)
                yield study
            finally:
                if isinstance(storage, optuna.storages.RDBStorage):
                    storage.remove_session()
                    storage.engine.dispose()
    finally:
        logger.setLevel(before)


def _storage(search: Search, name: str) -> Any:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if name == "sqlite":
        return RDBStorage(f"sqlite:///{search.path.absolute() / 'trials.db'}")
    if name == "journal":
        return JournalStorage(JournalFileBackend(str(search.path.absolute() / "trials.journal")))
    try:
        return RDBStorage(name)
    except ImportError as error:  # its driver; elsewhere it would be somebody else's
        raise _unusable(name, error) from None


def _require_own(study: optuna.Study, search: Search, config: SearchConfig) -> None:
    """A database may be shared, a name in it may not."""
    own = config.model_dump_json(include={"base", "space", "objective"})
    noted = study.user_attrs.get("search")
    if noted is None:
        study.set_user_attr("search", own)
    elif noted != own:
        raise ConfigError(
            f"{search.file}: storage: has another search of the name {study.study_name!r}; give this one a name of its "
            "own with `name`"
        )


@contextmanager
def _reached(name: str) -> Iterator[None]:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise _unusable(name, error) from None


def _unusable(name: str, error: Exception) -> SetupError:
    why = str(error.__cause__ or error).splitlines()[0]
    return SetupError(
        f"storage {_shown(name)}: cannot be used ({why}); check its URL, its driver and whether its server is up"
    )


def _shown(name: str) -> str:
    """Without a password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(name).render_as_string(hide_password=True)
    except ArgumentError:
        return name
