"""Verbs on what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from maskwright.base.cluster import working_on
from maskwright.cli.shared import Device, Json, On, Postprocess, RunDir, Selector, numbers, show


def evaluate(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|MODEL.onnx|FOLDER",
            help="Run folder, or with --data an exported model, a folder of masks or what `predict` has written.",
            show_default=False,
        ),
    ],
    split: Annotated[str, typer.Option("--split", help="train, val, test or another.")] = "test",
    data: Annotated[Path | None, typer.Option("--data", help="Another dataset with the same classes.")] = None,
    selector: Selector = None,
    boundary: Annotated[
        bool, typer.Option("--boundary", help="Also boundary F, surface Dice, HD95 and average distance.")
    ] = False,
    tolerance: Annotated[
        str | None, typer.Option("--tolerance", help="With --boundary: pixels, or a share of the diagonal (0.75%).")
    ] = None,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Also whether probabilities can be believed: ECE, Brier, ….")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="A new evaluation also where one of the same model, data and options is.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="New folder for the scores; in RUN/evaluations when left out. RUN is only read."),
    ] = None,
    postprocess: Postprocess = True,
    device: Device = None,
    on: On = None,
    as_json: Json = False,
) -> None:
    """Score a run, an exported model, or masks of any tool on a split, with intervals and trivial baselines."""
    from maskwright.evaluation.scoring.evaluate import evaluate

    with working_on(on):
        result = evaluate(
            run,
            split=split,
            data=data,
            selector=selector,
            boundary=boundary,
            tolerance=tolerance,
            calibration=calibration,
            again=again,
            out=out,
            device=device,
            postprocess=postprocess,
        )
    show(result.to_dict(), as_json, result.human)


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
    from maskwright.evaluation.comparing import compare

    result = compare(runs, split=split, score=score, select=select)
    show(result.to_dict(), as_json, result.human)


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
        typer.Option("--background", metavar="CLASS", help="What stands for no object, or none; else by dataset.yaml."),
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", min=0, help="Of boundaries, in pixels; by image size if left out.")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The dataset, if it is not the run's own.")] = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong in an evaluation, of which kind, where, and what fixing it would gain."""
    from maskwright.verbs.explain import explain

    result = explain(run, split=split, out=out, data=data, top=top, by=by, background=background, tolerance=tolerance)
    show({**result.to_dict(), "page": str(result.page)}, as_json, result.human)


def predict(
    model: Annotated[
        Path,
        typer.Argument(metavar="RUN|MODEL.onnx", help="Run folder, model file or exported model.", show_default=False),
    ],
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
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities",
            help="Also write each class's probabilities: probabilities/NAME.npz; and how "
            "sure the model is of each class: confidence.csv.",
        ),
    ] = False,
    format: Annotated[
        str | None,
        typer.Option("--format", help="Also write all objects: coco (coco.json) or labelme (labelme/NAME.json)."),
    ] = None,
    with_: Annotated[
        list[Path] | None,
        typer.Option(
            "--with", metavar="RUN|MODEL.onnx", help="Another model of the same classes to average with; repeatable."
        ),
    ] = None,
    flip_average: Annotated[
        bool | None,
        typer.Option(
            "--flip-average/--no-flip-average",
            help="Whether to average over the mirrored image; as in the run's config when left out.",
        ),
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option("--scales", metavar="0.75,1,…", help="Average over the image at these scales; 1 when left out."),
    ] = None,
    postprocess: Postprocess = True,
    device: Device = None,
    on: On = None,
    as_json: Json = False,
) -> None:
    """Predict masks for images; the same command resumes what was stopped."""
    from maskwright.inference.predict import predict

    with working_on(on):
        result = predict(
            model,
            images,
            out=out,
            levels=levels,
            selector=selector,
            probabilities=probabilities,
            format=format,
            with_=with_ or (),
            flip_average=flip_average,
            scales=numbers(scales, "--scales"),
            device=device,
            postprocess=postprocess,
        )
    show(result.to_dict(), as_json, lambda: "")


def tune(
    run: RunDir,
    data: Annotated[Path | None, typer.Option("--data", help="Where its dataset lies now, if it was moved.")] = None,
    split: Annotated[str, typer.Option("--split", help="The split that it is chosen on.")] = "val",
    score: Annotated[Literal["mIoU", "mDice"], typer.Option("--score", help="What is to become better.")] = "mIoU",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="New folder for what was found; RUN is only read, and does nothing new."),
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Only remove what was chosen before.")] = False,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Choose post-processing of predicted masks for a run (small components, holes), where it surely helps."""
    from maskwright.verbs.tune import tune

    result = tune(run, data=data, split=split, score=score, out=out, none=none, device=device)
    show(result.to_dict(), as_json, result.human)


def export(
    run: RunDir,
    out: Annotated[
        Path | None, typer.Option("--out", help="File.onnx; RUN/exports/model-001.onnx when left out.")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="With 8-bit integers: smaller and faster; refused where it is worse.")
    ] = False,
    data: Annotated[Path | None, typer.Option("--data", help="Where its dataset lies now, if it was moved.")] = None,
    device: Annotated[str, typer.Option("--device", help="Where both are compared: cpu or cuda.")] = "cpu",
    min_agreement: Annotated[
        float, typer.Option("--min-agreement", min=0, max=1, help="Least share of pixels with the run's label.")
    ] = 0.999,
    max_loss: Annotated[
        float, typer.Option("--max-loss", min=0, max=1, help="With --int8: the most that validation mIoU may lose.")
    ] = 0.005,
    postprocess: Postprocess = True,
    as_json: Json = False,
) -> None:
    """Write a run as one ONNX file that needs no torch, with a certificate of what it does on the validation images."""
    from maskwright.verbs.export import export

    result = export(
        run,
        out=out,
        int8=int8,
        data=data,
        device=device,
        min_agreement=min_agreement,
        max_loss=max_loss,
        postprocess=postprocess,
    )
    show(result.to_dict(), as_json, result.human)


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...|STUDY|FOLDER",
            help="One run, what `compare` takes, or what a verb has written.",
            show_default=False,
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="File; RUN/report-001.html when left out.")] = None,
    score: Annotated[
        str | None, typer.Option("--score", help="Of several runs: mIoU, mDice, mAcc or aAcc; mIoU when left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page about a run, or about a study or several runs side by side; or draw the page
    of an audit, of suspects, of an explanation or of a decision again."""
    from maskwright.reporting.writing import report

    file = report(runs, out=out, score=score)
    show({"report": str(file)}, as_json, lambda: f"report: {file}")


def plot(
    sources: Annotated[
        list[Path], typer.Argument(metavar="RUN|LOG...", help="Runs, studies, logs of other tools.", show_default=False)
    ],
    by: Annotated[Literal["run", "network", "loss", "best"], typer.Option("--by", help="What a chart is for.")] = "run",
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
    from maskwright.evaluation.curves.charts import bound
    from maskwright.reporting.plots import plot

    result = plot(
        sources, by=by, quantity=quantity or (), from_=bound(from_, "--from"), to=bound(to, "--to"), out=out, png=png
    )
    show(result.to_dict(), as_json, result.human)
