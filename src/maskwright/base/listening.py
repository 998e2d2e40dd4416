"""Where a local server listens, and who can reach it there."""

from __future__ import annotations

import ipaddress
import socket

from maskwright.errors import ConfigError, SetupError, argument

_LEAST_TOKEN = 16


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server at `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def require_token(host: str, token: str | None, may: str) -> None:
    """ConfigError for a host that others can reach, without a token for those who may do what `may` says."""
    if not is_loopback(host) and (token is None or len(token) < _LEAST_TOKEN):
        raise ConfigError(
            f"{argument('host')} {host}: others can reach it there; give {argument('token')} with it, a secret "
            f"of at least {_LEAST_TOKEN} characters that you tell those who may {may}"
        )


def url_of(host: str, port: int) -> str:
    """The URL of a server there."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens at that address. SetupError when it cannot be had."""
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # By its protocol asyncio knows what it may send without delay: each answer took 40 ms without it.
        found = socket.socket(address[0], address[1], socket.IPPROTO_TCP)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address[4])
            found.listen(128)  # who asks as soon as the address is told waits, and is not refused
        except OSError:
            found.close()
            raise
    except (OSError, OverflowError) as error:
        raise SetupError(f"{host}:{port}: cannot listen there ({error}); choose another {argument('port')}") from None
    return found
