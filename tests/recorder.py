"""A tracker whose tool is a file, with faults on demand; and, as a program, the delivery process that knows it."""

from __future__ import annotations

import json
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from maskwright.training.tracking import trackers
from maskwright.training.tracking.delivery import process
from maskwright.training.tracking.trackers.base import TrackedRecord, TrackedRun, TrackedScores, Tracker


class Recorder(Tracker):
    """Appends what it is told to `store`. While the file `down` exists it cannot connect; at the port `silent` it
    waits for an answer that never comes, and goes on waiting after every Exception."""

    package = "json"

    def __init__(self, store: str, down: str = "", silent: int = 0) -> None:
        super().__init__()
        self.store, self.down, self.silent = Path(store), Path(down or "/nowhere"), silent

    @property
    def where(self) -> str:
        return str(self.store)

    def open(self, facts: TrackedRun) -> None:
        self._reach()
        self.state = {"opened": self.state.get("opened", 0) + 1}
        self._write({"open": facts.key, "params": dict(facts.params), "tags": dict(facts.tags)})

    def send(self, records: Sequence[TrackedRecord], at: float) -> None:
        self._reach()
        for record in records:
            for name, value in record.values.items():
                self._write({"name": name, "step": record.iteration, "value": value, "at": at})
            if record.picture:
                self._write({"picture": record.picture.name})

    def score(self, scores: TrackedScores) -> None:
        self._write({"split": scores.split, "number": scores.number, "values": dict(scores.values)})

    def close(self, finished: bool, best: Path | None) -> None:
        self._write({"close": finished, "best": str(best)})

    def _reach(self) -> None:
        if self.down.exists():
            raise ConnectionRefusedError(111, "Connection refused")
        while self.silent:
            try:
                with socket.create_connection(("127.0.0.1", self.silent)) as connection:
                    connection.recv(1)
            except Exception:
                pass

    def _write(self, row: object) -> None:
        with self.store.open("a") as stream:
            stream.write(json.dumps(row) + "\n")


class Missing(Recorder):
    """What is not installed."""

    package = "not_installed_anywhere"


class Anew(Recorder):
    """Like the tools that confirm at the end only: each session replaces what the one before has left."""

    anew = True

    def open(self, facts: TrackedRun) -> None:
        self.store.unlink(missing_ok=True)
        super().open(facts)


ROWS = {"recorder": "recorder:Recorder", "second": "recorder:Recorder", "anew": "recorder:Anew"}
COMMAND = (sys.executable, str(Path(__file__)))


def rows(store: Path) -> list[dict]:
    return [json.loads(line) for line in store.read_text().splitlines()] if store.exists() else []


def values(store: Path) -> Counter:
    """How often each value is there, as a server keeps them: a row that is the same in everything counts once."""
    kept = {(row["name"], row["step"], row["value"], row["at"]) for row in rows(store) if "name" in row}
    return Counter((name, step, value) for name, step, value, _ in kept)


if __name__ == "__main__":
    trackers.TRACKERS.update(ROWS)
    process.PAUSE = 0.05
    process.main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
