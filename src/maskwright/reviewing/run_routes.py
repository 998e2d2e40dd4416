"""The routes of the dashboard: runs, pages that verbs have written, and a try of a run on an image."""

from __future__ import annotations

import base64
import binascii
import importlib.util
import io
import threading
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from PIL import Image, UnidentifiedImageError
from pydantic import StrictInt

from maskwright.base.extras import require_train
from maskwright.base.limits import MAX_PIXELS
from maskwright.base.texts import percent
from maskwright.core.description import FOLDER
from maskwright.core.masks import class_pixels, jpeg_bytes, overlay
from maskwright.core.sample import DECODERS, opened_pixels
from maskwright.errors import DataError
from maskwright.reviewing import runs
from maskwright.reviewing.bodies import Body, json_response
from maskwright.reviewing.state import Server

# A page that a verb has written runs its own scripts, but as a stranger: without cookies and without the network.
_PAGE_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; img-src data: 'self'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; font-src data:"
)


class Try(Body):
    """The run of that place in the list, and an image file in base64."""

    run: StrictInt
    image: str


def add_runs(app: FastAPI, server: Server) -> None:
    """Adds the routes to `app`."""
    outputs_at = server.store.home / FOLDER
    trying = threading.Lock()

    def outputs() -> dict[str, Path]:
        found = sorted(path for path in outputs_at.glob("*-[0-9][0-9][0-9]") if path.is_dir())
        return {path.name: path for path in found}

    def run_at(place: int) -> Path:
        found = server.run_folders()
        if not 0 <= place < len(found):
            raise DataError(f"run {place}: there are {len(found)}, from 0; reload the list")
        return found[place]

    @app.get("/api/runs")
    def list_runs() -> Response:
        found = [{"name": name, "pages": list(runs.pages_of(path))} for name, path in outputs().items()]
        lacking = None if importlib.util.find_spec("torch") else "This needs torch: `pip install maskwright[train]`."
        studies = [runs.describe_study(path) for path in server.study_folders()]
        of_studies = {row["run"] for study in studies for row in study.get("runs", ())}
        rows = [runs.describe_run(run) | {"in_study": str(run) in of_studies} for run in server.run_folders()]
        return json_response({"runs": rows, "studies": studies, "outputs": found, "lacking": lacking})

    @app.get("/pages/run/{place}/{name:path}")
    def run_page(place: int, name: str) -> Response:
        return page_response(run_at(place), name)

    @app.get("/pages/study/{place}/{name:path}")
    def study_page(place: int, name: str) -> Response:
        found = server.study_folders()
        if not 0 <= place < len(found):
            raise DataError(f"study {place}: there are {len(found)}, from 0; reload the list")
        return page_response(found[place], name)

    @app.get("/pages/output/{folder}/{name:path}")
    def output_page(folder: str, name: str) -> Response:
        if folder not in (found := outputs()):
            raise DataError(f"{folder}: no such output; reload the list")
        return page_response(found[folder], name)

    @app.post("/api/try")
    def try_out(body: Try) -> Response:
        require_train("a try")
        run, pixels = run_at(body.run), _pixels(body.image)
        from maskwright.inference.loading import load, model_file

        with trying:  # one at a time: a model takes all cores
            file = model_file(run)
            model = server.recent.get(("model", file, file.stat().st_mtime_ns), lambda: load(run))
            mask = model.label(pixels)
        classes = model.classes
        counts = class_pixels(mask, len(classes))
        drawn = jpeg_bytes(overlay(pixels, mask, classes.colours, background=classes.background))
        shares = [
            {"name": name, "share": percent(int(count) / mask.size)}
            for name, count in zip(classes.names, counts, strict=False)
            if count
        ]
        return json_response({"overlay": base64.b64encode(drawn).decode(), "classes": shares})

    def page_response(folder: Path, name: str) -> Response:
        file = runs.page_file(folder, name)
        kind = runs.PAGE_TYPES[file.suffix.lower()]
        return Response(file.read_bytes(), media_type=kind, headers={"content-security-policy": _PAGE_POLICY})


def _pixels(image: str) -> Any:
    """(H, W, 3) uint8 of an image file in base64. DataError for what is none."""
    what = "the image"
    try:
        data = base64.b64decode(image, validate=True)
        with Image.open(io.BytesIO(data), formats=DECODERS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise DataError(f"{what}: more than {MAX_PIXELS // 10**6} million pixels; take a smaller one")
            return opened_pixels(opened, what)
    except (binascii.Error, UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{what}: is not readable ({error}); take a {', '.join(DECODERS)}") from None
