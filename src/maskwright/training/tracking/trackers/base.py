"""What a tracker receives, and what it must do with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class TrackedRun:
    """What is known of a run from its start.

    `key` is the same each time this run is sent to this tool and belongs to no other run. `params` is the config
    with dotted names, `started` seconds since 1970, `folder` a place for files that the tool keeps beside the run.
    """

    name: str
    key: str
    params: Mapping[str, Scalar]
    tags: Mapping[str, str]
    started: float
    folder: Path


@dataclass(frozen=True)
class TrackedRecord:
    """One line of the log: finite values by name, and the picture (PNG) of an evaluation."""

    iteration: int
    values: Mapping[str, float]
    picture: Path | None = None


@dataclass(frozen=True)
class TrackedScores:
    """What the n-th `evaluate` on a split found; `at` in seconds since 1970."""

    split: str
    number: int
    values: Mapping[str, float]
    at: float


class Tracker(ABC):
    """One session with a tool. Any exception ends it; another one then continues from the last confirmed `state`."""

    # What is imported, and what an installation is recognised by.
    package: ClassVar[str]
    # A session sends everything from the first record on, and nothing has arrived before `close` has returned.
    anew: bool = False

    def __init__(self) -> None:
        # Plain data for the next session, kept beside the run; never secrets. Taken over when a call has returned.
        self.state: dict[str, Any] = {}

    @property
    @abstractmethod
    def where(self) -> str:
        """Where a person finds the run, once open; without secrets."""

    @abstractmethod
    def open(self, facts: TrackedRun) -> None:
        """Connects to the run of `facts.key`, making it if it is not there."""

    @abstractmethod
    def send(self, records: Sequence[TrackedRecord], at: float) -> None:
        """Returns when they have arrived. The same records may come again, with the same time `at` (seconds since
        1970), and must then not count twice."""

    @abstractmethod
    def score(self, scores: TrackedScores) -> None:
        """Sends an evaluation; it too may come again."""

    @abstractmethod
    def close(self, finished: bool, best: Path | None) -> None:
        """Ends the session; `finished`: training has ended too. `best` is the best model, where there is one."""


def check_uri(uri: str | None, schemes: Sequence[str], instead: str) -> str | None:
    """`uri` as it was given. ValueError for one that holds a secret or is no address; `instead` names the place for
    secrets."""
    if uri is None:
        return None
    parts = urlsplit(uri)
    if "@" in parts.netloc or parts.query:  # the message does not repeat the secret
        raise ValueError(f"uri holds a user, a password or a token, and the config is copied into the run; {instead}")
    if parts.scheme not in schemes or not (parts.netloc or parts.path.startswith("//")):
        raise ValueError(f"uri must start with {' or '.join(f'{scheme}://' for scheme in schemes)} (given {uri!r})")
    return uri
