"""Who may ask: whoever has the token, and without one only programs of this machine.

A page of any website can send requests to a port of this machine, and its name can be made to point here. So on this
machine's own address a request has to name it, and comes from no page of another origin; none is told that it may read.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from maskwright.base.listening import is_loopback
from maskwright.base.storage import dump_json
from maskwright.inference.serving.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

PREDICT = "/predict"
_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


class Guard:
    """The server `app` behind the checks (ASGI); counts what is asked of `PREDICT`."""

    def __init__(self, app: App, metrics: Metrics, host: str, token: str | None) -> None:
        self.app, self.metrics, self.token = app, metrics, token
        self.here = is_loopback(host)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers what is refused, and adds headers to what the server answers."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:  # nobody here speaks over web sockets
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
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

    def _refusal(self, scope: Message) -> tuple[int, str] | None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
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
    body = dump_json({"error": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
