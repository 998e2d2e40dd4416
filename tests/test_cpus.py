"""`make test-cpus`: settings are really set, a failure is told with its setting, and what cannot be tried is skipped."""

from __future__ import annotations

import importlib.util
import platform
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MINE = """
import os
import pytest

@pytest.mark.parametrize("name", ["ATEN_CPU_CAPABILITY"])
def test_set(name):
    assert name not in os.environ
"""


@pytest.fixture
def cpus(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("cpus", ROOT / "tools" / "cpus.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "cpus", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(module, "KERNELS", "import os; print(os.environ.get('ATEN_CPU_CAPABILITY'))")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    (tmp_path / "cpuinfo").write_text("flags : fpu avx2 fma avx512f\n")
    return module


def test_all_numeric_tests_are_there(cpus):
    assert all((ROOT / "tests" / name).exists() for name in cpus.NUMERIC)


def test_a_failure_is_told_with_its_setting(cpus, tmp_path, capfd):
    (tmp_path / "test_mine.py").write_text(MINE)
    words = ["--only", "as it is", "--only", "oldest", "--only", "avx512", f"{tmp_path}/test_mine.py"]
    assert cpus.main(words) == 1
    told = capfd.readouterr().out.split("Numeric tests by setting:\n")[1]
    passed, failed, test, skipped = told.splitlines()
    assert passed.startswith("as it is (") and passed.endswith("torch: None): passed")
    assert failed.startswith("oldest (") and failed.endswith("torch: default): 1 failed")
    assert test.endswith("test_mine.py::test_set[ATEN_CPU_CAPABILITY]")
    assert skipped == "avx512: SKIPPED, this processor has no avx512bw, avx512dq, avx512vl, or does not say so"


def test_settings_of_other_machines_are_skipped_and_that_is_no_success(cpus, monkeypatch, capfd):
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert cpus.main(["--only", "oldest", "--only", "avx2"]) == 1
    assert capfd.readouterr().out.count("SKIPPED, it is for x86-64, and this is arm64") == 2


def test_tests_that_are_not_there_are_a_failure(cpus, capfd):
    assert cpus.main(["--only", "as it is", "tests/no_such_test.py"]) == 1
    assert "pytest ended with code 4" in capfd.readouterr().out
