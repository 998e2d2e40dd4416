"""Work on a Ray cluster. This module alone knows Ray; everything else asks it for what `base.workers` and the pool of a
study do on one machine: calls of one function with results in order, and processes that end with their input.

The nodes read the data and write results at the same paths as this process, so these lie in a folder that all of them
share, and have maskwright installed in the same version. What a node or a process that dies has not finished is done
again elsewhere.
"""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from maskwright.base.extras import require_ray
from maskwright.base.progress import say
from maskwright.base.texts import plural
from maskwright.errors import ConfigError, DataError, SetupError, argument

T = TypeVar("T")
R = TypeVar("R")
# How often a call or a process is started again elsewhere before that is given up.
_AGAIN = 8
_LARGEST = 32  # calls that are sent together
_PAUSE = 0.2
_PATIENCE = 10.0

_active: Cluster | None = None


def active() -> Cluster | None:
    """The cluster that this process works on, None for this machine alone."""
    return _active


def shared(function: Callable[[T], Iterable[R]], items: Sequence[T]) -> Iterator[Iterable[R]]:
    """What `function` gives for each item: made on the cluster, else here, one by one as it is asked for."""
    if _active is not None and len(items) > 1:
        return _active.in_order(lambda item: [*function(item)], items)
    return map(function, items)


@contextmanager
def working_on(on: str | None) -> Iterator[None]:
    """The verbs that are called meanwhile share their work on `on`: None for this machine, `ray` for the Ray cluster
    that it belongs to, or a new one of this machine alone, `ray:ADDRESS` (or `ray://HOST:PORT`) for that one.

    `audit`, `suspects`, `evaluate`, `predict`, `study` and `search` do so; what they write is the same as without. The
    nodes read and write the same paths as this process, which have to be shared, and need the same version of
    maskwright. What a process or a node that dies has not finished is done again elsewhere. Raises ConfigError for
    anything else, SetupError for a cluster that cannot be reached or has no maskwright, and without the extra `ray`.
    """
    global _active
    if on is None or _active is not None:
        yield
        return
    kind, _, address = on.partition(":")
    if kind != "ray" or (":" in on and not address):
        raise ConfigError(f"{argument('on')} {on}: is not known; give ray, or ray:ADDRESS")
    require_ray()
    _active = Cluster(on if address.startswith("//") else address or None)
    try:
        yield
    finally:
        _active.close()
        _active = None


class Cluster:
    """A Ray cluster that this process is connected to."""

    def __init__(self, address: str | None) -> None:
        import ray

        self._ray: Any = ray
        self._own = not ray.is_initialized()
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "ignore_reinit_error": True}
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # it warns of what does not matter here
        try:
            if address:
                _knock(address)
            try:
                ray.init(address=address or "auto", **quiet)
            except ConnectionError:
                if address:
                    raise
                ray.init(include_dashboard=False, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            raise SetupError(f"ray {address or ''}: cannot be reached ({str(error).splitlines()[0]})") from None
        self._check()
        say(f"ray: {plural(len(self._nodes()), 'node')}, {plural(self.cores, 'core')}")

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    @property
    def cores(self) -> int:
        """All cores of the nodes."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def _check(self) -> None:
        """The nodes need maskwright in this version."""
        from maskwright import __version__

        try:
            found = self._ray.get(self._ray.remote(num_cpus=0)(_version).remote())
        except self._ray.exceptions.RayError as error:
            self.close()
            raise SetupError(
                f"ray: its nodes cannot import maskwright ({str(error).splitlines()[-1]}); install it there too"
            ) from None
        if found != __version__:
            self.close()
            raise SetupError(f"ray: its nodes have maskwright {found} and this is {__version__}; install the same")

    def close(self) -> None:
        """Leaves the cluster, unless the caller was connected before."""
        if self._own:
            self._ray.shutdown()

    def in_order(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """`map(function, items)`, some calls at a time; what the function raises is raised here. A process keeps the
        function for its next calls. DataError for calls whose process dies again and again."""
        ray = self._ray
        size = max(1, min(_LARGEST, len(items) // (4 * self.cores)))
        held = [ray.put(function)]  # in a list it is sent as what it is, and not fetched for each call
        call = ray.remote(num_cpus=1, max_retries=_AGAIN, retry_exceptions=False)(_call)
        waiting: deque[Any] = deque()
        try:
            for begin in range(0, len(items), size):
                waiting.append(call.remote(held, os.getcwd(), list(items[begin : begin + size])))
                if len(waiting) >= 2 * self.cores:
                    yield from self._results(waiting.popleft())
            while waiting:
                yield from self._results(waiting.popleft())
        finally:
            for one in waiting:
                ray.cancel(one)

    def _results(self, one: Any) -> Iterator[Any]:
        try:
            results, error = self._ray.get(one)
        except self._ray.exceptions.RayError as lost:
            raise DataError(f"ray: a process was lost {_AGAIN} times ({str(lost).splitlines()[0]})") from None
        yield from results
        if error is not None:
            raise error

    def process(self, command: Sequence[str], log: Path, threads: int, gpu: bool) -> RayProcess:
        """A process on a node with so many threads, and one of the GPUs if it may have one and the nodes have some,
        which ends when `stdin` of what is returned is closed."""
        return RayProcess(
            self._ray, command, log, threads, int(gpu and self._ray.cluster_resources().get("GPU", 0) > 0)
        )


def _knock(address: str) -> None:
    """OSError where nothing listens at HOST:PORT; Ray itself would try for many minutes."""
    host, colon, port = address.rpartition("//")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()


class RayProcess:
    """A process on some node, with what is used of `subprocess.Popen`. When its node or the Ray process beside it dies,
    it is started again elsewhere: `poll` says None meanwhile."""

    def __init__(self, ray: Any, command: Sequence[str], log: Path, threads: int, gpus: int) -> None:
        self._ray, self._again = ray, _AGAIN
        self._make = functools.partial(
            ray.remote(_Beside).options(num_cpus=threads, num_gpus=gpus, max_concurrency=2).remote,
            list(command),
            str(log.absolute()),
            os.getcwd(),
            threads,
        )
        self._closed = False
        self.stdin: RayProcess = self  # it has nothing else to take than its end
        self._start()

    def _start(self) -> None:
        self._beside = self._make()
        self._end = self._beside.wait.remote()

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        if not self._ray.wait([self._end], timeout=0)[0]:
            return None
        try:
            return int(self._ray.get(self._end))
        except self._ray.exceptions.RayError:
            if self._closed or not self._again:
                return -9
            self._again -= 1
            self._start()
            return None

    def close(self) -> None:
        """Ends its input."""
        if not self._closed:
            self._closed = True
            self._beside.close.remote()

    def kill(self) -> None:
        """Ends it at once."""
        self._closed = True
        with suppress(Exception):
            self._ray.get(self._beside.kill.remote(), timeout=10)
        self._ray.kill(self._beside)

    def wait(self) -> int:
        """The exit code, when it has ended."""
        while (code := self.poll()) is None:
            time.sleep(_PAUSE)
        return code


def started(
    command: Sequence[str], log: Path | str, threads: int, folder: str | None = None
) -> subprocess.Popen[bytes]:
    """A process on this machine in the working folder `folder`, which adds what it says to `log`. A session of its own
    keeps Ctrl-C from it, which the process that leads answers for all."""
    # Threads that wait for each other sleep soon, as in `maskwright train`; here they surely have company.
    waiting = {} if "OMP_WAIT_POLICY" in os.environ else {"GOMP_SPINCOUNT": "10000"}
    with open(log, "ab") as stream:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            cwd=folder,
            start_new_session=True,
            env={**waiting, **os.environ, "OMP_NUM_THREADS": str(threads)},
        )


class _Beside:
    """On a node, beside the process."""

    def __init__(self, command: Sequence[str], log: str, folder: str, threads: int) -> None:
        self._process = started(command, log, threads, folder)

    def wait(self) -> int:
        """Its exit code."""
        return self._process.wait()

    def close(self) -> None:
        """Ends its input."""
        assert self._process.stdin
        self._process.stdin.close()

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()


# Of a process on a node: the last function that was sent to it.
_known: dict[str, Any] = {}


def _call(held: Sequence[Any], folder: str, items: Sequence[Any]) -> tuple[list[Any], BaseException | None]:
    """On a node: results, until one call raises something."""
    import cv2
    import ray

    from maskwright.base.workers import sendable

    cv2.setNumThreads(0)
    os.chdir(folder)  # paths may be relative
    key = held[0].hex()
    if key not in _known:
        _known.clear()
        _known[key] = ray.get(held[0])
    results = []
    for item in items:
        try:
            results.append(_known[key](item))
        except BaseException as error:
            return results, sendable(error)
    return results, None


def _version() -> str:
    from maskwright import __version__

    return __version__
