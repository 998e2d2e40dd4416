"""The command line: parse, call one function, print. Heavy imports happen inside the verbs.

Results go to stdout (`--json`: one JSON document), everything else to stderr.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from maskwright import __version__
from maskwright.errors import MaskwrightError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="From a folder of images with few and imperfect masks to a segmentation model that can be trusted.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Out = Annotated[Path | None, typer.Option("--out", help="Where the result goes; never overwritten.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=c", help="Change one value of the config; repeatable.")
]
Dir = Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder.", show_default=False)]
Selector = Annotated[
    Literal["leaf", "levels", "top_down"] | None,
    typer.Option("--selector", help="How the levels of a class tree are labelled; the run's own when left out."),
]
RunDir = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", show_default=False)]

# For `--help`, which must not import the formats; a test holds the two together.
_READ = "cvat_masks, voc, common_semantic, coco, cvat_images, labelme, yolo_seg, yolo"
_WRITTEN = "index, palette, colour, jpeg, cvat_masks, voc, coco, cvat_images, labelme, yolo_seg, yolo"


def _version(asked: bool) -> None:
    if asked:
        print(f"maskwright {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    _state["debug"] = debug


_state = {"debug": False}
# Typer brings its own copy of click; this is the one public way to the base of its usage errors.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def _print(value: Any, as_json: bool, human: Callable[[], str]) -> None:
    from maskwright.core.progress import speaks
    from maskwright.core.storage import dump_json

    if not speaks():
        return
    if as_json:
        print(dump_json(value, indent=2))
    elif text := human():
        # Names in files may hold what steers a terminal.
        print("".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text))


@app.command()
def init(
    folder: Dir,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write dataset.yaml into this folder instead; it then refers "
            "to DIR (for data that must not be written to).",
        ),
    ] = None,
    images: Annotated[str | None, typer.Option("--images", help="The folder of images inside DIR.")] = None,
    masks: Annotated[str | None, typer.Option("--masks", help="The folder of masks inside DIR.")] = None,
    format: Annotated[str | None, typer.Option("--format", help=f"What DIR is, if unclear: {_READ}.")] = None,
    as_json: Json = False,
) -> None:
    """Detect the layout or annotation format of DIR and write dataset.yaml, with the reasons."""
    from maskwright.formats.opening import init

    file, detection = init(folder, out=out, images=images, masks=masks, format=format)
    _print(
        {"file": str(file), "dataset": detection.file.model_dump(), "reasons": detection.reasons},
        as_json,
        lambda: f"{file.read_text()}\nwritten: {file}",
    )


@app.command()
def audit(
    folder: Dir,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the HTML report and the JSON.")] = None,
    fail_on: Annotated[
        Literal["info", "warning", "error"] | None,
        typer.Option("--fail-on", help="Exit with 1 when a finding is at least this severe."),
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what needs no person, as edits that can be undone.")
    ] = False,
    overlays: Annotated[
        int | None,
        typer.Option("--overlays", min=0, help="With --out: draw so many images with their masks, 0 for all."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a dataset and say what is wrong with it. With --out, one that was stopped goes on where it was."""
    from maskwright.auditing import audit, human
    from maskwright.core.findings import Severity
    from maskwright.formats.opening import load_dataset

    if out is not None:
        from maskwright.core.storage import require_absent

        require_absent(out)
    elif overlays is not None:
        raise typer.BadParameter("--overlays needs --out, the folder they go into")
    dataset = load_dataset(folder)
    # Beside the output, for the data may be read-only; outputs appear only when they are whole.
    result = audit(folder, fix=fix, unfinished=out.with_name(f"{out.name}.unfinished") if out else None)
    if out is not None:
        from maskwright.core.progress import say
        from maskwright.reporting import write_audit
        from maskwright.reporting.overlays import overlays as draw

        say(f"report: {write_audit(result, out, dataset=dataset)}")
        if overlays is not None:
            drawn = draw(dataset, out / "overlays", count=overlays or None)
            say(f"overlays: {drawn.folder} ({len(drawn.overlays)} drawn, {len(drawn.skipped)} skipped)")
    _print(result.to_dict(), as_json, lambda: human(result))
    if fail_on and any(finding.severity >= Severity[fail_on.upper()] for finding in result.findings):
        raise typer.Exit(1)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Dataset folder, or a zip file.", show_default=False)],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder, or a .zip file.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help=f"The format to write: {_WRITTEN}.", show_default=False)],
    from_: Annotated[str | None, typer.Option("--from", help=f"What SRC is, if unclear: {_READ}.")] = None,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Simplify polygons by so many pixels.")] = 0.0,
    polygons: Annotated[bool, typer.Option("--polygons", help="Outlines, where exact masks would do too.")] = False,
    quality: Annotated[int, typer.Option("--quality", help="Of JPEG masks, 1 to 100.")] = 95,
    images: Annotated[bool, typer.Option("--images/--no-images", help="Copy the images too.")] = True,
    overlap: Annotated[
        Literal["smaller_on_top", "larger_on_top", "file_order"] | None,
        typer.Option("--overlap", help="Of boxes that are made into masks."),
    ] = None,
    shrink: Annotated[float | None, typer.Option("--shrink", help="Pull the sides of boxes in by this share.")] = None,
    outside: Annotated[
        Literal["background", "ignore"] | None,
        typer.Option("--outside", help="What pixels outside every box are, where there are only boxes."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a dataset in another format, and certify what was kept by reading it back."""
    from maskwright.formats.conversion import convert

    boxes = {"overlap": overlap, "shrink": shrink, "outside": outside}
    result = convert(source, out, to=to, from_=from_, tolerance=tolerance, polygons=polygons, quality=quality,
                     images=images, boxes={key: value for key, value in boxes.items() if value is not None})
    _print(result.to_dict(), as_json, result.human)


@app.command()
def split(
    folder: Dir,
    fractions: Annotated[
        str, typer.Option("--fractions", help="Shares of train, val and test, or train=0.8,test=0.2.")
    ] = "0.7,0.15,0.15",
    seed: Annotated[int, typer.Option("--seed", help="Of the random choices.")] = 0,
    group: Annotated[
        str | None, typer.Option("--group", metavar="REGEX", help="What it catches of a name is the sample's group.")
    ] = None,
    group_file: Annotated[
        Path | None, typer.Option("--group-file", help="CSV with the columns sample and group.")
    ] = None,
    trusted: Annotated[int, typer.Option("--trusted", help="Also pick so many images to label by hand.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the lists; below DIR/.maskwright when left out.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show it.")] = False,
    as_json: Json = False,
) -> None:
    """Split a dataset: stratified by class, never dividing a group or equal images."""
    from maskwright.splitting.assign import parse_fractions, split

    result = split(folder, fractions=parse_fractions(fractions), seed=seed, group=group, group_file=group_file,
                   trusted=trusted, out=out, dry_run=dry_run)
    _print(result.to_dict(), as_json, result.human)


@app.command()
def edits(
    folder: Dir,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last batch back, or the one of --batch.")] = False,
    batch: Annotated[str | None, typer.Option("--batch", help="The batch to take back.")] = None,
    as_json: Json = False,
) -> None:
    """List the edits of a dataset, or take some back."""
    from dataclasses import asdict

    from maskwright.core.edits import edits

    held = edits(folder, undo=undo, batch=batch)
    _print(
        {"batches": [asdict(one) for one in held]},
        as_json,
        lambda: "\n".join(f"{b.name}: {len(b.edits)} edits, {b.time}, {b.reason}" for b in held) or "no edits",
    )


@app.command()
def plan(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="Dataset folder.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; stdout when left out.")] = None,
    budget: Annotated[str, typer.Option("--budget", help="Wall time of the training: 90s, 5m, 1.5h.")] = "5m",
    model: Annotated[str | None, typer.Option("--model", help="UNet, SegNet, AttentionUNet, Segformer, …")] = None,
    encoder: Annotated[str | None, typer.Option("--encoder", help="resnet34, tu-mobilenetv2_100, …")] = None,
    weights: Annotated[str | None, typer.Option("--weights", help="imagenet, none, or a .safetensors file.")] = None,
    download: Annotated[
        bool,
        typer.Option(
            "--download",
            help="Fetch the encoder's ImageNet weights into the cache. The only command that uses the network.",
        ),
    ] = False,
    lr_find: Annotated[
        bool,
        typer.Option("--lr-find", help="Set the learning rate by a range test of 100 steps, drawn beside -o."),
    ] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of run.yaml and stop.")] = False,
    changes: Set = None,
    as_json: Json = False,
) -> None:
    """Write a commented run.yaml with a reason for each choice."""
    from maskwright.config import json_schema

    if schema:
        _print(json_schema(), True, str)
        return
    if folder is None:
        raise typer.BadParameter("DIR is missing")
    from maskwright.planning import plan

    picture = None
    if lr_find:
        from maskwright.core.storage import require_absent

        _need_torch()
        picture = require_absent(out.with_suffix(".lr-find.svg")) if out else None
    text, config, size, found = plan(
        folder, out=out, budget=budget, model=model, encoder=encoder, weights=weights, download=download,
        overrides=changes or (), lr_find=lr_find,
    )
    result: dict[str, Any] = {"file": str(out) if out else None, "config": config.to_dict(), "text": text,
                              "size": size.to_dict() if size else None}
    if found:
        from dataclasses import asdict

        result["range_test"] = asdict(found) | {"picture": str(picture) if picture else None}
        if picture:
            from maskwright.reporting.rates import draw_rates

            draw_rates(found, picture)
    said = f"optimizer.lr: {config.optimizer.lr:g} ({found.reason}); drawn: {picture}\n" if found else ""
    _print(result, as_json, lambda: f"{said}written: {out}; next: maskwright train {out}" if out else text)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="run.yaml", show_default=False)],
    out: Out = None,
    changes: Set = None,
    preview: Annotated[
        int | None,
        typer.Option("--preview", metavar="[N]", min=1, help="Only draw what the model will see, of N images (8)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a model; the run folder is printed first and last. With several processes or hosts: `torchrun
    --nproc-per-node N -m maskwright train run.yaml`."""
    _need_torch()
    if preview is not None:
        from maskwright.reporting.preview import preview as draw

        drawn = draw(config, images=preview, out=out, overrides=changes or ())
        _print(drawn.to_dict(), as_json, lambda: f"next: maskwright train {config}")
        return
    from maskwright.training.train import train

    run = train(config, out=out, overrides=changes or ())
    _print({"run": str(run.path), **(run.finished or {})}, as_json, lambda: f"next: maskwright evaluate {run.path}")


@app.command()
def resume(run: RunDir, as_json: Json = False) -> None:
    """Go on with a run that was stopped or killed."""
    _need_torch()
    from maskwright.training.train import resume

    finished = resume(run)
    _print(
        {"run": str(finished.path), **(finished.finished or {})}, as_json, lambda: f"next: maskwright evaluate {run}"
    )


@app.command()
def evaluate(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run folder, or with --data a folder of masks.", show_default=False)
    ],
    split: Annotated[str, typer.Option("--split", help="train, val, test or another.")] = "test",
    data: Annotated[Path | None, typer.Option("--data", help="Another dataset with the same classes.")] = None,
    selector: Selector = None,
    boundary: Annotated[
        bool, typer.Option("--boundary", help="Also boundary F, surface Dice, HD95 and average distance.")
    ] = False,
    tolerance: Annotated[
        str | None,
        typer.Option("--tolerance", help="With --boundary: pixels, or a share of the diagonal (0.75%)."),
    ] = None,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Also whether probabilities can be believed: ECE, Brier, ….")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score a run, or masks that any tool has made, on a split, with intervals and trivial baselines."""
    from maskwright.prediction.evaluate import evaluate, is_mask_folder
    from maskwright.prediction.scoring import human

    if not is_mask_folder(run):
        _need_torch()
    result = evaluate(
        run, split=split, data=data, selector=selector, boundary=boundary, tolerance=tolerance, calibration=calibration
    )
    _print(result.to_dict(), as_json, lambda: human(result))


@app.command()
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...|STUDY", help="Runs, folders of runs, logs of other tools.", show_default=False),
    ],
    split: Annotated[str, typer.Option("--split", help="The split they are evaluated on.")] = "test",
    score: Annotated[str, typer.Option("--score", help="mIoU, mDice, mAcc or aAcc.")] = "mIoU",
    select: Annotated[
        str | None, typer.Option("--select", help="The split that the choice is made on, such as val.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Rank evaluated runs, and say which differences are more than chance."""
    from maskwright.comparing import compare, human

    result = compare(runs, split=split, score=score, select=select)
    _print(result.to_dict(), as_json, lambda: human(result))


@app.command()
def explain(
    run: RunDir,
    split: Annotated[str, typer.Option("--split", help="The newest evaluation of it is explained.")] = "test",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the page; in RUN/explanations when left out.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=0, help="How many of the worst and best images to draw.")] = 6,
    by: Annotated[str | None, typer.Option("--by", metavar="CLASS", help="Rank images by the Dice of a class.")] = None,
    background: Annotated[
        str | None,
        typer.Option("--background", metavar="CLASS", help="What stands for no object, or none; else the first class."),
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", min=0, help="Of boundaries, in pixels; by image size if left out.")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The dataset, if it is not the run's own.")] = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong in an evaluation, of which kind, where, and what mending it would be worth."""
    from maskwright.core.progress import say
    from maskwright.core.storage import next_free, require_absent
    from maskwright.explaining import explain, human
    from maskwright.reporting import write_explanation
    from maskwright.run import Run

    folder = require_absent(out) if out else next_free(Run.open(run).explanations, split)
    say(f"explanation: {folder}")
    result = explain(run, split=split, data=data, top=top, by=by, background=background, tolerance=tolerance)
    page = write_explanation(result, folder)
    _print({**result.to_dict(), "page": str(page)}, as_json, lambda: human(result))
    say(f"explanation: {page}")


@app.command()
def study(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="study.yaml|STUDY|status", help="The study, its folder to go on with, or the word "
                       "status before its folder, to say how far it has come.", show_default=False),
    ] = None,
    folder: Annotated[Path | None, typer.Argument(metavar="STUDY", show_default=False, hidden=True)] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Trainings at the same time; they share the cores.")
                       ] = 1,
    out: Annotated[Path | None, typer.Option("--out", help="Folder; studies/NAME beside the file when left out.")
                   ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Also try again what has failed.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of study.yaml and stop.")] = False,
    as_json: Json = False,
) -> None:
    """Train and score all combinations of a matrix; the same command goes on where it was stopped."""
    if schema:
        from maskwright.studying.matrix import study_schema

        _print(study_schema(), True, str)
        return
    if file is None or (folder is None) == (str(file) == "status"):
        raise typer.BadParameter("give study.yaml, the folder of a study, or `status` and the folder of a study")
    from maskwright.studying.status import study_status

    if folder is not None:
        status = study_status(folder)
        _print(status.to_dict(), as_json, lambda: "\n".join(status.lines()))
        return
    _need_torch()
    from maskwright.studying.running import study

    status = study(file, workers=workers, out=out, retry=retry)
    _print(status.to_dict(), as_json, lambda: f"next: {status.next_command}" * bool(status.next_command))
    if status.exit_code:
        raise typer.Exit(status.exit_code)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder or model file.", show_default=False)],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES...", help="Files, folders or quoted globs.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Folder for masks, overlays and predictions.jsonl.", show_default=False)
    ],
    levels: Annotated[
        bool, typer.Option("--levels", help="Also write the masks of a class tree's levels: levels/1/, …")
    ] = False,
    selector: Selector = None,
    as_json: Json = False,
) -> None:
    """Predict masks for images; the same command goes on where it was stopped."""
    _need_torch()
    from maskwright.prediction.predict import predict

    result = predict(model, images, out=out, levels=levels, selector=selector)
    _print(result.to_dict(), as_json, lambda: "")


@app.command()
def sync(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders.", show_default=False)],
    timeout: Annotated[str, typer.Option("--timeout", help="Time for each run: 90s, 5m.")] = "30s",
    as_json: Json = False,
) -> None:
    """Deliver to the trackers of runs what has not arrived there yet; exits with 4 when something is left."""
    from maskwright.delivery.sync import sync
    from maskwright.errors import SetupError

    result = sync(runs, timeout=timeout)
    _print(result.to_dict(), as_json, result.human)
    if not result.complete:
        raise typer.Exit(SetupError.exit_code)


@app.command()
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...|STUDY", help="One run, or what `compare` takes.", show_default=False)
    ],
    out: Annotated[Path | None, typer.Option("--out", help="File; RUN/report-001.html when left out.")] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page about a run, or about a study or several runs side by side."""
    from maskwright.reporting import report

    file = report(runs, out=out)
    _print({"report": str(file)}, as_json, lambda: f"report: {file}")


@app.command()
def plot(
    sources: Annotated[
        list[Path], typer.Argument(metavar="RUN|LOG...", help="Runs, studies, logs of other tools.", show_default=False)
    ],
    by: Annotated[
        Literal["run", "network", "loss", "best"], typer.Option("--by", help="What a chart is for.")
    ] = "run",
    quantity: Annotated[
        list[str] | None,
        typer.Option("--quantity", help="loss, mIoU, lr, val_loss, …; repeatable. Loss and main score when left out."),
    ] = None,
    from_: Annotated[str | None, typer.Option("--from", help="From this iteration, or share: 0.5, 50%.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="To this iteration, or share.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="New folder; plots/NAME-001 when left out.")] = None,
    png: Annotated[bool, typer.Option("--png", help="PNG files too; needs matplotlib.")] = False,
    as_json: Json = False,
) -> None:
    """Draw losses and scores over training, of our own runs and of other tools' logs."""
    from maskwright.curves.charts import bound
    from maskwright.reporting.plots import plot

    result = plot(sources, by=by, quantity=quantity or (), from_=bound(from_, "--from"), to=bound(to, "--to"), out=out,
                  png=png)
    _print(result.to_dict(), as_json, result.human)


@app.command()
def doctor(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="Also say how its training went.")] = None,
    as_json: Json = False,
) -> None:
    """Check this machine and installation, and the training of a run, with a fix for what is wrong."""
    from maskwright.diagnosis import doctor, human

    result = doctor(run)
    _print(result.to_dict(), as_json, lambda: human(result))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the data, the run and the report.")] = Path("demo"),
    budget: Annotated[str, typer.Option("--budget", help="Wall time of the training.")] = "200s",
    as_json: Json = False,
) -> None:
    """Generate a dataset and run the whole line on it, in a few minutes."""
    _need_torch()
    from maskwright.demonstration import demo

    result = demo(out, budget=budget)
    _print(result.to_dict(), as_json, lambda: result.human())


def _need_torch() -> None:
    import importlib.util

    missing = [
        name for name in ("torch", "segmentation_models_pytorch", "safetensors") if not importlib.util.find_spec(name)
    ]
    if missing:
        from maskwright.errors import SetupError

        raise SetupError(f"this verb needs {', '.join(missing)}: not installed; `pip install maskwright[train]`")


def _wait_politely(environment: MutableMapping[str, str]) -> None:
    """Lets torch's threads sleep soon when they wait for each other, unless the user has decided on it.

    By default they spin for milliseconds: beside one busy program on two cores a training step then takes three
    times as long (docs/decisions/0005). It must be set before torch is loaded.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & environment.keys():
        environment["GOMP_SPINCOUNT"] = "10000"


def _with_counts(arguments: list[str]) -> list[str]:
    """`--preview` without a number as `--preview 8`; Typer knows no options whose value may be left out."""
    following = [*arguments, ""][1:]
    return [part for argument, after in zip(arguments, following, strict=False) for part in (
        (argument, "8") if argument == "--preview" and not after.lstrip("-").isdigit() else (argument,))]


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits with the code of the contract (see `maskwright.errors`)."""
    arguments = _with_counts(sys.argv[1:] if arguments is None else arguments)
    warnings.filterwarnings("ignore")  # libraries' notes are not for users; findings and errors are ours to say
    _wait_politely(os.environ)
    try:
        code = app(arguments, standalone_mode=False, prog_name="maskwright")
    except MaskwrightError as error:
        if _state["debug"]:
            traceback.print_exc()
        if not error.quiet:
            print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        code = error.exit_code
    except UsageError as error:
        error.show(sys.stderr)  # type: ignore[attr-defined]
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # `maskwright … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 0
    except Exception as error:
        if _state["debug"]:
            traceback.print_exc()
        print(
            f"error: unexpected {type(error).__name__}: {error}; a defect in maskwright: please report it with the "
            "output of the same command with --debug before the verb",
            file=sys.stderr,
        )
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
