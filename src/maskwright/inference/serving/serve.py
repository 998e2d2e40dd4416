"""The verb `serve`: answers over HTTP until it is stopped."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from maskwright.base.extras import require_review
from maskwright.base.listening import bound, require_token, url_of
from maskwright.base.progress import say
from maskwright.core.predictor import Predictor
from maskwright.errors import ConfigError, argument
from maskwright.inference.loading import load, require_torch
from maskwright.run import Run

_GRACE = 5  # seconds that requests get to end


def serve(
    model: str | Path | Run,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    max_bytes: int = 32 << 20,
    timeout: float = 60.0,
    queue: int = 8,
    device: str | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Answers over HTTP until Ctrl-C or SIGTERM: an image file in the body of `POST /predict` comes back as its mask.

    `model` is a run, its folder, a model file, or an exported model (`MODEL.onnx`), which needs no torch. The server is
    at `host` (this machine alone, unless another address is named, which needs a `token` of at least 16 characters) and
    `port` (a free one for 0); with a `token` every request needs the header `Authorization: Bearer TOKEN`. A body has
    at most `max_bytes`, and an answer takes at most `timeout` seconds; one image is computed at a time, and at most
    `queue` requests wait beside it. The address is told on the terminal, and to `ready`.

    Raises ConfigError for a host without a token and for limits that are none, SetupError for a port that is taken and
    where an extra (`review`; `onnx` or `train`) is not installed, DataError where there is no model.
    """
    require_review("serve")
    require_torch(model, "serve")
    import uvicorn

    from maskwright.inference.serving.app import Limits, build_app
    from maskwright.inference.serving.guard import Guard
    from maskwright.inference.serving.metrics import Metrics

    require_token(host, token, "ask")
    problems = [
        f"{argument(name)}: {value} is too small; give at least {least}"
        for name, value, least in (("max_bytes", max_bytes, 1), ("timeout", timeout, 0.1), ("queue", queue, 0))
        if not value >= least
    ]
    if token == "":
        problems.append(f"{argument('token')}: is empty; give a secret, or leave it out")
    if problems:
        raise ConfigError(problems)
    predictor = load(model, device=device)
    _warm(predictor)
    metrics = Metrics()
    app = build_app(predictor, _name(model), Limits(max_bytes, timeout, queue), metrics)
    with bound(host, port) as listening, _stopped():
        address = url_of(host, listening.getsockname()[1])
        config = uvicorn.Config(
            Guard(app, metrics, host, token),
            log_level="error",
            lifespan="off",
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=_GRACE,
        )
        say(f"serving {_name(model)}: {address}")
        say("POST an image file to /predict; Ctrl-C ends")
        if ready:
            ready(address)
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            app.state.turns.close()
    say("ended")


def _name(model: str | Path | Run) -> str:
    """What clients are told: the name of the folder or file, not where it lies."""
    return (model.path if isinstance(model, Run) else Path(model).resolve()).name


def _warm(predictor: Predictor) -> None:
    """The first image takes longer; a model that cannot be computed fails here."""
    preprocessing = predictor.preprocessing
    bands = preprocessing.bands
    predictor.label(np.zeros((*preprocessing.geometry.size, bands.channels), bands.dtype))


@contextmanager
def _stopped() -> Iterator[None]:
    """Ends without an error at Ctrl-C, and at SIGTERM alike, both of which uvicorn passes on when it has ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
