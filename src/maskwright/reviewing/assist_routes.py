"""The routes that draw with the user. They change nothing: what they answer is a preview, until it is saved."""

from __future__ import annotations

from typing import Annotated

import cv2
from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import Field, FiniteFloat, StrictInt

from maskwright.core.masks import Mask, Pixels
from maskwright.core.sample import Sample
from maskwright.errors import DataError
from maskwright.reviewing import assisting, pictures
from maskwright.reviewing.bodies import Body, json_response, mask_of_runs, mask_response
from maskwright.reviewing.state import Server

Point = tuple[FiniteFloat, FiniteFloat]


class Line(Body):
    """Where a line along edges begins and ends, (x, y) in pixels of the image."""

    start: Point
    end: Point


class Strokes(Body):
    """Strokes as run lengths of class indices; 254 is no stroke."""

    runs: list[StrictInt]


class Region(Body):
    """A box (x, y, width, height) or a point (x, y), the class it gets, and the mask as it is now."""

    index: Annotated[int, Field(alias="class")]
    box: tuple[StrictInt, StrictInt, StrictInt, StrictInt] | None = None
    point: tuple[StrictInt, StrictInt] | None = None
    runs: list[StrictInt]


def add_assistance(app: FastAPI, server: Server) -> None:
    """Adds the routes to `app`."""
    store = server.store

    def image_of(sample: Sample) -> Pixels:
        return server.recent.get(("pixels", sample.name), lambda: store.now()[0].read_image(sample))

    def probabilities_of(sample: Sample) -> assisting.Floats | None:
        """Of models that have not seen the image; None where there are none."""

        def read() -> assisting.Floats | None:
            try:
                return server.probabilities(sample)
            except DataError:
                return None

        return server.recent.get(("probabilities", sample.name, server.queue.folder), read)

    @app.post("/api/samples/{number}/scissors")
    def scissors(number: int, line: Line) -> Response:
        return json_response({"points": assisting.Edges(image_of(store.sample(number))).line(line.start, line.end)})

    @app.post("/api/samples/{number}/scribble")
    def scribble(number: int, body: Strokes) -> Response:
        sample = store.sample(number)
        image = image_of(sample)
        strokes = mask_of_runs(body.runs, image.shape[:2])
        classes = len(store.now()[0].classes)
        if ((strokes >= classes) & (strokes < assisting.NO_STROKE)).any():
            raise DataError("strokes: hold what is no class; reload the page")
        known = server.features.get(
            ("features", sample.name, server.queue.folder),
            lambda: assisting.stroke_features(image, probabilities_of(sample)),
        )
        return mask_response(assisting.from_strokes(known, strokes))

    @app.post("/api/samples/{number}/region")
    def region(number: int, body: Region) -> Response:
        sample = store.sample(number)
        image, classes = image_of(sample), store.now()[0].classes
        mask: Mask = mask_of_runs(body.runs, image.shape[:2])
        chances = probabilities_of(sample)
        if body.box is not None:
            likely = None
            if chances is not None and 0 <= body.index < len(classes):
                likely = cv2.resize(chances[body.index], image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
            found = assisting.from_box(image, body.box, likely)
        elif body.point is not None:
            labels = None if chances is None else pictures.labels_at(chances, image.shape[:2])
            found = assisting.from_point(image, body.point, labels)
        else:
            raise DataError("region: neither a box nor a point is given; reload the page")
        return mask_response(assisting.painted(mask, found, body.index, classes, body.box))
