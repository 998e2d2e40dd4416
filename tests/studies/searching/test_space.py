"""search.yaml: what it may hold, what is wrong with it, and the configs that are made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from maskwright.errors import ConfigError
from maskwright.studies.searching.space import SearchConfig, load_search

BASE = {
    "data": {"root": "data", "image_size": [32, 32]},
    "loss": "ce",
    "model": "UNet",
    "train": {"iterations": 4, "batch_size": 4},
}
SPACE: dict[str, Any] = {
    "model.name": ["UNet", "SegNet", "FPN"],
    "model.encoder": {"choices": {"r18": "resnet18", "r34": "resnet34"}, "when": {"model.name": "FPN"}},
    "model.args.dropout": {"low": 0.0, "high": 0.5, "when": {"model.name": ["UNet", "SegNet"]}},
    "optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "train.batch_size": {"low": 2, "high": 8, "step": 2},
}


def put(folder: Path, **given: Any) -> Path:
    file = folder / "search.yaml"
    content = {"base": BASE, "space": SPACE, "trials": 3} | given
    kept = {key: value for key, value in content.items() if value is not None}
    file.write_text(yaml.safe_dump(kept, sort_keys=False))
    return file


class Suggested:
    """A trial that takes the last choice and the middle of a range, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def suggest_categorical(self, key: str, labels: list[str]) -> str:
        self.asked[key] = labels
        return labels[-1]

    def suggest_float(self, key: str, low: float, high: float, **how: Any) -> float:
        self.asked[key] = (low, high, how)
        return (low + high) / 2

    def suggest_int(self, key: str, low: int, high: int, **how: Any) -> int:
        self.asked[key] = (low, high, how)
        return low


def test_a_trial_becomes_a_config_with_what_is_there_for_it(tmp_path: Path) -> None:
    space, trial = load_search(put(tmp_path, objective={"score": "loss"})), Suggested()
    chosen = space.suggested(trial)
    assert list(chosen) == ["model.name", "model.encoder", "optimizer.lr", "train.batch_size"]
    assert trial.asked["optimizer.lr"] == (1e-4, 1e-2, {"log": True})
    assert trial.asked["train.batch_size"] == (2, 8, {"log": False, "step": 2})
    config = space.run_config(chosen)
    assert (config.model.name, config.model.encoder) == ("FPN", "resnet34")
    assert config.optimizer.lr == pytest.approx(0.00505) and config.train.batch_size == 2
    assert config.train.best and config.train.best.score == "loss"
    assert config.data.root == str(tmp_path / "data")


def test_corners_meet_every_choice_and_both_ends(tmp_path: Path) -> None:
    corners = [*load_search(put(tmp_path)).corners()]
    met = {(key, value) for chosen in corners for key, value in chosen.items()}
    assert {("model.name", name) for name in ("UNet", "SegNet", "FPN")} <= met
    assert {("model.encoder", "r18"), ("model.encoder", "r34")} <= met
    assert {("model.args.dropout", 0.0), ("model.args.dropout", 0.5)} <= met
    assert {("optimizer.lr", 1e-4), ("optimizer.lr", 1e-2), ("train.batch_size", 2), ("train.batch_size", 8)} <= met
    assert all(("model.encoder" in chosen) == (chosen["model.name"] == "FPN") for chosen in corners)


def test_what_is_stored_means_the_same_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(BASE, sort_keys=False))
    space = load_search(put(tmp_path, base="run.yaml"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "search.yaml").write_text(yaml.safe_dump(space.config.model_dump(by_alias=True), sort_keys=False))
    again = load_search(elsewhere / "search.yaml")
    assert again.config == space.config
    for chosen in space.corners():
        assert again.run_config(chosen) == space.run_config(chosen)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"trials": None}, "would never end; give trials, time, or both"),
        ({"time": "soon"}, "is not a time such as 90s, 5m or 1.5h"),
        ({"space": {"optimizer.lr": {"low": 1.0, "high": 0.1}}}, "is not below high"),
        ({"space": {"optimizer.lr": {"low": 0.0, "high": 0.1, "log": True}}}, "log needs numbers above 0"),
        ({"space": {"optimizer.lr": {"low": 0.1, "high": 0.2, "log": True, "step": 0.01}}}, "cannot stand together"),
        ({"space": {"optimizer.lr": {"low": 1}}}, "needs choices, or low and high"),
        ({"space": {"optimizer.lr": {"choices": [0.1], "log": True}}}, "cannot stand beside low"),
        ({"space": {"optimizer.lr": {"choices": []}}}, "has no values; give some, or remove it"),
        ({"space": {"optimizer.lr": [0.1, 0.1]}}, "space.optimizer.lr.1: is the same value again; remove one"),
        ({"space": {"optimizer..lr": [0.1, 0.2]}}, "is no key of a config"),
        ({"space": {"optimiser.lr": [0.1, 0.2]}}, "search.yaml:"),
        ({"space": {"optimizer.lr": [0.1, -0.2]}}, "optimizer.lr"),
        ({"space": {"optimizer.lr": {"low": -1.0, "high": 0.1}}}, "optimizer.lr"),
        (
            {"space": {"model.args.dropout": {"low": 0.0, "high": 0.5, "when": {"model.name": "UNet"}}}},
            "is no key with choices above this one in the space",
        ),
        (
            {"space": {"model.name": ["UNet"], "train.ema": {"choices": [0.9], "when": {"model.name": "SegNet"}}}},
            "'SegNet' is no choice of it",
        ),
        ({"space": {"train.best": ["mIoU", "mDice"]}}, "name the score in `objective`"),
        ({"space": {"seed": [0, 1]}}, "seed differs between trials"),
        ({"space": {"data.root": ["data", "other"]}}, "data.root differs between trials"),
        ({"sampler": "best"}, "'best' is not known; known: qmc, random, tpe"),
        ({"pruner": {"name": "halving", "startup": 3}}, "halving does not take startup"),
    ],
)
def test_one_problem(tmp_path: Path, given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match="search.yaml") as raised:
        load_search(put(tmp_path, **given))
    assert problem in str(raised.value)


def test_all_problems_at_once(tmp_path: Path) -> None:
    space = {"optimizer.lr": [0.1, -0.2], "model.name": ["UNet", "UNett"], "train.batch_size": {"low": 0, "high": 3}}
    with pytest.raises(ConfigError) as raised:
        load_search(put(tmp_path, space=space))
    found = "\n".join(raised.value.problems)
    assert all(word in found for word in ("optimizer.lr", "UNett", "train.batch_size"))


def test_the_schema_names_every_key() -> None:
    from maskwright.studies.searching.space import search_schema

    assert set(search_schema()["properties"]) == set(SearchConfig.model_fields)
