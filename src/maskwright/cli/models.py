"""Verbs that train, and those around a training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskwright.base.cluster import working_on
from maskwright.base.extras import require_train
from maskwright.cli.shared import Device, Json, On, Out, RunDir, Set, show


def plan(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="Dataset folder.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; stdout when left out.")] = None,
    budget: Annotated[str, typer.Option("--budget", help="Wall time of the training: 90s, 5m, 1.5h.")] = "5m",
    model: Annotated[str | None, typer.Option("--model", help="UNet, SegNet, AttentionUNet, Segformer, …")] = None,
    encoder: Annotated[str | None, typer.Option("--encoder", help="resnet34, tu-mobilenetv2_100, …")] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="imagenet, none, a .safetensors file, or a run.")
    ] = None,
    download: Annotated[
        bool,
        typer.Option(
            "--download",
            help="Fetch the encoder's ImageNet weights into the cache if they are missing. The only command that uses "
            "the network.",
        ),
    ] = False,
    lr_find: Annotated[
        bool, typer.Option("--lr-find", help="Set the learning rate by a range test of 100 steps, drawn beside -o.")
    ] = False,
    refine: Annotated[
        bool, typer.Option("--refine", help="Write a refine.yaml instead, for rounds that make poor masks better.")
    ] = False,
    trusted: Annotated[
        Path | None,
        typer.Option("--trusted", help="With --refine: folder with baseline.txt and eval.txt; the newest of `split`."),
    ] = None,
    trusted_masks: Annotated[
        Path | None,
        typer.Option("--trusted-masks", help="With --refine: dataset with the good masks, if they are not in DIR."),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of run.yaml and stop.")] = False,
    changes: Set = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Write a commented run.yaml with a reason for each choice."""
    from maskwright.config import json_schema

    if schema:
        show(json_schema(), True, str)
        return
    if folder is None:
        raise typer.BadParameter("DIR is missing")
    if refine:
        from maskwright.verbs.plan_refine import plan_refine

        if download or lr_find:
            raise typer.BadParameter("--refine plans rounds; leave --download and --lr-find out")
        rounds = plan_refine(
            folder,
            out=out,
            trusted=trusted,
            trusted_masks=trusted_masks,
            budget=budget,
            model=model,
            encoder=encoder,
            weights=weights,
            overrides=changes or (),
        )
        show(rounds.to_dict(), as_json, rounds.human)
        return
    if trusted is not None or trusted_masks is not None:
        raise typer.BadParameter("--trusted and --trusted-masks are for rounds; give --refine with them")
    from maskwright.verbs.plan import plan

    result = plan(
        folder,
        out=out,
        budget=budget,
        model=model,
        encoder=encoder,
        weights=weights,
        download=download,
        overrides=changes or (),
        lr_find=lr_find,
        device=device,
    )
    show(result.to_dict(), as_json, result.human)


def train(
    config: Annotated[Path, typer.Argument(metavar="run.yaml", show_default=False)],
    out: Out = None,
    changes: Set = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Only draw what the model will see, and train nothing.")
    ] = False,
    preview_count: Annotated[
        int | None, typer.Option("--preview-count", min=1, help="A preview of so many images; 8 when left out.")
    ] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Train a model; the run folder is printed first and last. With several processes or hosts: `torchrun
    --nproc-per-node N -m maskwright train run.yaml`."""
    require_train()
    if preview or preview_count is not None:
        from maskwright.reporting.preview import preview as draw

        drawn = draw(config, images=preview_count or 8, out=out, overrides=changes or ())
        show(drawn.to_dict(), as_json, lambda: f"next: maskwright train {config}")
        return
    from maskwright.training.train import train

    run = train(config, out=out, overrides=changes or (), device=device)
    show({"run": str(run.path), **(run.finished or {})}, as_json, lambda: f"next: maskwright evaluate {run.path}")


def resume(
    run: RunDir,
    data: Annotated[Path | None, typer.Option("--data", help="Where its dataset lies now, if it was moved.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="a.b=c", help="Train a finished run for longer, as a new run: train.iterations=2000, …"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="With --set: folder of the new run; RUN-longer-001 when left out.")
    ] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Resume a run that was stopped or killed, or train a finished one for longer (--set)."""
    require_train()
    from maskwright.training.train import resume

    ended = resume(run, data=data, overrides=changes or (), out=out, device=device)
    show({"run": str(ended.path), **(ended.finished or {})}, as_json, lambda: f"next: maskwright evaluate {ended.path}")


def study(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="study.yaml|STUDY|status",
            help="The study, its folder to resume it, or the word "
            "status before its folder, to say how far it has come.",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[Path | None, typer.Argument(metavar="STUDY", show_default=False, hidden=True)] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Trainings at the same time; they share the cores.")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder; studies/NAME beside the file when left out.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Also try again what has failed.")] = False,
    changes: Set = None,
    device: Device = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of study.yaml and stop.")] = False,
    on: On = None,
    as_json: Json = False,
) -> None:
    """Train and score all combinations of a matrix; the same command resumes what was stopped."""
    if schema:
        from maskwright.studies.matrix import study_schema

        show(study_schema(), True, str)
        return
    if file is None or (folder is None) == (str(file) == "status"):
        raise typer.BadParameter("give study.yaml, the folder of a study, or `status` and the folder of a study")
    from maskwright.studies.status import study_status

    if folder is not None:
        status = study_status(folder)
        show(status.to_dict(), as_json, status.human)
        return
    from maskwright.studies.study import study

    with working_on(on):
        status = study(file, workers=workers, out=out, retry=retry, overrides=changes or (), device=device)
    show(status.to_dict(), as_json, lambda: f"next: {status.next_command}" * bool(status.next_command))
    if status.exit_code:
        raise typer.Exit(status.exit_code)


def search(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="search.yaml|SEARCH", help="The search, or its folder to resume it.", show_default=False
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Trainings at the same time; they share the cores.")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder; searches/NAME beside the file when left out.")
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="In place of the file's.")] = None,
    time: Annotated[str | None, typer.Option("--time", help="In place of the file's: 30m, 8h.")] = None,
    changes: Set = None,
    device: Device = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of search.yaml and stop.")] = False,
    on: On = None,
    as_json: Json = False,
) -> None:
    """Search for the values of config keys that give the best validation score, with Optuna; the same command resumes
    what was stopped."""
    if schema:
        from maskwright.studies.searching.space import search_schema

        show(search_schema(), True, str)
        return
    if file is None:
        raise typer.BadParameter("give search.yaml, or the folder of a search")
    from maskwright.studies.searching.search import search

    with working_on(on):
        result = search(
            file, workers=workers, out=out, trials=trials, time=time, overrides=changes or (), device=device
        )
    command = result.next_command
    show(result.to_dict(), as_json, lambda: "\n".join([result.human(), *([f"next: {command}"] if command else [])]))


def sync(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders.", show_default=False)],
    timeout: Annotated[str, typer.Option("--timeout", help="Time for each run: 90s, 5m.")] = "30s",
    as_json: Json = False,
) -> None:
    """Deliver to the trackers of runs what has not arrived there yet; exits with 4 when something is left."""
    from maskwright.errors import SetupError
    from maskwright.training.tracking.delivery.sync import sync

    result = sync(runs, timeout=timeout)
    show(result.to_dict(), as_json, result.human)
    if not result.complete:
        raise typer.Exit(SetupError.exit_code)


def weights(as_json: Json = False) -> None:
    """List the pretrained weights of encoders that are on this machine, and how to get others. Fetches nothing."""
    from maskwright.modeling.models.available import weights

    result = weights()
    show(result.to_dict(), as_json, result.human)


def doctor(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN|STUDY]", help="Also say how its training went, or that of each run.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check this machine and installation, and the training of a run, with a fix for what is wrong."""
    from maskwright.diagnosis import doctor

    result = doctor(run)
    show(result.to_dict(), as_json, result.human)
