"""The verb that answers over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskwright.cli.shared import Device


def serve(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Run folder, model file or exported .onnx file.", show_default=False)
    ],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; any but this machine's own needs --token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="MASKWRIGHT_TOKEN", help="The secret that every request has to bring."),
    ] = None,
    max_bytes: Annotated[int, typer.Option("--max-bytes", min=1, help="Of the image file in a request.")] = 32 << 20,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds until an answer.")] = 60.0,
    queue: Annotated[
        int, typer.Option("--queue", min=0, help="Requests that wait beside the one computed; more get 503.")
    ] = 8,
    device: Device = None,
) -> None:
    """Answer over HTTP with masks: POST an image file to /predict; Ctrl-C ends it."""
    from maskwright.inference.serving.serve import serve

    serve(model, host=host, port=port, token=token, max_bytes=max_bytes, timeout=timeout, queue=queue, device=device)
