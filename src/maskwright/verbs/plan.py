"""The verb `plan`: a commented `run.yaml`, and the picture of the range test beside it. `training.plan` chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maskwright.base.extras import require_train
from maskwright.base.storage import require_absent
from maskwright.core.dataset import Dataset
from maskwright.reporting.lr_curve import draw_rates
from maskwright.training.plan import RunPlan
from maskwright.training.plan import plan as planned


def plan(
    data: str | Path | Dataset,
    *,
    out: str | Path | None = None,
    budget: str = "5m",
    model: str | None = None,
    encoder: str | None = None,
    weights: str | None = None,
    download: bool = False,
    overrides: Sequence[str] = (),
    lr_find: bool = False,
    device: str | None = None,
) -> RunPlan:
    """A commented `run.yaml` for a dataset; written to `out` if given, which is never overwritten.

    `lr_find` sets the learning rate by a range test, which is drawn beside `out`, as NAME.lr-find.svg (`picture` of the
    result). For all else see `training.plan.plan`. Raises ConfigError when one of the files exists.
    """
    if lr_find:
        require_train("a range test")
    picture = require_absent(Path(out).with_suffix(".lr-find.svg")) if out is not None and lr_find else None
    result = planned(
        data,
        out=out,
        budget=budget,
        model=model,
        encoder=encoder,
        weights=weights,
        download=download,
        overrides=overrides,
        lr_find=lr_find,
        device=device,
    )
    if picture is None or result.range_test is None:
        return result
    return replace(result, picture=draw_rates(result.range_test, picture))
