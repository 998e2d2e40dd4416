"""Errors are lines for a terminal, whatever the files hold that they speak of."""

from __future__ import annotations

import pickle

import pytest

from maskwright.core.findings import Finding, Severity
from maskwright.errors import ConfigError, DataError, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain: é 犬", "plain: é 犬"),
        ("a\nb", "a\\nb"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b0m", "\\x9b0m"),
        ("\ud800", "\\ud800"),
        ("\u2028", "\\u2028"),
    ],
)
def test_what_steers_a_terminal_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert one_line(text) == str(DataError(text)) == shown
    assert Finding("mask.size", Severity.ERROR, text, "").message == shown


def test_the_middle_of_a_long_message_is_left_out() -> None:
    message = str(DataError("a.png: " + "x" * 9000 + "; rename it"))
    assert len(message) < 1510 and message.startswith("a.png: x") and message.endswith("x; rename it")


def test_problems_stay_apart_on_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(ConfigError(["a: 1\n2", "b"])))  # noqa: S301
    assert error.problems == ["a: 1\\n2", "b"] and str(error) == "a: 1\\n2\nb" and error.exit_code == 2
