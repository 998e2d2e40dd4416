"""Verbs on the quality of labels."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskwright.base.cluster import working_on
from maskwright.base.texts import plural
from maskwright.cli.shared import Device, Dir, FailOn, Json, On, Out, Set, fail, show

if TYPE_CHECKING:
    from maskwright.core.edits import Batch


def suspects(
    folder: Dir,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Output folder; with --apply the one to apply. Else in DIR/.maskwright."),
    ] = None,
    budget: Annotated[str, typer.Option("--budget", help="Wall time of the trainings: 90s, 10m, 1h.")] = "10m",
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Also plant known errors in a copy, to measure how many are found.")
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Apply proposals of the newest result as edits; nothing is searched.")
    ] = False,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            "--min-confidence", min=0, max=1, help="With --apply: least confidence of a proposal; 0.9 when left out."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option("--weights", help="imagenet, none, or a .safetensors file.")] = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Parts of the data, each held out once.")] = 4,
    others: Annotated[
        list[Path] | None, typer.Option("--other", help="A dataset with other labels of the same samples; repeatable.")
    ] = None,
    background: Annotated[
        str | None, typer.Option("--background", help="The background class, or none; else as in dataset.yaml.")
    ] = None,
    changes: Set = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed.")] = 0,
    fail_on: FailOn = "error",
    device: Device = None,
    on: On = None,
    as_json: Json = False,
) -> None:
    """Rank masks and regions by how likely they are wrong, and propose repairs; the same command resumes."""
    if apply:
        from maskwright.labels.suspecting.applying import apply_proposals

        if self_test or others:
            raise typer.BadParameter("--apply uses what was found before; leave --self-test and --other out")
        batch = apply_proposals(
            folder, folder=out, **({} if min_confidence is None else {"min_confidence": min_confidence})
        )
        show({"applied": asdict(batch) if batch else None}, as_json, lambda: applied_text(folder, batch))
        return
    if min_confidence is not None:
        raise typer.BadParameter("--min-confidence chooses proposals to apply; give --apply with it")
    from maskwright.verbs.suspects import suspects

    with working_on(on):
        result = suspects(
            folder,
            out=out,
            budget=budget,
            folds=folds,
            seed=seed,
            weights=weights,
            background=background,
            others=others or (),
            self_test=self_test,
            overrides=changes or (),
            device=device,
        )
    show(result.to_dict(), as_json, result.human)
    fail((suspect.finding() for suspect in result.suspects), fail_on)


def applied_text(folder: Path, batch: Batch | None) -> str:
    """What `--apply` has done."""
    if batch is None:
        return "no proposal has this confidence; nothing was changed"
    return (
        f"batch {batch.name}: {plural(len(batch.edits), 'mask')} edited; `maskwright edits "
        f"{shlex.quote(str(folder))} --undo --batch {batch.name}` undoes it"
    )


def decide(
    folder: Dir,
    suspects: Annotated[
        Path | None,
        typer.Option("--suspects", help="The output folder of `suspects`; the newest of DIR when left out."),
    ] = None,
    min_score: Annotated[
        float,
        typer.Option("--min-score", min=0, max=1, help="A sample with a region of at least this score is suspect."),
    ] = 0.5,
    budget: Annotated[str, typer.Option("--budget", help="Wall time of everything: 90s, 10m, 1h.")] = "10m",
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, help="Repetitions of the three trainings, with other data and seeds.")
    ] = 3,
    minutes_per_mask: Annotated[
        float, typer.Option("--minutes-per-mask", min=0, help="Minutes to correct one mask, for the cost of repairing.")
    ] = 3.0,
    weights: Annotated[str | None, typer.Option("--weights", help="imagenet, none, or a .safetensors file.")] = None,
    changes: Set = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed.")] = 0,
    out: Out = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Estimate whether to keep, exclude or repair suspect samples; the same command resumes what was stopped."""
    from maskwright.verbs.decide import decide

    result = decide(
        folder,
        suspects=suspects,
        min_score=min_score,
        budget=budget,
        repeats=repeats,
        minutes_per_mask=minutes_per_mask,
        weights=weights,
        overrides=changes or (),
        seed=seed,
        out=out,
        device=device,
    )
    show(result.to_dict(), as_json, result.human)


def refine(
    config: Annotated[Path, typer.Argument(metavar="refine.yaml", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder; rounds/NAME beside the file when left out.")
    ] = None,
    changes: Set = None,
    as_json: Json = False,
) -> None:
    """Make poor masks (boxes, coarse ones) better in rounds, judged by a few good ones; the same command resumes."""
    from maskwright.verbs.refine import refine

    result = refine(config, out=out, overrides=changes or ())
    show(result.to_dict(), as_json, result.human)


def next(
    folder: Dir,
    run: Annotated[
        list[Path] | None,
        typer.Option("--run", help="A finished run: what it is unsure of counts, and it gives masks to begin with."),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many images.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed.")] = 0,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Say which images without a mask are worth drawing next, and why."""
    from maskwright.verbs.next import next as choose

    result = choose(folder, runs=run or (), count=count, seed=seed, out=out)
    show(result.to_dict(), as_json, result.human)
