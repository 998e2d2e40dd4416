"""Errors are lines for a terminal, whatever the files hold that they speak of."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest

import maskwright
from maskwright.cli import main
from maskwright.core.findings import Finding, Severity
from maskwright.errors import ConfigError, DataError, one_line, speak_options

PACKAGE = Path(maskwright.__file__).parent
# Where `--x` is no option that a caller in Python would have to translate: whole commands, programs beside this one, and
# names in style sheets.
WHOLE = (
    r"`(maskwright )?[a-z]+[^`]* --[^`]*`",
    r"\bmaskwright [a-z]+ .*",
    r"^(audit|suspects) --.*",
    r"\bpip install --.*",
    r"\bdocker: --.*",
    r"\btorchrun a --.*",
    r"--(series|line-colour)\b.*",
)


def options_in_texts(path: Path) -> list[str]:
    """The texts of a module (docstrings are none) that speak of a command-line option."""
    tree = ast.parse(path.read_text())
    passed = {  # `_step` prints a whole command of its parts; `argument` chooses
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_step", "argument")
        for part in node.args
    }
    passed |= {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and id(node) not in passed:
            passed |= {id(part) for part in node.values}
            texts.append("".join(part.value if isinstance(part, ast.Constant) else "x" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed:
            texts.append(node.value)
    for pattern in WHOLE:
        texts = [re.sub(pattern, "", text) for text in texts]
    return [f"{path.name}: {text}" for text in texts if re.search(r"(?<![\w-])--[a-z]", text)]


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


def test_a_caller_in_python_reads_the_argument_and_the_command_line_the_option(tmp_path, capsys) -> None:
    with pytest.raises(ConfigError, match="^`budget`: 'soon' is not a time"):
        maskwright.plan(tmp_path, budget="soon")
    with pytest.raises(SystemExit):
        main(["plan", str(tmp_path), "--budget", "soon"])
    assert capsys.readouterr().err.startswith("error: --budget: 'soon' is not a time")
    (tmp_path / "there").write_text("x")
    with pytest.raises(ConfigError, match="choose another `out`"):  # the command line has left no trace
        maskwright.convert(tmp_path, tmp_path / "there", to="index")
    with pytest.raises(SystemExit):
        main(["convert", str(tmp_path), str(tmp_path / "there"), "--to", "index"])
    assert "choose another --out" in capsys.readouterr().err


def test_arguments_of_more_words_are_options_with_dashes(tmp_path, capsys) -> None:
    with pytest.raises(ConfigError, match="^`min_confidence` 7.0: give a number from 0 to 1"):
        maskwright.apply_proposals(tmp_path, min_confidence=7.0)
    before = speak_options(True)
    try:
        with pytest.raises(ConfigError, match="^--min-confidence 7.0: give a number from 0 to 1"):
            maskwright.apply_proposals(tmp_path, min_confidence=7.0)
    finally:
        assert speak_options(before) is True


def test_arguments_with_another_name_than_their_option(tmp_path, capsys) -> None:
    (tmp_path / "run.yaml").write_text("loss: ce\n")
    with pytest.raises(ConfigError, match=r"^`overrides` train\.lr: expected a\.b=value"):
        maskwright.train(tmp_path / "run.yaml", overrides=["train.lr"])
    with pytest.raises(SystemExit):
        main(["train", str(tmp_path / "run.yaml"), "--set", "train.lr"])
    assert capsys.readouterr().err == "error: --set train.lr: expected a.b=value\n"


def test_no_text_outside_the_command_line_speaks_of_its_options() -> None:
    modules = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "cli"]
    assert len(modules) > 200
    assert not [text for path in modules for text in options_in_texts(path)]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('raise ConfigError("choose another --out")', True),
        ('raise ConfigError(f"{folder}: choose another --out")', True),
        ('problem = f"--{role}: no such folder"', True),
        ('choose("--budget")', True),
        ('say("see `maskwright evaluate RUN --split val`")', False),
        ('say(f"maskwright evaluate {run} --split val")', False),
        ('_step("train", "--out", folder)', False),
        ('argument("from_", "--from")', False),
        ('"""Of `--out`."""', False),
    ],
)
def test_texts_that_speak_of_options_are_found(line, found, tmp_path) -> None:
    (tmp_path / "module.py").write_text(line)
    assert bool(options_in_texts(tmp_path / "module.py")) is found
