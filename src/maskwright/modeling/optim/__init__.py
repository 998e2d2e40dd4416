"""Optimisers and learning-rate schedules: two tables, neither of which imports torch.

An optimiser is a frozen dataclass of its settings, checked when it is made, whose `build` takes parameter groups.
A schedule is a pure function (step, steps, **arguments) -> the factor on the learning rate; the linear warm-up is
common to all of them (`schedules.Schedule`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from maskwright.modeling.optim import optimizers, schedules

OPTIMIZERS: dict[str, type[optimizers.Optimizer]] = {
    "adamw": optimizers.AdamW,
    "adam": optimizers.Adam,
    "sgd": optimizers.SGD,
}
SCHEDULES: dict[str, Callable[..., float]] = {
    "poly": schedules.poly,
    "cosine": schedules.cosine,
    "one_cycle": schedules.one_cycle,
    "step": schedules.step_down,
    "constant": schedules.constant,
}


def optimizer_arguments(name: str) -> dict[str, inspect.Parameter]:
    """What `optimizer` may hold for this one beside its name and what concerns parameter groups."""
    return dict(inspect.signature(OPTIMIZERS[name], eval_str=True).parameters)


def schedule_arguments(name: str) -> dict[str, inspect.Parameter]:
    """What `schedule` may hold for this one beside its name and the warm-up."""
    parameters = inspect.signature(SCHEDULES[name], eval_str=True).parameters
    return {key: parameter for key, parameter in parameters.items() if key not in ("step", "steps")}
