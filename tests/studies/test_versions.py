"""Versions of a study: named values for several keys that go together."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from maskwright.errors import ConfigError
from maskwright.studies.folder import Study
from maskwright.studies.matrix import Matrix, load_study, study_schema

STUDY = """\
base: {data: {root: data, image_size: [32, 32]}, train: {iterations: 10}, model: UNet, loss: ce}
versions:
  v1: {}
  v2: {optimizer.lr: 0.0001, optimizer.weight_decay: 0.5}
  v3: {optimizer.lr: 0.0001, loss: [{name: ce}, {name: dice, weight: 5}], data.root: ../other}
matrix: {seed: [0, 1]}
exclude: [{version: v3, seed: 1}]
"""


def read(folder: Path, text: str) -> Matrix:
    (folder / "study.yaml").write_text(text)
    return load_study(folder / "study.yaml")


def test_versions_meet_all_values_of_the_matrix(tmp_path: Path) -> None:
    found = read(tmp_path, STUDY)
    assert [entry.name for entry in found.entries] == ["v1_seed0", "v1_seed1", "v2_seed0", "v2_seed1", "v3_seed0"]
    assert [entry.config.optimizer.lr for entry in found.entries] == [0.001, 0.001, 0.0001, 0.0001, 0.0001]
    assert found.entries[2].config.optimizer.weight_decay == 0.5 and len(found.entries[4].config.loss) == 2
    assert found.entries[4].config.data.root == str(tmp_path / "../other")
    assert found.entries[4].values == {"version": "v3", "seed": "seed0"}
    jsonschema.validate(yaml.safe_load(STUDY), study_schema())

    study = Study(tmp_path / "kept" / "study")
    study.begin(found)
    assert load_study(study.file).entries == found.entries
    assert [one["version"] for one in study.runs()] == ["v1", "v1", "v2", "v2", "v3"]


def test_versions_alone(tmp_path: Path) -> None:
    text = STUDY.replace("matrix: {seed: [0, 1]}\nexclude: [{version: v3, seed: 1}]\n", "")
    assert [entry.name for entry in read(tmp_path, text).entries] == ["v1", "v2", "v3"]


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("v1: {}", "v1: {seed: 3}", "is a key of the matrix too; give it in one of them"),
        ("v1: {}", "v1: {optimizer.rate: 3}", "optimizer.rate"),
        ("v1: {}", "v 1: {}", "a name is made of letters"),
        ("v1: {}", "v1: {}\n  v0: {}", "is the same version again"),
        ("version: v3", "version: v4", "'v4' is no value of it"),
        ("matrix: {seed: [0, 1]}\nexclude: [{version: v3, seed: 1}]\n", "versions_: 1", "versions_"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, before: str, after: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        read(tmp_path, STUDY.replace(before, after))
    assert str(tmp_path / "study.yaml") in str(caught.value)


def test_a_study_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither `versions` nor a `matrix`"):
        read(tmp_path, STUDY.partition("versions")[0])
    with pytest.raises(ConfigError, match="loss=dice: loss is varied between the runs"):
        text = STUDY.replace("v1: {}", "v1: {loss: ce}").replace("weight_decay: 0.5", "weight_decay: 0.5, loss: ce")
        (tmp_path / "study.yaml").write_text(text)
        load_study(tmp_path / "study.yaml", ["loss=dice"])


def test_what_only_some_versions_give_is_set_for_the_others(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    found = load_study(tmp_path / "study.yaml", ["optimizer.lr=0.3"]).entries
    assert [entry.config.optimizer.lr for entry in found] == [0.3, 0.3, 0.0001, 0.0001, 0.0001]
