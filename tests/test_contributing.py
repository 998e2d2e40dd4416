"""The newcomer's path of CONTRIBUTING.md, really gone: its files and rows in a copy of the repository, with the contract
tests of the tables they are in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
# A path in backticks, a language and its block; a second block without a path is of the same file.
STEPS = re.findall(
    r"(?:^[^\n]*?`((?:src|tests)/[\w/.]+)`:\n\n|(?<=```\n)\n)```(python|diff)\n(.*?)```$", TEXT, re.M | re.S
)
# Tests of the tables, and which of them are about the new rows.
TESTS = {
    "tests/modeling/losses/test_promises.py": "poly",
    "tests/data/formats/test_every_writer.py": "tiff",
    "tests/data/auditing/test_checks.py": "name.spaces or ordered_documented",
    "tests/test_docs.py": "reference_is_up_to_date or every_row",
}


def apply_diff(file: Path, diff: str) -> None:
    """Unmarked lines and those with `-` are in the file, in one place; `+` lines come after, or instead."""
    old = "".join(f"{line[1:]}\n" for line in diff.splitlines() if line[:1] != "+")
    new = "".join(f"{line[1:]}\n" for line in diff.splitlines() if line[:1] != "-")
    text = file.read_text()
    assert text.count(old) == 1, f"{file}: {old}"
    file.write_text(text.replace(old, new))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with all that the page says."""
    folder = tmp_path_factory.mktemp("newcomer")
    for name in ("src", "tests", "tools", "docs", "recipes"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, folder)
    path = ""
    for named, language, block in STEPS:
        path = named or path
        if language == "python":
            assert not (folder / path).exists(), path
            (folder / path).write_text(block)
        else:
            apply_diff(folder / path, block)
    return folder


def test_each_is_one_file_and_one_row() -> None:
    files = [path for path, language, _ in STEPS if language == "python"]
    rows = [block for _, language, block in STEPS if language == "diff"]
    assert len(files) == 3 and len(rows) == 6
    assert sum(len(re.findall(r'^\+    "\w', block, re.M)) for block in rows) == 3


@pytest.mark.slow
def test_new_rows_are_tested_and_documented(extended: Path) -> None:
    done = run(extended, "tools/reference.py")
    assert done.returncode == 0 and "written" in done.stdout, done.stderr
    chosen = " or ".join(f"({words})" for words in TESTS.values())
    done = run(extended, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-k", chosen, *TESTS)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.findall(r"^PASSED (.*)$", done.stdout, re.M)
    for file, words in TESTS.items():
        assert any(line.startswith(file) and words.split(" or ")[0] in line for line in passed), file
    assert len(passed) > 20


def test_the_new_files_keep_to_the_style(extended: Path) -> None:
    files = [path for path, language, _ in STEPS if language == "python"]
    for command in (("format", "--check"), ("check",)):
        done = run(extended, "-m", "ruff", *command, "--no-cache", *files)
        assert done.returncode == 0, done.stdout
