"""Verbs on datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from maskwright.base.cluster import working_on
from maskwright.cli.shared import Dir, FailOn, Json, On, fail, show

if TYPE_CHECKING:
    from maskwright.core.sample import Status

# For `--help`, which must not import the formats; a test holds the two together.
READ = (
    "cvat_masks, labelme_xml, voc, common_semantic, coco_panoptic, coco, cvat_video, cvat_images, labelme, "
    "label_studio_brush, label_studio, supervisely, via, datumaro, darwin, labelbox, imagescope, kaggle_rle, "
    "hf_parquet, yolo_seg, yolo"
)
WRITTEN = "index, palette, colour, jpeg, cvat_masks, voc, coco, cvat_images, labelme, yolo_seg, yolo"


def fetch(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="s3://bucket/folder, https://…, sftp://…", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Copy the folder at a URL that fsspec can read; all other verbs work without a network. One that was stopped
    resumes."""
    from maskwright.data.fetch import fetch

    result = fetch(url, out)
    show(result.to_dict(), as_json, result.human)


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
    images: Annotated[
        str | None, typer.Option("--images", help="The folder of images inside DIR, or a word of their paths.")
    ] = None,
    masks: Annotated[
        str | None, typer.Option("--masks", help="The folder of masks inside DIR, or a word of their paths.")
    ] = None,
    format: Annotated[str | None, typer.Option("--format", help=f"What DIR is, if unclear: {READ}.")] = None,
    inverted: Annotated[
        Literal["stored", "shown"] | None,
        typer.Option("--inverted", help="Which values count in masks that store white as 0."),
    ] = None,
    variable: Annotated[str | None, typer.Option("--variable", help="The array in .mat masks.")] = None,
    encoding: Annotated[
        Literal["index", "objects", "colour"] | None,
        typer.Option("--encoding", help="What values in masks are, where they may be several things."),
    ] = None,
    levels: Annotated[
        str | None, typer.Option("--levels", metavar="0,255", help="The grey values of the classes, in their order.")
    ] = None,
    preview: Annotated[
        Path | None, typer.Option("--preview", help="A PNG to draw three images with their masks into.")
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Only write DIR/labels.csv, to pair images and masks by hand.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Detect the layout or annotation format of DIR and write dataset.yaml, with the reasons."""
    from maskwright.data.init import init, labels_table

    options: dict[str, Any] = {
        "out": out,
        "images": images,
        "masks": masks,
        "format": format,
        "inverted": inverted,
        "variable": variable,
        "encoding": encoding,
        "levels": _numbers(levels),
        "preview": preview,
    }
    if table:
        if given := next((name for name, value in options.items() if value), None):
            raise typer.BadParameter(f"writes labels.csv alone; leave --{given} out", param_hint="--table")
        file = labels_table(folder)
        show({"file": str(file)}, as_json, lambda: f"written: {file}; fill in the masks, then run init again")
        return
    result = init(folder, **options)
    show(result.to_dict(), as_json, result.human)


def _numbers(text: str | None) -> list[int]:
    """`0,255` as numbers."""
    parts = text.split(",") if text else []
    if not all(part.strip().isdecimal() for part in parts):
        raise typer.BadParameter(f"{text!r} is no list of grey values, such as 0,255", param_hint="--levels")
    return [int(part) for part in parts]


def audit(
    folder: Dir,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the HTML report and the JSON.")] = None,
    fail_on: FailOn = "error",
    fix: Annotated[
        bool, typer.Option("--fix", help="Fix automatically what can be, as edits; then audit again.")
    ] = False,
    overlays: Annotated[
        int | None,
        typer.Option("--overlays", min=0, help="With --out: draw so many images with their masks, 0 for all."),
    ] = None,
    on: On = None,
    as_json: Json = False,
) -> None:
    """Check a dataset and say what is wrong with it; exits with 1 when there are errors (see --fail-on). With --out,
    one that was stopped resumes."""
    from maskwright.verbs.audit import audit

    with working_on(on):
        result = audit(folder, out=out, overlays=overlays, fix=fix)
    show(result.to_dict(), as_json, result.human)
    fail(result.findings, fail_on)


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Dataset folder, or a zip or parquet file.", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder, or a .zip file.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help=f"The format to write: {WRITTEN}.", show_default=False)],
    from_: Annotated[str | None, typer.Option("--from", help=f"What SRC is, if unclear: {READ}.")] = None,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Simplify polygons by so many pixels.")] = 0.0,
    polygons: Annotated[bool, typer.Option("--polygons", help="Outlines, where exact masks would do too.")] = False,
    quality: Annotated[int, typer.Option("--quality", help="Of JPEG masks, 1 to 100.")] = 95,
    images: Annotated[bool, typer.Option("--images/--no-images", help="Copy the images too.")] = True,
    overlap: Annotated[
        Literal["smaller_on_top", "larger_on_top", "file_order"] | None,
        typer.Option("--overlap", help="Of boxes that are made into masks."),
    ] = None,
    flagged: Annotated[
        bool, typer.Option("--flagged", help="Only samples marked as needing fixing (status suspect).")
    ] = False,
    shrink: Annotated[float | None, typer.Option("--shrink", help="Pull the sides of boxes in by this share.")] = None,
    outside: Annotated[
        Literal["background", "ignore"] | None,
        typer.Option("--outside", help="What pixels outside every box are, where there are only boxes."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a dataset in another format, and certify what was kept by reading it back."""
    from maskwright.data.convert import convert

    boxes = {"overlap": overlap, "shrink": shrink, "outside": outside}
    result = convert(
        source,
        out,
        to=to,
        from_=from_,
        tolerance=tolerance,
        polygons=polygons,
        quality=quality,
        images=images,
        flagged=flagged,
        boxes={key: value for key, value in boxes.items() if value is not None},
    )
    show(result.to_dict(), as_json, result.human)


def split(
    folder: Dir,
    fractions: Annotated[
        str | None,
        typer.Option(
            "--fractions", help="Shares of train, val and test, or train=0.8,test=0.2; 0.7,0.15,0.15 when left out."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Random seed.")] = 0,
    group: Annotated[
        str | None,
        typer.Option("--group", metavar="REGEX", help="What it catches of a name, its split left out, is the group."),
    ] = None,
    group_file: Annotated[
        Path | None, typer.Option("--group-file", help="CSV with the columns sample and group.")
    ] = None,
    trusted: Annotated[int, typer.Option("--trusted", help="Also pick so many images to label by hand.")] = 0,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the splits as they are; only pick --trusted images of train.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the lists; below DIR/.maskwright when left out.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show it.")] = False,
    as_json: Json = False,
) -> None:
    """Split a dataset: stratified by class, never dividing a group or equal images."""
    from maskwright.data.splitting.split import parse_fractions, split

    result = split(
        folder,
        fractions=None if fractions is None else parse_fractions(fractions),
        seed=seed,
        group=group,
        group_file=group_file,
        trusted=trusted,
        keep=keep,
        out=out,
        dry_run=dry_run,
    )
    show(result.to_dict(), as_json, result.human)


def edits(
    folder: Dir,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last batch back, or the one of --batch.")] = False,
    batch: Annotated[
        str | None, typer.Option("--batch", help="With --undo: the name of the batch to take back.")
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", help="Mark --samples as keep, exclude or suspect (needs fixing).")
    ] = None,
    samples: Annotated[
        list[str] | None,
        typer.Option("--samples", metavar="NAME|FILE", help="A sample, or a file with names; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the edits of a dataset, take some back, or mark samples."""
    from maskwright.core.edits import edits

    if (status is None) != (samples is None) or (undo and status is not None):
        raise typer.BadParameter("--status and --samples go together, and not with --undo")
    if status is not None:
        from maskwright.data.marking import set_status

        set_status(folder, cast("Status", status), samples or ())
    result = edits(folder, undo=undo, batch=batch)
    show(result.to_dict(), as_json, result.human)
