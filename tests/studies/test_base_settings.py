"""Settings of the base that all runs of a study and all trials of a search share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from maskwright.errors import ConfigError
from maskwright.studies.matrix import load_study
from maskwright.studies.searching.space import load_search

BASE: dict[str, Any] = {
    "data": {"root": "data", "image_size": [32, 32]},
    "loss": "ce",
    "model": {"name": "UNet"},
    "train": {"budget": "5m"},
}


def put(folder: Path, name: str, content: dict[str, Any]) -> Path:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


@pytest.mark.parametrize("apart", [False, True])
def test_settings_are_those_of_the_base_for_all_runs(tmp_path: Path, apart: bool) -> None:
    base: Any = "inner/run.yaml" if apart else BASE
    put(tmp_path, "inner/run.yaml", BASE)
    file = put(tmp_path, "study.yaml", {"base": base, "matrix": {"seed": [0, 1], "loss": ["ce", "dice"]}})
    settings = ["train.iterations=7", "data.root=other", "model.args.channels=[4]"]
    found = [entry.config for entry in load_study(file, settings).entries]
    assert [one.train.iterations for one in found] == [7] * 4 and [one.train.budget for one in found] == [None] * 4
    assert {one.data.root for one in found} == {str((tmp_path / "inner" if apart else tmp_path) / "other")}
    assert [one.loss[0].name for one in found] == ["ce", "dice"] * 2
    again = put(tmp_path, "kept/study.yaml", load_study(file, settings).config.model_dump())
    assert [entry.config for entry in load_study(again).entries] == found

    file = put(
        tmp_path, "search.yaml", {"base": base, "space": {"optimizer.lr": {"low": 1e-4, "high": 0.1}}, "trials": 2}
    )
    space = load_search(file, settings)
    assert [space.run_config(one).train.iterations for one in space.corners()] == [7, 7]


def test_what_is_varied_cannot_be_set(tmp_path: Path) -> None:
    file = put(tmp_path, "study.yaml", {"base": BASE, "matrix": {"model": ["UNet", "SegNet"], "seed": [0]}})
    with pytest.raises(ConfigError) as caught:
        load_study(file, ["model.name=UNet2", "seed=3", "train.batch_size=x"])
    text = str(caught.value)
    assert "model.name=UNet2: model is varied" in text and "seed=3: seed is varied" in text and "batch_size" in text
    with pytest.raises(ConfigError, match="expected a.b=value"):
        load_study(file, ["nothing"])
    file = put(tmp_path, "search.yaml", {"base": BASE, "space": {"seed": [0, 1]}, "trials": 2})
    with pytest.raises(ConfigError, match="seed is varied"):
        load_search(file, ["seed=3"])
