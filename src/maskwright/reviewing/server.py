"""The routes of the page: its files, the samples, and their changes, which are JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response

from maskwright.core.classes import IGNORE
from maskwright.core.palette import to_hex
from maskwright.core.sample import Sample
from maskwright.errors import ConfigError, DataError, LockedError, MaskwrightError, SetupError
from maskwright.labels.suspecting.applying import repaired
from maskwright.reviewing import pictures
from maskwright.reviewing.assist_routes import add_assistance
from maskwright.reviewing.bodies import Answer, Change, Step, json_response, mask_of_runs, mask_response
from maskwright.reviewing.run_routes import add_runs
from maskwright.reviewing.state import Server as Server
from maskwright.reviewing.store import Conflict

STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
_TYPES[".svg"] = "image/svg+xml"
_CODES = ((Conflict, 409), (LockedError, 423), (ConfigError, 400), (SetupError, 503), (DataError, 422))
_FOREVER = {"cache-control": "private, max-age=86400, immutable"}


def build_app(server: Server) -> FastAPI:
    """The routes over `server`; who may use them is for `security.Guard` to say."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    store, queue = server.store, server.queue

    def size_of(sample: Sample) -> tuple[int, int]:
        return store.now()[0].image_size(sample)

    @app.exception_handler(MaskwrightError)
    async def refused(_: Request, error: MaskwrightError) -> Response:
        code = next((code for kind, code in _CODES if isinstance(error, kind)), 500)
        return json_response({"error": str(error)}, code)

    @app.exception_handler(RequestValidationError)
    async def misunderstood(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return json_response({"error": f"{'.'.join(map(str, first['loc']))}: {first['msg']}"}, 422)

    @app.get("/")
    def page() -> Response:
        return static("index.html")

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        file = STATIC / name
        if file.parent != STATIC or file.suffix not in _TYPES or not file.is_file():
            return json_response({"error": "no such file"}, 404)
        return Response(file.read_bytes(), media_type=_TYPES[file.suffix])

    @app.get("/api/dataset")
    def dataset() -> Response:
        found, _ = store.now()
        leaves = zip(found.classes.leaves, server.colours, strict=True)
        rest = [lead.to_dict() for lead in queue.leads() if lead.finding.sample is None]
        return json_response(
            {
                "name": found.name,
                "session": server.session,
                "classes": [{"id": leaf.id, "name": leaf.name, "colour": to_hex(c)} for leaf, c in leaves],
                "background": found.classes.background,
                "ignore": IGNORE,
                "suspects": queue.folder.name if queue.folder else None,
                "findings": rest,
                "rows": server.rows(range(len(found))),
                **server.state(),
            }
        )

    @app.get("/api/state")
    def state() -> Response:
        return json_response(server.state())

    @app.get("/api/samples/{number}/thumbnail/{kind}")
    def thumbnail(number: int, kind: Literal["image", "label"]) -> Response:
        sample = store.sample(number)
        try:
            data = server.thumbnails.get(
                store.now()[0], sample, lambda: store.mask(sample), kind == "image", store.revision(sample)
            )
        except OSError as error:
            raise DataError(f"{sample.image}: {error.strerror}; restore it") from None
        server.shown.set()
        return Response(data, media_type="image/jpeg", headers=_FOREVER)

    @app.get("/api/samples/{number}/image")
    def image(number: int) -> Response:
        data, kind = pictures.browser_image(store.now()[0], store.sample(number))
        return Response(data, media_type=kind, headers=_FOREVER)

    @app.get("/api/samples/{number}/mask")
    def mask(number: int) -> Response:
        sample = store.sample(number)
        revision = store.revision(sample)
        return mask_response(store.mask(sample), {"x-revision": revision})

    @app.get("/api/samples/{number}/prediction")
    def predicted(number: int) -> Response:
        sample = store.sample(number)
        return mask_response(
            server.recent.get(("prediction", sample.name, queue.folder), lambda: server.prediction(sample))
        )

    @app.get("/api/samples/{number}/proposal")
    def proposal(number: int) -> Response:
        sample = store.sample(number)
        numbers = [lead.number for lead in queue.of(sample.name) if lead.number and queue.folder]
        if queue.folder is None or not numbers:
            raise DataError(f"{sample.name}: there is no proposal for it")
        return mask_response(repaired(store.now()[0], sample, queue.folder, numbers))

    @app.post("/api/samples/{number}/edit")
    def edit(number: int, change: Change) -> Response:
        mask = None if change.runs is None else mask_of_runs(change.runs, size_of(store.sample(number)))
        return server.after(store.save(number, change.revision, status=change.status, mask=mask))

    @app.post("/api/samples/{number}/answer")
    def answer(number: int, answer: Answer) -> Response:
        known = {lead.number for lead in queue.of(store.sample(number).name) if lead.source == answer.folder}
        if queue.folder is None or answer.folder != queue.folder.name or answer.number not in known:
            raise DataError("proposal: is not there any more; reload the page")
        answered = store.accept if answer.accept else store.refuse
        return server.after(answered(number, answer.revision, queue.folder, answer.number))

    @app.post("/api/undo")
    def undo(step: Step) -> Response:
        return server.after(store.undo(step.batch))

    @app.post("/api/redo")
    def redo(step: Step) -> Response:
        return server.after(store.redo(step.batch))

    add_assistance(app, server)
    add_runs(app, server)
    return app
