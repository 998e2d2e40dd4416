"""What a run keeps, and a training that is stopped in the middle."""

from __future__ import annotations

import signal
import threading

from maskwright.training.loader import Batches


def artifacts(run):
    return {path.name: path.read_bytes() for path in (run.best, run.last, run.metrics.path)}


def stop_in_batch(monkeypatch, step, number=signal.SIGINT):
    """Sends this process a signal while it makes the batch of `step`."""
    make = Batches.__getitem__

    def make_and_send(self, index):
        if index == step and threading.current_thread() is threading.main_thread():
            signal.raise_signal(number)
        return make(self, index)

    monkeypatch.setattr(Batches, "__getitem__", make_and_send)
