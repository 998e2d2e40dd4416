"""study.yaml: the runs that it makes, every problem at once where it was written, and its JSON Schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from maskwright.errors import ConfigError
from maskwright.studies.matrix import Matrix, load_study, study_schema

BASE = """\
data: {root: data, image_size: [32, 32]}
train: {iterations: 10}
optimizer: sgd
"""
STUDY = """\
base: run.yaml
matrix:
  model: {small: {name: UNet, args: {channels: [4]}}, segnet: SegNet}
  loss: [ce, [ce, dice]]
  optimizer.lr: [0.1, 0.01]
exclude:
  - {model: segnet, loss: ce}
  - {optimizer.lr: 0.01, loss: ce+dice}
"""


def read(folder: Path, study: str = STUDY, base: str = BASE) -> Matrix:
    (folder / "run.yaml").write_text(base)
    (folder / "study.yaml").write_text(study)
    return load_study(folder / "study.yaml")


def problems(folder: Path, study: str, base: str = BASE) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(folder, study, base)
    return [line.replace(f"{folder}/", "") for line in raised.value.problems]


def test_the_runs_of_a_matrix(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert [entry.name for entry in found.entries] == [
        "small_ce_lr0.1",
        "small_ce_lr0.01",
        "small_ce+dice_lr0.1",
        "segnet_ce+dice_lr0.1",
    ]
    last = found.entries[-1]
    assert last.values == {"model": "segnet", "loss": "ce+dice", "optimizer.lr": "lr0.1"}
    assert last.config.model.name == "SegNet" and [term.name for term in last.config.loss] == ["ce", "dice"]
    assert (last.config.optimizer.name, last.config.optimizer.lr) == ("sgd", 0.1)
    assert found.entries[0].config.model.args == {"channels": [4]}
    assert last.config.data.root == str(tmp_path / "data")


def test_a_base_in_place_and_paths_of_two_folders(tmp_path: Path) -> None:
    inner = tmp_path / "configs"
    inner.mkdir()
    (inner / "run.yaml").write_text(BASE + "loss: ce\n")
    text = "base: configs/run.yaml\nmatrix: {model: [UNet], data.root: [other, ../third]}\n"
    (tmp_path / "study.yaml").write_text(text)
    assert [entry.config.data.root for entry in load_study(tmp_path / "study.yaml").entries] == [
        str(tmp_path / "other"),
        str(tmp_path / "../third"),
    ]
    (tmp_path / "study.yaml").write_text("base: configs/run.yaml\nmatrix: {model: [UNet]}\n")
    assert load_study(tmp_path / "study.yaml").entries[0].config.data.root == str(inner / "data")
    found = read(
        tmp_path,
        "base: {data: {root: data, image_size: [32, 32]}, train: {epochs: 2}, model: UNet}\n"
        "matrix: {loss: [ce], loss.0.weight: [1, 2.5]}\n",
    )
    assert [entry.config.loss[0].weight for entry in found.entries] == [1, 2.5]
    assert found.entries[0].config.data.root == str(tmp_path / "data")


def test_a_value_takes_the_place_of_what_it_rules_out(tmp_path: Path) -> None:
    matrix = "base: run.yaml\nmatrix: {model: [UNet], loss: [ce], train.budget: [1m, 2m]}\n"
    found = [entry.config.train for entry in read(tmp_path, matrix).entries]
    assert [(train.iterations, train.budget) for train in found] == [(None, "1m"), (None, "2m")]
    found = [entry.config.train for entry in read(tmp_path, matrix + "exclude: [{train.budget: 2m}]\n").entries]
    assert [train.budget for train in found] == ["1m"]
    both = matrix.replace("train.budget", "train.iterations: [5], train.budget")
    assert any("(given: iterations, budget)" in line for line in problems(tmp_path, both))


def test_what_is_kept_means_the_same_anywhere(tmp_path: Path) -> None:
    pytest.importorskip("albumentations")
    (tmp_path / "flip.yaml").write_text("transform: {__class_fullname__: HorizontalFlip, p: 0.5}\n")
    study = STUDY + "evaluate: [val]\n"
    study = study.replace(
        "  loss:",
        "  augment: {none: [], flip: {name: Albumentations, file: flip.yaml}}\n  train.ema: [null, 0.9]\n  loss:",
    )
    found = read(tmp_path, study)
    (tmp_path / "flip.yaml").unlink()
    (tmp_path / "run.yaml").unlink()
    kept = tmp_path / "elsewhere" / "study.yaml"
    kept.parent.mkdir()
    kept.write_text(yaml.safe_dump(found.config.model_dump(), sort_keys=False))
    assert load_study(kept) == found


def test_trust_is_a_folder_beside_the_file_that_names_it(tmp_path: Path) -> None:
    base = BASE.replace("root: data", "root: data, trust: mine")
    found = read(
        tmp_path, "base: run.yaml\nmatrix: {model: [UNet], loss: [ce], data.trust.mode: [weight, ignore]}\n", base
    )
    trust = [entry.config.data.trust for entry in found.entries]
    assert [(one.folder, one.mode, one.least) for one in trust if one] == [
        (str(tmp_path / "mine"), "weight", None),
        (str(tmp_path / "mine"), "ignore", 0.5),
    ]
    found = read(
        tmp_path, "base: run.yaml\nmatrix: {model: [UNet], loss: [ce], data.trust: {all: null, some: maps}}\n", base
    )
    assert [entry.name for entry in found.entries] == ["UNet_ce_all", "UNet_ce_some"]
    kept = tmp_path / "elsewhere" / "study.yaml"
    kept.parent.mkdir()
    kept.write_text(yaml.safe_dump(found.config.model_dump(), sort_keys=False))
    first, second = (entry.config.data.trust for entry in load_study(kept).entries)
    assert first is None and second and second.folder == str(tmp_path / "maps")


def test_every_problem_of_every_run_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """\
base: run.yaml
matrix:
  model: [UNett, {name: UNet, args: {chanels: [4]}}, UNet]
  loss: [ce, [ce, dyce], ce]
  optimizer.lr: [0.1, -1]
  trian.batch_size: [4]
  seed: []
exclude:
  - {modl: UNet}
  - {loss: dice}
evalute: [test]
""",
        BASE + "schedule: plly\n",
    )
    assert found == [
        "study.yaml:11:1: evalute: no such key; did you mean 'evaluate'?",
        "study.yaml:4:26: matrix.loss.2: is the same value again; remove one",
        "study.yaml:7:3: matrix.seed: has no values; give some, or remove it",
        "study.yaml:9:6: exclude.0.modl: no such key in the matrix; did you mean 'model'?",
        "study.yaml:10:6: exclude.1.loss: 'dice' is no value of it; known: ce+dyce, ce-1, ce-2",
        "study.yaml:3:11: model: the model 'UNett' is not known; did you mean 'UNet'?",
        "run.yaml:4:1: schedule.name: the schedule 'plly' is not known; did you mean 'poly'?",
        "study.yaml:6:22: trian: no such key; did you mean 'train'?",
        "study.yaml:5:23: optimizer.lr: input should be greater than 0 (given -1)",
        "study.yaml:4:19: loss.1.name: the loss 'dyce' is not known; did you mean 'dice'?",
        "study.yaml:3:38: model.args.chanels: no such key; did you mean 'channels'?",
    ]


@pytest.mark.parametrize(
    ("study", "says"),
    [
        ("base: other.yaml\nmatrix: {seed: [1]}\n", "study.yaml:1:1: base: other.yaml: no such file; check the path"),
        ("base: 3\nmatrix: {seed: [1]}\n", "study.yaml:1:1: base: input should be a valid string (given 3)"),
        (
            "base: run.yaml\nmatrix: {model: [UNet], loss: [ce], seed: 1}\n",
            "study.yaml:2:37: matrix.seed: give a list, such as [1] (given 1)",
        ),
        (
            "base: run.yaml\nmatrix: {model: [UNet], loss: [ce], loss.3.weight: [1]}\n",
            "study.yaml:2:53: the list has 1 items, numbered from 0",
        ),
        (
            "base: run.yaml\nmatrix: {model: {a/b: UNet}, loss: [ce]}\n",
            "study.yaml:2:18: matrix.model.a/b: a name is made of letters, digits and . + - _, since it becomes part of a "
            "folder's name",
        ),
        (
            "base: run.yaml\nmatrix: {model: [UNet], loss: [ce], a..b: [1]}\n",
            "study.yaml:2:37: matrix.a..b: is no key of a config, such as loss or optimizer.lr",
        ),
        (
            "base: run.yaml\nmatrix: {model: [UNet], loss: [ce]}\nexclude: [{loss: ce}]\n",
            "study.yaml:3:1: exclude: leaves no run; remove some of it",
        ),
        (
            "base: run.yaml\nmatrix: {model: {a: UNet, a_b: SegNet}, loss: {b_c: ce, c: dice}}\n",
            "study.yaml:2:1: matrix: two runs would be called a_b_c; name the values (`key: {short: value, …}`)",
        ),
        (
            f"base: run.yaml\nmatrix: {{model: [UNet], loss: [ce], seed: {[*range(1001)]}}}\n",
            "study.yaml:2:1: matrix: makes 1001 runs, and at most 1000 are allowed",
        ),
    ],
)
def test_one_problem(tmp_path: Path, study: str, says: str) -> None:
    assert problems(tmp_path, study) == [says]


def test_the_schema(tmp_path: Path) -> None:
    schema = study_schema()
    jsonschema.Draft202012Validator.check_schema(schema)

    def wrong(text: str) -> list[Any]:
        return [*jsonschema.Draft202012Validator(schema).iter_errors(yaml.safe_load(text))]

    assert not wrong(STUDY)
    assert not wrong("base: {data: {root: d, image_size: [8, 8]}}\nmatrix: {loss: [ce], train.iterations: [3]}\n")
    for text in (
        "base: run.yaml\nmatrix: {modl: [UNet]}\n",
        "base: run.yaml\nmatrix: {loss: []}\n",
        "base: run.yaml\nmatrix: {loss: [dyce]}\n",
        "base: {trian: 3}\nmatrix: {seed: [1]}\n",
        "matrix: {seed: [1]}\n",
    ):
        assert wrong(text), text
