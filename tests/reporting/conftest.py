from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from reported_run import ReportedRun, write_dataset, write_run

from maskwright.data.opening import load_dataset


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    write_dataset(root / "data", {"train": 6, "val": 4, "test": 15})
    return root


@pytest.fixture
def fake(_made: Path, tmp_path: Path) -> ReportedRun:
    """A finished run that has not been evaluated."""
    shutil.copytree(_made / "data", tmp_path / "data")
    dataset = load_dataset(tmp_path / "data")
    write_run(tmp_path / "run", tmp_path / "data", dataset)
    return ReportedRun(tmp_path / "run", tmp_path / "data", dataset)
