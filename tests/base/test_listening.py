"""Where a local server listens."""

from __future__ import annotations

import asyncio
import socket

import pytest

from maskwright.base.listening import bound, is_loopback, require_token, url_of
from maskwright.errors import ConfigError, SetupError


def test_who_asks_before_the_server_runs_waits() -> None:
    with bound("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname(), timeout=5) as client:
        client.sendall(b"hello")
        served, _ = listening.accept()
        with served:
            assert served.recv(5) == b"hello"
        with pytest.raises(SetupError, match="cannot listen there"):
            bound(*listening.getsockname())


def test_who_can_reach_a_host() -> None:
    assert [host for host in ("localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]") if not is_loopback(host)] == []
    assert [host for host in ("0.0.0.0", "::", "10.0.0.1", "a.localhost", "") if is_loopback(host)] == []
    require_token("localhost", None, "ask")
    require_token("0.0.0.0", "a" * 16, "ask")
    with pytest.raises(ConfigError, match="those who may ask"):
        require_token("0.0.0.0", "a" * 15, "ask")
    assert url_of("::1", 80) == "http://[::1]:80" and url_of("localhost", 1) == "http://localhost:1"


def test_answers_are_sent_without_delay() -> None:
    """Else a small answer waits until the one before it is acknowledged, which takes 40 ms."""

    async def accepted() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = bound("127.0.0.1", 0)
        async with await asyncio.start_server(look, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            value = await found
            writer.close()
        return value

    assert asyncio.run(accepted())
