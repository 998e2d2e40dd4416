"""What holds for every row of the table."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from maskwright.errors import ConfigError, SetupError
from maskwright.training.tracking.trackers import TRACKERS, Tracker, arguments, build, load, require

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("name", TRACKERS)
def test_rows(name):
    tracker = build(name, {})
    assert isinstance(tracker, Tracker) and tracker.state == {}
    assert all(parameter.default is not parameter.empty for parameter in arguments(name).values())
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert [line.partition(">")[0] for line in extras[name]] == [load(name).package] == [name]


def test_nothing_is_imported_before_a_session_is_opened(tmp_path):
    """The training process checks trackers and starts deliveries, and stays free of the tools."""
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT / 'tests')!r}]\n"
        "from pathlib import Path; from run_folders import logged_run\n"
        "from maskwright.training.tracking.trackers import TRACKERS, require; from maskwright.training.tracking.delivery import spool\n"
        "require({name: {} for name in TRACKERS})\n"
        "spool.COMMAND = ('true',)\n"
        f"with spool.deliveries(logged_run(Path({str(tmp_path / 'run')!r}), list(TRACKERS)), list(TRACKERS)): pass\n"
        "print({name.partition('.')[0] for name in sys.modules} & set(TRACKERS))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize(
    ("name", "uri", "what"),
    [
        ("mlflow", "http://me:hidden@host:5000", "MLFLOW_TRACKING_PASSWORD"),
        ("mlflow", "https://hidden@host", "MLFLOW_TRACKING_PASSWORD"),
        ("mlflow", "http://host/?token=hidden", "MLFLOW_TRACKING_PASSWORD"),
        ("wandb", "https://x:hidden@host", "wandb login"),
        ("mlflow", "127.0.0.1:5000", "must start with http:// or https:// or sqlite://"),
        ("mlflow", "sqlite:///mlflow.db", "must start with"),  # relative: to which folder?
        ("wandb", "sqlite:////x.db", "must start with http:// or https:// (given"),
    ],
)
def test_addresses_that_are_refused(name, uri, what):
    with pytest.raises(ValueError) as refused:
        build(name, {"uri": uri})
    assert what in str(refused.value) and "hidden" not in str(refused.value)
    with pytest.raises(ConfigError, match=f"^trackers: {name}: "):
        require({name: {"uri": uri}})


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "https://host/path", "sqlite:////data/mlflow.db", None])
def test_addresses_that_are_taken(uri):
    build("mlflow", {"uri": uri})


def test_every_missing_tool_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError) as missing:
        require({"mlflow": {}, "tensorboard": {}})
    assert str(missing.value) == (
        "trackers: not installed: mlflow, tensorboard; `pip install "
        "maskwright[mlflow,tensorboard]`, or take out of the config what is not wanted"
    )
