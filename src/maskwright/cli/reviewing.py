"""Verbs on which a person and masks meet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskwright.cli.shared import Dir, Json, show


def review(
    folder: Dir,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the page; 0 takes a free one.")] = 0,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; any but this machine's own needs --token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None, typer.Option("--token", help="The secret in the link, instead of one that works once.")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
) -> None:
    """Open a local page to see, judge and repair the masks of a dataset; Ctrl-C ends it."""
    from maskwright.reviewing.review import review

    review(folder, host=host, port=port, token=token, browser=browser)


def import_edits(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Export of another tool: folder, zip or parquet.", show_default=False)
    ],
    data: Annotated[
        Path, typer.Option("--data", help="Dataset folder whose masks were corrected.", show_default=False)
    ],
    from_: Annotated[str | None, typer.Option("--from", help="Format of FILE, if unclear; see `convert`.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    as_json: Json = False,
) -> None:
    """Take masks that were corrected in another tool as edits, matched by name; says what changed."""
    from maskwright.reviewing.importing import import_edits

    result = import_edits(file, data=data, from_=from_, dry_run=dry_run)
    show(result.to_dict(), as_json, result.human)
