"""A server in this process, behind its checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

pytest.importorskip("fastapi", reason="the extra `review` is not installed")

from fastapi.testclient import TestClient

from exported_model import segmenter_of
from maskwright.inference.serving.app import Limits, build_app
from maskwright.inference.serving.guard import Guard
from maskwright.inference.serving.metrics import Metrics

Serving = Callable[..., TestClient]


@pytest.fixture(scope="session")
def segmenter():
    return segmenter_of()


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Starts one over a predictor; the keywords are those of `Limits`."""
    with ExitStack() as stack:

        def start(predictor, *, host: str = "127.0.0.1", token: str | None = None, **limits) -> TestClient:
            metrics = Metrics()
            app = build_app(predictor, "garden", Limits(**limits), metrics)
            guarded = Guard(app, metrics, host, token)
            return stack.enter_context(TestClient(guarded, base_url="http://127.0.0.1:8000"))

        yield start
