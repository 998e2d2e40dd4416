"""Verbs on the quality of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskwright.cli.shared import Dir, Json, Out, Set, need_torch, show


def decide(
    folder: Dir,
    suspects: Annotated[
        Path | None, typer.Option("--suspects", help="What `suspects` has left; the newest of DIR when left out.")
    ] = None,
    min_score: Annotated[
        float, typer.Option("--min-score", min=0, max=1, help="A sample is suspect by a region of this score or more.")
    ] = 0.5,
    budget: Annotated[str, typer.Option("--budget", help="Wall time of everything: 90s, 10m, 1h.")] = "10m",
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, help="Times three trainings, with other images, errors and seeds.")
    ] = 3,
    minutes_per_mask: Annotated[
        float, typer.Option("--minutes-per-mask", min=0, help="Your work on one mask, to say what repairing costs.")
    ] = 3.0,
    weights: Annotated[str | None, typer.Option("--weights", help="imagenet, none, or a .safetensors file.")] = None,
    changes: Set = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random choices.")] = 0,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Estimate whether to keep, exclude or repair suspect samples; the same command goes on where it was stopped."""
    need_torch()
    from maskwright.deciding import decide

    result = decide(
        folder, suspects=suspects, min_score=min_score, budget=budget, repeats=repeats,
        minutes_per_mask=minutes_per_mask, weights=weights, overrides=changes or (), seed=seed, out=out,
    )
    show(result.to_dict(), as_json, result.human)
