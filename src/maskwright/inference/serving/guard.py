"""Who may ask: whoever has the token, and without one only programs of this machine.

A page of any website can send requests to a port of this machine, and its name can be made to point here. So on this
machine's own address a request has to name it, and comes from no page of another origin; none is told that it may read.
"""

from __future__ import annotations

import re
import secrets
import time

from maskwright.base.asgi import App, HttpGuard, Message, Receive, Scope, Send, headers_of, respond
from maskwright.base.listening import is_loopback
from maskwright.base.storage import dump_json
from maskwright.inference.serving.metrics import Metrics

PREDICT = "/predict"
_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


class Guard(HttpGuard):
    """The server `app` behind the checks; counts what is asked of `PREDICT`."""

    def __init__(self, app: App, metrics: Metrics, host: str, token: str | None) -> None:
        super().__init__(app)
        self.metrics, self.token = metrics, token
        self.here = is_loopback(host)

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As `HttpGuard.http`."""
        began = time.monotonic()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
                if scope["path"] == PREDICT:
                    self.metrics.count(message["status"], time.monotonic() - began)
            await send(message)

        if refused := self._refusal(scope):
            await _refuse(sending, *refused)
        else:
            await self.app(scope, receive, sending)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = headers_of(scope)
        if self.here:
            host = headers.get("host", "")
            if not is_loopback(re.sub(r":\d+$", "", host)):
                return 403, "host: the request names another host; ask this machine by 127.0.0.1 or localhost"
            if headers.get("origin", f"http://{host}") != f"http://{host}":
                return 403, "origin: a page of another site asks; ask from a program"
        if self.token is not None:
            given = headers.get("authorization", "").encode("utf-8", "replace")
            if not secrets.compare_digest(given, f"Bearer {self.token}".encode()):
                return 401, "authorization: the token is missing or wrong; send `Authorization: Bearer TOKEN`"
        return None


async def _refuse(send: Send, status: int, text: str) -> None:
    headers = {"content-type": "application/json"} | ({"www-authenticate": "Bearer"} if status == 401 else {})
    await respond(send, status, dump_json({"error": text}).encode(), headers)
