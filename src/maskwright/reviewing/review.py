"""The verb `review`: serves the page until it is stopped."""

from __future__ import annotations

import contextlib
import webbrowser
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from maskwright.base.extras import require_review
from maskwright.base.listening import bound, require_token, url_of
from maskwright.base.progress import say
from maskwright.core.dataset import Dataset
from maskwright.data.opening import folder_of
from maskwright.reviewing.security import Access, Guard


def review(
    data: str | Path | Dataset,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    browser: bool = True,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serves the page on which the masks of a dataset are seen, judged and repaired, until Ctrl-C. What is done there
    are edits in the journal of the dataset; its files do not change.

    The page is at `host` (this machine alone, unless another address is named, which needs a `token` of at least 16
    characters) and `port` (a free one for 0), and opens in the `browser`; the link that opens it works once and is told
    on the terminal, and to `ready`. Raises ConfigError for a host without a token, SetupError for a port that is taken
    and where the extra `review` is not installed, DataError where there is no dataset.
    """
    require_review()
    import uvicorn

    from maskwright.reviewing.server import Server, build_app

    require_token(host, token, "edit")
    server = Server(folder_of(data, "review"))
    with bound(host, port) as listening:
        port = listening.getsockname()[1]

        def link(token: str) -> str:
            return f"{url_of(host, port)}/?token={quote(token, safe='')}"

        access = Access(host, port, token, lambda token: say(f"for another browser: {link(token)}"))
        config = uvicorn.Config(
            Guard(build_app(server), access), log_level="error", lifespan="off", server_header=False, ws="none"
        )
        server.start()
        try:
            say(f"review page: {link(access.token)}")
            say("every edit is saved at once; Ctrl-C ends")
            if ready:
                ready(link(access.token))
            if browser:
                webbrowser.open(link(access.token))
            with contextlib.suppress(KeyboardInterrupt):  # the way to end it
                uvicorn.Server(config).run(sockets=[listening])
        finally:
            server.stop()
    say("ended; all edits are saved")
