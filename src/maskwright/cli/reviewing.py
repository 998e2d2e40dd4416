"""Verbs on which a person and masks meet."""

from __future__ import annotations

from typing import Annotated

import typer

from maskwright.cli.shared import Dir


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
