"""The rows of `recorder` in every test of deliveries, here and in the delivery processes."""

from __future__ import annotations

import pytest

from maskwright.training.tracking import trackers
from maskwright.training.tracking.delivery import spool
from recorder import COMMAND, ROWS


@pytest.fixture(autouse=True)
def recorders(monkeypatch):
    for name, row in ROWS.items():
        monkeypatch.setitem(trackers.TRACKERS, name, row)
    monkeypatch.setattr(spool, "COMMAND", COMMAND)
