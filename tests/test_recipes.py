"""The recipes: their configs are right, and (slow) each runs to its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from maskwright.labels.refining.config import load_refinement
from maskwright.studies.matrix import load_study

ROOT = Path(__file__).parents[1]
RECIPES = sorted(path.parent for path in (ROOT / "recipes").glob("*/run.sh"))


def test_there_are_five() -> None:
    assert [path.name for path in RECIPES] == ["animals", "boxes", "lesions", "parts", "segformer"]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipe_is_complete(recipe: Path) -> None:
    assert (recipe / "README.md").read_text().startswith("# ") and (recipe / "pages.txt").read_text().split()
    for script in (recipe / "run.sh", recipe.parent / "common.sh"):
        subprocess.run(["sh", "-n", script], check=True)
    wrong = subprocess.run([recipe / "run.sh", "huge"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "usage: " in wrong.stderr and not (recipe / "work").exists()


@pytest.mark.parametrize(
    "file",
    [file for recipe in RECIPES for file in sorted(recipe.glob("*.yaml")) if "versions:" in file.read_text()
     or "matrix:" in file.read_text()],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)  # fmt: skip
def test_the_runs_of_a_study_can_be(file: Path, tmp_path: Path) -> None:
    for one in file.parent.glob("*.yaml"):
        (tmp_path / one.name).write_text(one.read_text())
    model = ["model={name: UNet}"] if "\nmodel:" not in (tmp_path / "run.yaml").read_text() else []
    varies = "model:" in file.read_text()
    assert load_study(tmp_path / file.name, [] if varies else model).entries


def test_rounds_can_be(tmp_path: Path) -> None:
    folder = ROOT / "recipes" / "boxes"
    for one in folder.glob("*.yaml"):
        (tmp_path / one.name).write_text(one.read_text())
    (tmp_path / "trusted").mkdir()
    for part in ("baseline", "eval"):
        (tmp_path / "trusted" / f"{part}.txt").write_text(f"{part}-1\n")
    assert load_refinement(tmp_path / "refine.yaml").baseline == ["baseline-1"]
    assert load_refinement(tmp_path / "boxes.yaml").config.trusted is None


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipe_ends_with_its_pages(recipe: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "recipes.py"), recipe.name, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    log = tmp_path / f"{recipe.name}.log"
    assert done.returncode == 0, done.stdout + (log.read_text()[-3000:] if log.exists() else "")
