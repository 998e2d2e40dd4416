"""Ways that are timed in turn: the logic, with seconds that are told."""

import random
from itertools import pairwise

from maskwright.training.rounds import in_rounds, typical


def faster(seconds):
    """`b` where it is 1.05 times as fast."""
    return "b" if seconds["a"] / seconds["b"] >= 1.05 else "a"


def told(seconds, calls, disturbed=lambda way, number: 1.0):
    def measure(way):
        calls.append(way)
        return [seconds[way] * disturbed(way, calls.count(way))]

    return measure


def test_ways_take_turns():
    calls = []
    found = in_rounds(["a", "b"], told({"a": 1.0, "b": 1.02}, calls), faster, lambda _: 100.0)
    assert found.way == "a" and found.fastest == {"a": 1.0, "b": 1.02}
    assert all(one != other for one, other in pairwise(calls))


def test_a_clear_difference_needs_three_rounds_and_a_close_one_more():
    def rounds(b):
        calls = []
        in_rounds(["a", "b"], told({"a": 1.0, "b": b}, calls), faster, lambda _: 100.0)
        return calls.count("a")

    assert rounds(0.5) == rounds(2.0) == 3
    assert 3 < rounds(1.0) < rounds(0.97)


def test_rounds_go_on_while_they_disagree():
    calls = []
    # Every other step of `a` is disturbed, until the ninth.
    found = in_rounds(
        ["a", "b"],
        told({"a": 1.0, "b": 1.5}, calls, lambda way, number: 3.0 if way == "a" and number < 9 and number % 2 else 1.0),
        faster,
        lambda _: 100.0,
    )
    assert calls.count("a") > 8 and found.way == "a"


def test_time_ends_what_does_not_settle():
    calls, rng = [], random.Random(0)
    in_rounds(
        ["a", "b"], told({"a": 1.0, "b": 0.95}, calls, lambda *_: rng.uniform(1, 3)), faster, lambda step: 30 * step
    )
    assert 4 <= len(calls) < 31
    calls.clear()
    in_rounds(["a", "b"], told({"a": 1.0, "b": 0.95}, calls), faster, lambda _: 0.0)
    assert calls == ["a", "b", "a", "b"]  # one disturbed step alone never decides


def test_a_way_that_is_far_off_is_timed_rarely():
    calls = []
    in_rounds(["a", "b", "c"], told({"a": 1.0, "b": 1.0, "c": 4.0}, calls), faster, lambda _: 100.0)
    assert calls.count("c") < calls.count("a")
    assert set(calls[:9]) == {"a", "b", "c"} and calls[:9].count("c") == 3


def test_the_typical_step_follows_the_machine_and_the_fastest_does_not():
    """Two of three steps of `a` are disturbed: on this machine, now, `b` is faster."""

    def measure(way):
        calls.append(way)
        return [1.2] if way == "b" else [3.0 if calls.count("a") % 3 else 1.0]

    calls = []
    assert in_rounds(["a", "b"], measure, faster, lambda _: 100.0).way == "a"
    calls.clear()
    assert in_rounds(["a", "b"], measure, faster, lambda _: 100.0, typical).way == "b"
