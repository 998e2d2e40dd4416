"""What five teams stumbled over, each in one run or two, and the sentence that says so (docs/recipes.md)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskwright.evaluation.comparing import compare
from maskwright.evaluation.guarding.number import Origin
from run_folders import add_evaluation, predict, trained_run, truth

PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"


def one_image(folder: Path) -> None:
    add_evaluation(trained_run(folder / "run").path, predict(truth(1), 0.8, 1))


def absent_class(folder: Path) -> None:
    counts = predict(truth(40), 0.8, 1)
    counts[:, 2] = 0
    add_evaluation(trained_run(folder / "run").path, counts)


def changed_weights(folder: Path) -> None:
    path = trained_run(folder / "run").path
    add_evaluation(path, predict(truth(40), 0.8, 1), origin=replace(Origin(10), changed=True))


def recall_alone(folder: Path) -> None:
    """All is predicted as a tree: each tree is found."""
    counts = np.zeros((40, 3, 3), np.int64)
    counts[:, :, 1] = truth(40)
    add_evaluation(trained_run(folder / "run").path, counts)


def background_only(folder: Path) -> None:
    counts = np.zeros((40, 3, 3), np.int64)
    counts[:, :, 0] = truth(40)
    add_evaluation(trained_run(folder / "run").path, counts)


def loading_for_speed(folder: Path) -> None:
    for name, waited in (("slow", 0.1), ("fast", 0.0)):
        add_evaluation(trained_run(folder / name, model={"slow": "UNet", "fast": "SegNet"}[name], waited=waited).path,
                       predict(truth(40), 0.8, 1))  # fmt: skip


BLOCKS: dict[str, Callable[[Path], None]] = {
    "number.one_image": one_image,
    "number.absent_class": absent_class,
    "number.changed_weights": changed_weights,
    "number.trivial": background_only,
    "number.loading": loading_for_speed,
}


@pytest.mark.parametrize("code", BLOCKS)
def test_a_block_is_found_and_told_on_the_page(tmp_path: Path, code: str) -> None:
    BLOCKS[code](tmp_path)
    result = compare(tmp_path)
    assert code in {finding.code for finding in result.findings} and f"({code})" in result.human()
    assert f"`{code}`" in PAGE.read_text("utf-8")


def test_recall_alone_is_no_result(tmp_path: Path) -> None:
    recall_alone(tmp_path)
    (finding,) = [one for one in compare(tmp_path).findings if one.code == "number.trivial"]
    assert "no better than predicting one class everywhere" in finding.message


def test_ten_per_cent_are_six_points(tmp_path: Path) -> None:
    true = truth(60)
    for name, quality, seed in (("UNet", 0.75, 1), ("SegNet", 0.80, 2)):
        add_evaluation(trained_run(tmp_path / name, model=name).path, predict(true, quality, seed))
    result = compare(tmp_path)
    better, worse = result.entries
    behind = re.search(r"significantly worse +([0-9.]+) \[", result.human())
    assert behind and float(behind[1]) == pytest.approx(100 * (better.score.value - worse.score.value), abs=0.06)
    relative = better.score.value / worse.score.value - 1
    assert 100 * relative > 1.3 * float(behind[1]), "the relative gain sounds larger"


def test_748_against_720_on_fifty_images(tmp_path: Path) -> None:
    """Two models that differ by about so much in the mean, and by far more from image to image."""
    true, rng = truth(50), np.random.default_rng(3)
    for name, mean in (("UNet", 0.748), ("SegNet", 0.720)):
        found = np.clip(mean + 0.12 + rng.normal(0, 0.12, true.shape), 0.02, 0.98)
        counts = np.zeros((50, 3, 3), np.int64)
        for k in range(3):
            counts[:, k, k] = true[:, k] * found[:, k]
            counts[:, k, (k + 1) % 3] = true[:, k] - counts[:, k, k]
        add_evaluation(trained_run(tmp_path / name, model=name).path, counts)
    result = compare(tmp_path)
    assert 0.005 < result.entries[0].score.value - result.entries[1].score.value < 0.08
    assert result.entries[1].against_best == "not distinguishable" and "not distinguishable" in result.human()
