"""The training's side of deliveries: starts a process for each tracker, and at the end waits a moment for them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from maskwright.base.progress import say
from maskwright.run import Run
from maskwright.training.tracking.delivery.cursor import statuses

# What the end of a training waits for all trackers together, and how long each may then continue by itself.
LAST_WAIT, _BACKGROUND = 1.0, 60.0
# Without the working folder on the path, where a file could have the name of a tool.
COMMAND = (sys.executable, "-P", "-m", "maskwright.training.tracking.delivery.process")
# Of torchrun: the tools would take the process for a worker of theirs.
_RANKS = {
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "ROLE_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
}

Child = subprocess.Popen[str]


def start(run: Run, name: str, seconds: float, *, follow: bool) -> Child:
    """A process that delivers to one tracker; with `follow` until its standard input is closed. OSError."""
    return subprocess.Popen(
        [*COMMAND, str(run.path.resolve()), name, str(seconds)],
        text=True,
        start_new_session=True,
        stdin=subprocess.PIPE if follow else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={key: value for key, value in os.environ.items() if key not in _RANKS},
    )


@contextmanager
def deliveries(run: Run, names: Sequence[str]) -> Iterator[None]:
    """Inside, the log of `run` is followed to the trackers `names`. Raises nothing of its own, and at the end costs
    LAST_WAIT seconds at most; says what has arrived."""
    children: dict[str, Child] = {}
    over = threading.Event()
    for name in names:
        try:
            children[name] = start(run, name, _BACKGROUND, follow=True)
        except OSError as error:
            say(f"tracker {name}: could not be started ({error}); training continues without it")
        else:
            threading.Thread(target=_relay, args=(name, children[name], over), daemon=True).start()
    try:
        yield
    finally:
        over.set()
        if children:
            try:
                end_deliveries(run, children)
            except Exception as error:
                say(f"trackers: {error}")


def _relay(name: str, child: Child, over: threading.Event) -> None:
    """Says what a process says, until training is over, and stays to clear the process away."""
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            if not over.is_set():
                say(f"tracker {name}: {line.rstrip()}")
    child.wait()


def end_deliveries(run: Run, children: Mapping[str, Child]) -> None:
    """Asks the deliveries to end, waits a little for them, and says what has not arrived yet."""
    deadline = time.monotonic() + LAST_WAIT
    for child in children.values():
        assert child.stdin is not None
        with suppress(OSError):  # it may have ended by itself
            # Loader processes may still hold the pipe, whose end alone would then say nothing.
            os.write(child.stdin.fileno(), b".")
        child.stdin.close()
    while any(child.poll() is None for child in children.values()) and time.monotonic() < deadline:
        time.sleep(0.02)
    for status in statuses(run):
        if status.tracker not in children or status.complete:
            rest = ""
        elif children[status.tracker].poll() is None:
            rest = f"; this continues in the background for a while; `maskwright sync {run.path}` completes it"
        else:
            rest = f"; `maskwright sync {run.path}` delivers the rest"
        say(f"tracker {status.human()}{rest}")
