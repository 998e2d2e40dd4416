"""Which entry to take, and why: the best score, or one that needs less compute and is not distinguishable from it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from maskwright.errors import ConfigError, argument
from maskwright.evaluation.comparing.inference import Inference, ScoreDifference
from maskwright.evaluation.comparing.results import Costs, ModelChoice

_CHEAPER = 0.9


def by_scores(names: Sequence[str], costs: Sequence[Costs], found: Inference, score: str, split: str) -> ModelChoice:
    """By scores and what can be told of their differences. Cheapest: fewest multiply-accumulates, then parameters.

    Nothing is proposed whose 95 % interval alone tells it from the best, though the correction for many comparisons
    may not.
    """
    best = max(range(len(names)), key=lambda e: found.scores[e].value)
    against = {d.second: d for d in found.differences if d.first == best}
    ties = [e for e, difference in against.items() if difference.verdict == "not distinguishable"]
    has = f"{names[best]} has the best {score} of {split} ({found.scores[best].value:.4f})"
    if not ties:
        others = "the other" if len(names) == 2 else "every other"
        return ModelChoice(names[best], names[best], split, f"{has} and is better than {others}")
    close = [e for e in ties if against[e].value.low <= 0]
    cheapest = min([best, *close], key=lambda e: _price(costs[e]))
    less = _less(costs[cheapest], costs[best])
    if not less:
        return ModelChoice(
            names[best],
            names[best],
            split,
            f"{has}; {_count(len(ties))} not distinguishable from it, and no equal model needs less compute",
        )
    return ModelChoice(
        names[best],
        names[cheapest],
        split,
        f"{has}, but {names[cheapest]} ({found.scores[cheapest].value:.4f}) is not distinguishable from it "
        f"({_difference_text(against[cheapest])}) and needs the least compute of those: {less}",
    )


def by_logs(names: Sequence[str], scores: Sequence[float | None]) -> ModelChoice:
    """By the best validation mIoU of the training logs. ConfigError where there is none."""
    values = [-math.inf if score is None else score for score in scores]
    if missing := [name for name, score in zip(names, scores, strict=True) if score is None]:
        raise ConfigError(
            f"{argument('select')} val: {', '.join(missing)} has no validation scores in its log; evaluate all runs "
            f"on val, or leave {argument('select')} out"
        )
    best = max(range(len(names)), key=lambda e: values[e])
    return ModelChoice(
        names[best],
        names[best],
        "val",
        f"{names[best]} has the best validation mIoU of the training logs ({values[best]:.4f}); evaluate all "
        "runs on val to see which of them differ significantly there",
    )


def _price(costs: Costs) -> tuple[float, float]:
    return (math.inf if costs.macs is None else costs.macs, math.inf if costs.parameters is None else costs.parameters)


def _less(cheap: Costs, dear: Costs) -> str:
    """What it costs beside the other, where it is at least a tenth less work (without that, a tenth less parameters);
    else nothing."""
    shares = {
        what: one / other
        for what, one, other in (
            ("MACs", cheap.macs, dear.macs),
            ("parameters", cheap.parameters, dear.parameters),
            ("time of a step", cheap.step_seconds, dear.step_seconds),
        )
        if one is not None and other
    }
    first = next(iter(shares), "")
    if first not in ("MACs", "parameters") or shares[first] > _CHEAPER:
        return ""
    return ", ".join(f"{100 * share:.0f} % of the {what}" for what, share in shares.items())


def _count(number: int) -> str:
    return "one is" if number == 1 else f"{number} are"


def _difference_text(difference: ScoreDifference) -> str:
    value = difference.value
    between = "" if math.isnan(value.low) else f" [{value.low:+.4f}, {value.high:+.4f}]"
    return f"{value.value:+.4f}{between}, p {difference.p_corrected:.2g}"
