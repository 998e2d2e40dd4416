"""The routes: a mask for an image, and what the server and its model are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from maskwright.base.progress import say
from maskwright.base.storage import dump_json
from maskwright.core.palette import to_hex
from maskwright.core.predictor import Predictor
from maskwright.errors import DataError, MaskwrightError, one_line
from maskwright.inference.serving.answers import BODY, FORMS, Form, answer
from maskwright.inference.serving.metrics import Metrics
from maskwright.inference.serving.turns import Busy, Turns

_ACCEPTED = {"image/png": "png", "application/json": "json", "image/*": "png", "*/*": "png"}


@dataclass(frozen=True)
class Limits:
    """Of a request: bytes of its body, seconds until its answer; and how many wait beside the one that is computed."""

    bytes: int = 32 << 20
    seconds: float = 60.0
    queue: int = 8


class Refused(Exception):
    """What is answered in place of a mask."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        self.response = _error(status, text, headers)


def build_app(predictor: Predictor, name: str, limits: Limits, metrics: Metrics) -> FastAPI:
    """The routes over a model called `name`; who may use them is for `guard.Guard` to say."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    turns = Turns(limits.queue)
    app.state.turns = turns

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return error.response

    @app.exception_handler(MaskwrightError)
    async def unusable(_: Request, error: MaskwrightError) -> Response:
        return _error(422 if isinstance(error, DataError) else 503, str(error))

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        known = "POST /predict, GET /health, GET /metrics and GET /model"
        return _error(error.status_code, f"{request.method} {request.url.path}: not here; there are {known}")

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        form, deadline = _form(request), asyncio.get_running_loop().time() + limits.seconds
        _check(request, limits.bytes)
        try:
            with turns.place():
                try:
                    async with asyncio.timeout_at(deadline):
                        body = await _body(request, limits.bytes)
                except TimeoutError:
                    raise Refused(408, f"{BODY}: did not arrive in {limits.seconds:g} s; send it faster") from None
                async with asyncio.timeout_at(deadline):
                    found = await turns.run(partial(answer, predictor, body, form))
        except Busy:
            text = f"the queue: {limits.queue} requests wait already; ask again later"
            raise Refused(503, text, {"retry-after": "1"}) from None
        except TimeoutError:
            text = f"{BODY}: no mask within {limits.seconds:g} s; ask again later, or send a smaller image"
            raise Refused(503, text, {"retry-after": "5"}) from None
        except ClientDisconnect:  # hears no answer; it is counted
            raise Refused(400, f"{BODY}: ended early; send all of it") from None
        except (Refused, MaskwrightError):
            raise
        except Exception as error:
            say(one_line(f"error: {type(error).__name__}: {error}"))
            raise Refused(
                500, "the server: an error of its own; its operator finds it in the server's output"
            ) from None
        return Response(found.body, headers=found.headers)

    @app.get("/health")
    async def health() -> Response:
        return _json({"ready": True, "model": name, "classes": predictor.classes.names})

    @app.get("/metrics")
    async def measured() -> Response:
        return Response(metrics.text(turns.waiting), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/model")
    async def model() -> Response:
        leaves = predictor.classes.leaves
        classes = [
            {"id": leaf.id, "name": leaf.name, "colour": to_hex(leaf.colour), "parents": leaf.parents}
            for leaf in leaves
        ]
        height, width = predictor.preprocessing.geometry.size
        size = {"height": height, "width": width}
        preprocessing = predictor.preprocessing.to_dict()
        return _json({"model": name, "classes": classes, "size": size, "preprocessing": preprocessing})

    return app


def _form(request: Request) -> Form:
    """What `?as=` asks for, else the first of `Accept` that there is, else the PNG."""
    wanted = request.query_params.get("as")
    if wanted is None:
        kinds = (kind.partition(";")[0].strip().lower() for kind in request.headers.get("accept", "").split(","))
        wanted = next((_ACCEPTED[kind] for kind in kinds if kind in _ACCEPTED), "png")
    for form in FORMS:
        if form == wanted:
            return form
    raise Refused(400, f"as: {wanted!r} is no form of an answer; there are {', '.join(FORMS)}")


def _check(request: Request, most: int) -> None:
    """Refuses by the headers alone."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.startswith("image/") and kind != "application/octet-stream":
        raise Refused(
            415, f"content-type: is {kind or 'missing'}; send an image file as image/* or application/octet-stream"
        )
    if (packed := request.headers.get("content-encoding", "identity").lower()) != "identity":
        raise Refused(415, f"content-encoding: is {packed}; send the file as it is")
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()):
        raise Refused(400, "content-length: is no number; send the length of the body")
    if len(length) > 18 or int(length) > most:
        raise _too_large(most)


async def _body(request: Request, most: int) -> bytes:
    parts, got = [], 0
    async for part in request.stream():
        got += len(part)
        if got > most:
            raise _too_large(most)
        parts.append(part)
    if not got:
        raise Refused(422, f"{BODY}: is empty; send an image file")
    return b"".join(parts)


def _too_large(most: int) -> Refused:
    return Refused(413, f"{BODY}: more than {most:,} bytes; send a smaller file")


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    response = _json({"error": one_line(text)}, status)
    response.headers.update(headers or {})
    return response


def _json(value: Any, status: int = 200) -> Response:
    return Response(dump_json(value), status, media_type="application/json")
