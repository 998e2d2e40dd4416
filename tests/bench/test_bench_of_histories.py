"""The guard of `refine` over simulated histories: it keeps a round that is about as good as the best, and never one that
is truly worse than round 0."""

from __future__ import annotations

from importlib import util
from pathlib import Path

FILE = Path(__file__).parents[2] / "bench" / "histories.py"


def test_forty_histories() -> None:
    spec = util.spec_from_file_location("bench_histories", FILE)
    assert spec and spec.loader
    bench = util.module_from_spec(spec)
    import sys

    sys.modules["bench_histories"] = bench  # which dataclasses look for
    spec.loader.exec_module(bench)
    found = bench.simulated(40, images=25, rounds=4, seed=1000)
    assert {one.kind for one in found} == {*bench.KINDS}
    assert sum(one.near for one in found) >= 36 and not any(one.worse for one in found)
    # A guard that always kept round 0, or always the last one, would fail.
    assert sum(one.true[one.oracle] - one.true[0] <= bench.EQUAL or one.oracle <= 1 for one in found) < 36
    assert sum(len(one.true) - 1 - one.oracle <= 1 for one in found) < 36
