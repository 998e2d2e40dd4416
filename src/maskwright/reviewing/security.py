"""Who may use the page: the browser that was opened with the token, and no other page in it.

A page of any website can send requests to a port of this machine, and its name can be made to point here. So every
request names this very host, comes from no other origin, and has the cookie that the token was exchanged for. What
comes back runs no script but the files of the page.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import threading
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from maskwright.base.asgi import App, HttpGuard, Message, Receive, Scope, Send, headers_of, respond
from maskwright.base.listening import is_loopback

MOST_BYTES = 64 << 20  # of the body of a request: the runs of the worst mask of 8 million pixels
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Access:
    """Tokens and cookies of one server. A token that was made here opens the page once; then `renewed` is told the next
    one. A token that the user has chosen stays."""

    def __init__(self, host: str, port: int, token: str | None, renewed: Callable[[str], None] = lambda token: None):
        self.host, self.port, self._fixed, self._renewed = host, port, token, renewed
        self.token = token or secrets.token_urlsafe(24)
        self._session = secrets.token_urlsafe(32)
        self.cookie = f"maskwright_{port}"  # browsers keep cookies by host, whatever the port
        self._lock = threading.Lock()

    def open(self, token: str) -> str | None:
        """The value of the `Set-Cookie` header for a right token, else None."""
        with self._lock:
            if not secrets.compare_digest(token.encode("utf-8", "replace"), self.token.encode()):
                return None
            if self._fixed is None:
                self.token = secrets.token_urlsafe(24)
        if self._fixed is None:
            self._renewed(self.token)
        return f"{self.cookie}={self._session}; HttpOnly; SameSite=Strict; Path=/"

    def is_open(self, cookies: str) -> bool:
        """Whether a `Cookie` header has the cookie."""
        try:
            found = SimpleCookie(cookies).get(self.cookie)
        except CookieError:
            return False
        return found is not None and secrets.compare_digest(found.value.encode(), self._session.encode())

    def is_here(self, host: str) -> bool:
        """Whether a `Host` header names this server."""
        name, _, port = host.rpartition(":")
        if port != str(self.port):
            return False
        if is_loopback(self.host):
            return name in _LOOPBACK
        if self.host not in ("0.0.0.0", "::"):
            return name.strip("[]") == self.host
        try:  # all addresses of this machine; a name could be made to point to any of them
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name in ("localhost", socket.gethostname())
        return True


class Guard(HttpGuard):
    """The server `app` behind all checks."""

    def __init__(self, app: App, access: Access) -> None:
        super().__init__(app)
        self.access = access

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As `HttpGuard.http`."""
        headers = headers_of(scope)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["path"] == "/" and scope["method"] == "GET" and "token" in query and self._is_ours(headers, "GET"):
            if cookie := self.access.open(query["token"][0]):
                await _answer(send, 303, "", {"location": "/", "set-cookie": cookie})
            elif self.access.is_open(headers.get("cookie", "")):  # a link that was opened twice
                await _answer(send, 303, "", {"location": "/"})
            else:
                await _answer(send, 403, _USED)
        elif refused := self._refusal(scope["method"], headers):
            await _answer(send, *refused)
        else:
            await self.app(scope, _limited(receive), _with_headers(send))

    def _is_ours(self, headers: dict[str, str], method: str) -> bool:
        host = headers.get("host", "")
        origin = headers.get("origin")
        if not self.access.is_here(host) or (origin is None and method not in ("GET", "HEAD")):
            return False
        return origin in (None, f"http://{host}")

    def _refusal(self, method: str, headers: dict[str, str]) -> tuple[int, str] | None:
        if not self._is_ours(headers, method):
            return (
                403,
                "this address is not the page's own, or another page asks; open the link that the terminal shows",
            )
        if not self.access.is_open(headers.get("cookie", "")):
            return 401, _USED
        if method not in ("GET", "HEAD", "POST"):
            return 405, "only GET and POST"
        if method == "POST":
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                return 415, "changes are sent as application/json"
            length = headers.get("content-length", "0")
            if not length.isdecimal() or int(length) > MOST_BYTES:
                return 413, f"more than {MOST_BYTES >> 20} MiB"
        return None


_USED = "open the link that the terminal shows last; each opens the page in one browser"


def _limited(receive: Receive) -> Receive:
    """A body without a length is counted while it comes."""
    got = 0

    async def counted() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > MOST_BYTES:
            return {"type": "http.disconnect"}
        return message

    return counted


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *((k.encode(), v.encode()) for k, v in _HEADERS.items() if k.encode() not in given),
            ]
        await send(message)

    return sending


async def _answer(send: Send, status: int, text: str, headers: dict[str, str] | None = None) -> None:
    fields = {**_HEADERS, "content-type": "text/plain; charset=utf-8"}
    await respond(send, status, text.encode(), fields | (headers or {}))
