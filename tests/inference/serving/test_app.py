"""What the server answers: masks in every form, and one line for all that it refuses."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from exported_model import TREE
from hostile import PICTURE, encoded, requests
from maskwright.core.masks import png_bytes
from maskwright.core.polygons import rasterise
from maskwright.core.rle import decode_counts, unpack_counts
from maskwright.inference.serving import answers, app
from maskwright.inference.serving.app import Limits, build_app
from maskwright.inference.serving.metrics import Metrics


def error_of(response, status: int) -> str:
    assert response.status_code == status, response.text
    assert [*response.json()] == ["error"]
    text = response.json()["error"]
    assert ": " in text and "; " in text and "\n" not in text and "Traceback" not in text
    return text


def test_masks_are_those_of_the_model(segmenter, pictures, serving) -> None:
    client = serving(segmenter)
    for pixels in pictures:
        mask = segmenter.label(pixels)
        ids = TREE.to_ids(mask)
        image = png_bytes(pixels)
        answer = client.post("/predict", content=image, headers=PICTURE)
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
        with Image.open(io.BytesIO(answer.content)) as shown:
            assert shown.mode == "P" and np.array_equal(np.asarray(shown), ids)
        numbers, counts = np.unique(ids, return_counts=True)
        there = {str(number): count for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)}
        assert json.loads(answer.headers["x-class-pixels"]) == there
        by_accept = client.post(
            "/predict", content=image, headers=PICTURE | {"accept": "text/html, application/json;q=1"}
        )
        plain = client.post("/predict?as=json", content=image, headers=PICTURE | {"accept": "image/png"}).json()
        assert by_accept.json() == plain
        runs, polygons = (
            client.post(f"/predict?as={form}", content=image, headers=PICTURE).json() for form in ("rle", "polygons")
        )
        _, maps = next(segmenter.label_with_maps([pixels]))
        for found in (plain, runs, polygons):
            assert (found["height"], found["width"]) == mask.shape
            assert [(row["id"], row["name"]) for row in found["classes"]] == [
                (leaf.id, leaf.name) for leaf in TREE.leaves
            ]
            for index, row in enumerate(found["classes"]):
                region = mask == index
                assert row["pixels"] == region.sum() and row["share"] == pytest.approx(region.mean())
                sure = float(maps()(index)[region].mean()) if region.any() else None
                assert row["confidence"] == (pytest.approx(sure, abs=1e-6) if region.any() else None)
        for index, (row, outlined) in enumerate(zip(runs["classes"], polygons["classes"], strict=True)):
            assert row["rle"]["size"] == [*mask.shape]
            assert np.array_equal(decode_counts(unpack_counts(row["rle"]["counts"]), *mask.shape), mask == index)
            rings = [np.array(ring, float) for component in outlined["polygons"] for ring in component]
            assert np.array_equal(rasterise(rings, *mask.shape), mask == index)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000"])
def test_every_kind_of_image(segmenter, serving, tmp_path, kind: str) -> None:
    data = encoded(kind)
    (tmp_path / "image").write_bytes(data)
    answer = serving(segmenter).post("/predict", content=data, headers={"content-type": "application/octet-stream"})
    with Image.open(io.BytesIO(answer.content)) as shown:
        assert np.array_equal(np.asarray(shown), TREE.to_ids(segmenter.label(tmp_path / "image")))


def test_hostile_requests_are_refused_in_one_line(segmenter, serving) -> None:
    client = serving(segmenter, bytes=1 << 20)
    asked = [*requests()]
    assert len(asked) >= 60
    for name, body, headers, status in asked:
        answer = client.post("/predict", content=body, headers=headers)
        assert answer.status_code == status, (name, answer.status_code, answer.text)
        error_of(answer, status)
    assert client.post("/predict", content=encoded("PNG"), headers=PICTURE).status_code == 200
    text = client.get("/metrics").text
    assert f'maskwright_requests_total{{outcome="refused"}} {len(asked)}\n' in text
    assert 'maskwright_requests_total{outcome="answered"} 1\n' in text
    assert f"maskwright_request_seconds_count {len(asked) + 1}\n" in text and "maskwright_queue_length 0\n" in text


def test_what_the_server_is(segmenter, serving) -> None:
    client = serving(segmenter)
    assert client.get("/health").json() == {"ready": True, "model": "garden", "classes": TREE.names}
    model = client.get("/model").json()
    assert model["size"] == {"height": 24, "width": 40}
    assert model["classes"][1] == {"id": 9, "name": "leaf", "colour": "#00FF00", "parents": ["plant"]}
    assert model["preprocessing"] == json.loads(json.dumps(segmenter.preprocessing.to_dict()))
    assert "/predict" in error_of(client.get("/nothing"), 404)
    assert "/predict" in error_of(client.get("/predict"), 405)
    assert error_of(client.post("/predict?as=xml", content=b"x", headers=PICTURE), 400).startswith("as: 'xml'")


def test_only_this_machine_by_its_own_name(segmenter, serving) -> None:
    client = serving(segmenter)
    for host in (
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8000",
        "",
        "[::2]",
        "10.0.0.1",
    ):
        assert "127.0.0.1" in error_of(client.get("/health", headers={"host": host}), 403)
    for host in ("localhost", "localhost:1", "127.0.0.1:8000", "[::1]:8000"):
        assert client.get("/health", headers={"host": host}).status_code == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        answer = client.post("/predict", content=encoded("PNG"), headers=PICTURE | {"origin": origin})
        assert "another site" in error_of(answer, 403)
    answer = client.options("/predict", headers={"access-control-request-method": "POST"})
    assert answer.status_code == 405 and not any(name.startswith("access-control") for name in answer.headers)
    beyond = serving(segmenter, host="0.0.0.0", token="a" * 16)
    assert (
        beyond.get("/health", headers={"host": "masks.example", "authorization": "Bearer " + "a" * 16}).status_code
        == 200
    )


def test_the_token(segmenter, serving) -> None:
    client = serving(segmenter, token="zebra-in-the-garden")
    for given in (
        None,
        "",
        "zebra-in-the-garden",
        "Bearer",
        "Bearer zebra",
        "Basic zebra-in-the-garden",
        "Bearer zebra-in-the-garden "[:-2],
        "Bearer é",
    ):
        headers = PICTURE | ({} if given is None else {"authorization": given.encode()})
        for answer in (
            client.get("/health", headers=headers),
            client.post("/predict", content=encoded("PNG"), headers=headers),
        ):
            assert "token" in error_of(answer, 401) and answer.headers["www-authenticate"] == "Bearer"
    right = PICTURE | {"authorization": "Bearer zebra-in-the-garden"}
    assert client.post("/predict", content=encoded("PNG"), headers=right).status_code == 200


class Slow:
    """Labels when it is let go."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), 0

    def __call__(self, *given):
        self.begun += 1
        assert self.go.wait(20)
        return answers.answer(*given)


@pytest.fixture
def slow(monkeypatch) -> Slow:
    found = Slow()
    monkeypatch.setattr(app, "answer", found)
    return found


def until(true) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_full_queue_is_said_at_once(segmenter, serving, slow: Slow) -> None:
    client = serving(segmenter, queue=2)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(client.post, "/predict", content=encoded("PNG"), headers=PICTURE) for _ in range(3)]
        until(lambda: "maskwright_queue_length 2\n" in client.get("/metrics").text)
        answer = client.post("/predict", content=encoded("PNG"), headers=PICTURE)
        assert "2 requests wait already" in error_of(answer, 503) and answer.headers["retry-after"] == "1"
        assert client.get("/health").status_code == 200 and slow.begun == 1
        slow.go.set()
        assert [one.result().status_code for one in asked] == [200] * 3
    assert 'outcome="busy"} 1\n' in client.get("/metrics").text
    assert client.post("/predict", content=encoded("PNG"), headers=PICTURE).status_code == 200


def test_what_takes_too_long_is_given_up(segmenter, serving, slow: Slow) -> None:
    client = serving(segmenter, queue=1, seconds=0.2)
    for _ in range(3):  # the first is computed in vain, the others are never begun
        answer = client.post("/predict", content=encoded("PNG"), headers=PICTURE)
        assert "no mask within 0.2 s" in error_of(answer, 503) and "retry-after" in answer.headers
    assert slow.begun == 1
    slow.go.set()
    until(lambda: client.post("/predict", content=encoded("PNG"), headers=PICTURE).status_code == 200)
    assert slow.begun >= 2


def test_an_error_of_its_own_is_told_to_the_operator_alone(segmenter, serving, monkeypatch, capsys) -> None:
    def broken(*given):
        raise RuntimeError("secret/path\nis broken")

    monkeypatch.setattr(app, "answer", broken)
    client = serving(segmenter)
    assert "secret" not in error_of(client.post("/predict", content=encoded("PNG"), headers=PICTURE), 500)
    assert capsys.readouterr().err == "error: RuntimeError: secret/path\\nis broken\n"
    assert 'outcome="failed"} 1\n' in client.get("/metrics").text


def test_memory_that_does_not_suffice(segmenter, serving, monkeypatch) -> None:
    def starved(self, images):
        raise RuntimeError("out of memory")
        yield

    monkeypatch.setattr(type(segmenter), "label_with_maps", starved)
    answer = serving(segmenter).post("/predict", content=encoded("PNG"), headers=PICTURE)
    assert "not enough memory to predict an image of 60x40" in error_of(answer, 503)


def ask(served, parts: Iterator[dict]) -> tuple[int, str]:
    """Status and body of a request whose body comes part by part, and after the last part nothing more."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "query_string": b"",
        "headers": [(b"content-type", b"image/png")],
    }
    sent = []

    async def receive():
        if (part := next(parts, None)) is None:
            await asyncio.sleep(60)
        return part

    async def send(message) -> None:
        sent.append(message)

    asyncio.run(served(scope, receive, send))
    return sent[0]["status"], sent[1]["body"].decode()


def test_a_body_is_counted_while_it_comes(segmenter) -> None:
    served = build_app(segmenter, "garden", Limits(bytes=1 << 14), Metrics())
    endless = ({"type": "http.request", "body": bytes(1 << 10), "more_body": True} for _ in range(1000))
    assert ask(served, endless) == (413, '{"error": "the body: more than 16,384 bytes; send a smaller file"}')
    assert len([*endless]) == 1000 - 17


@pytest.mark.parametrize("end, status", [([], 408), ([{"type": "http.disconnect"}], 400)])
def test_a_body_that_never_ends(segmenter, end, status: int) -> None:
    served = build_app(segmenter, "garden", Limits(seconds=0.1, queue=0), Metrics())
    for _ in range(2):  # the place is free again
        begin = {"type": "http.request", "body": b"\x89PNG", "more_body": True}
        assert ask(served, iter([begin, *end]))[0] == status
