"""RunConfig: the documented example, every problem at once, short forms, overrides and the JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from maskwright.base.strictyaml import apply_overrides, parse
from maskwright.config import (
    EXCLUSIVE,
    SYNONYMS,
    RunConfig,
    check_document,
    json_schema,
    load_config,
    rebase,
    seconds_of,
)
from maskwright.config.checking import arguments_model
from maskwright.errors import ConfigError
from maskwright.modeling import augment, losses, models, optim
from maskwright.training.tracking import trackers

EXAMPLE = """\
seed: 42
data:     {root: data/steel, image_size: [224, 224], keep_ratio: false, resample: lanczos, trust: out/trust}
model:    {name: Unet, encoder: resnet34, weights: imagenet, args: {}}
loss:     [{name: ce, weight: 1.0, class_weights: inverse_frequency}, {name: dice, weight: 3.0}]
optimizer: {name: adamw, lr: 1.0e-3, weight_decay: 0.01, head_lr_mult: 10}
schedule: {name: poly, power: 0.9, warmup: 50}
train:    {iterations: 8000, batch_size: 8, evaluate_every: 500, early_stopping: 5, ema: 0.99}
augment:  [{name: HorizontalFlip, p: 0.5}, {name: RandomSizedCrop, scale: [0.5, 1]}, RGBShift]
trackers: []
"""
SMALLEST = """\
data: {root: d, image_size: [64, 96]}
model: UNet
loss: dice
train: {epochs: 2.5}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text)
    return path


def check(text: str) -> RunConfig:
    return check_document(parse(text, "run.yaml"))


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        check(text)
    assert raised.value.exit_code == 2
    return raised.value.problems


def test_the_documented_example(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, EXAMPLE))
    assert config.seed == 42 and config.trackers == []
    assert config.data.root == str(tmp_path / "data/steel") and config.data.image_size == [224, 224]
    assert config.data.trust and config.data.trust.folder == str(tmp_path / "out/trust")
    assert (config.model.name, config.model.encoder, config.model.weights) == ("Unet", "resnet34", "imagenet")
    assert [(term.name, term.weight, term.class_weights, term.arguments) for term in config.loss] == [
        ("ce", 1.0, "inverse_frequency", {}),
        ("dice", 3.0, "none", {}),
    ]
    assert config.optimizer.head_lr_mult == 10 and config.optimizer.lr == 1e-3
    assert (config.train.iterations, config.train.ema) == (8000, 0.99)
    assert [(term.name, term.arguments) for term in config.augment] == [
        ("HorizontalFlip", {"p": 0.5}),
        ("RandomSizedCrop", {"scale": [0.5, 1]}),
        ("RGBShift", {}),
    ]


def test_short_forms_and_defaults() -> None:
    config = check(SMALLEST)
    assert config.model.name == "UNet" and config.loss[0].name == "dice" and config.seed == 0
    assert config.train.epochs == 2.5 and config.train.batch_size == 8 and config.border == "reflect"
    config = check(
        SMALLEST + "optimizer: adamw\nschedule: poly\naugment: HorizontalFlip\n"
        "trackers: [tensorboard, {name: mlflow, uri: 'http://127.0.0.1:5000'}]\n"
    )
    assert [(term.name, term.arguments) for term in config.trackers] == [
        ("tensorboard", {}),
        ("mlflow", {"uri": "http://127.0.0.1:5000"}),
    ]
    assert [term.name for term in config.augment] == ["HorizontalFlip"]


def test_optimizers_and_schedules_have_defaults_of_their_own() -> None:
    for name in optim.OPTIMIZERS:
        config, row = check(SMALLEST + f"optimizer: {name}\n").optimizer, optim.OPTIMIZERS[name]()
        assert (config.name, config.lr, config.weight_decay, config.arguments) == (name, row.lr, row.weight_decay, {})
    assert check(SMALLEST + "optimizer: adamw\nschedule: poly\n") == check(SMALLEST)
    config = check(
        SMALLEST + "optimizer: {name: sgd, lr: 0.1, momentum: 0.8, groups: {encoder: {lr_mult: 0.1}}}\n"
        "schedule: {name: step, at: [0.3, 0.6], gamma: 0.5}\n"
    )
    assert config.optimizer.arguments == {"momentum": 0.8} and config.optimizer.weight_decay == 1e-4
    assert config.optimizer.groups["encoder"].lr_mult == 0.1
    assert config.schedule.arguments == {"at": [0.3, 0.6], "gamma": 0.5} and config.schedule.warmup == 50
    assert check(SMALLEST + "schedule: one_cycle\n").schedule.warmup == 0
    assert RunConfig.model_validate(config.to_dict()) == config


@pytest.mark.parametrize("text", [EXAMPLE, SMALLEST])
def test_round_trip_through_plain_data_and_yaml(text: str) -> None:
    config = check(text)
    data = config.to_dict()
    assert RunConfig.model_validate(data) == config
    assert check(yaml.safe_dump(data, sort_keys=False)) == config
    assert RunConfig.model_validate(json.loads(json.dumps(data))) == config


BAD = """\
seed: -1
data: {root: data, image_size: [224, 0], keep_ration: false, resample: lancos, mean: []}
model: {name: Unet, encoder: resnet34, args: {decoder_chanels: 3, encoder_depth: "5"}}
loss:
  - {name: ce, class_weights: inverse_frequenc, label_smoothing: 2}
  - {name: dice, smoth: 3.0, weight: 0}
  - {name: ce, class_weights: [1, -1]}
  - {name: dice, smooth: -1}
  - {name: [1]}
  - foo
optimizer: {name: adamm, weight_decay: x}
schedule: {warmup: 1.5, powr: 2}
train: {iterations: 8000, epochs: 3}
augment:
  - {name: HorizontalFlip, p: "0.5"}
  - {name: RandomSizedCrop, scale: [0.5]}
  - {name: Affine, rotate: .nan}
  - {name: Affine, scale: [2, 1]}
  - HorizontalFlp
  - {name: GaussNoise, p: 2, std: .5, sigma: 3}
border: black
trackers: [mlfow, {name: mlflow, url: "http://h", artifacts: 1}, {name: mlflow, uri: "http://me:hidden@h"}]
tracker: []
"""


def test_every_problem_at_once() -> None:
    expected = [
        "1:1: seed: input should be greater than or equal to 0 (given -1)",
        "2:38: data.image_size.1: input should be greater than 0 (given 0)",
        "2:42: data.keep_ration: no such key; did you mean 'keep_ratio'?",
        "2:62: data.resample: 'lancos' is not known; did you mean 'lanczos'?",
        "2:80: data.mean: list should have at least 1 item after validation, not 0",
        "3:47: model.args.decoder_chanels: no such key; did you mean 'decoder_channels'?",
        "3:67: model.args.encoder_depth: input should be a valid integer (given '5')",
        "5:16: loss.0.class_weights: 'inverse_frequenc' is not known; did you mean 'inverse_frequency'?",
        "5:5: loss.0: label_smoothing must be within 0..1 (given 2)",
        "6:18: loss.1.smoth: no such key; did you mean 'smooth'?",
        "6:30: loss.1.weight: input should be greater than 0 (given 0)",
        "7:35: loss.2.class_weights.1: input should be greater than 0 (given -1)",
        "8:5: loss.3: smooth must be at least 0 (given -1)",
        "9:6: loss.4.name: input should be a valid string",
        "10:5: loss.5: the loss 'foo' is not known; known: bce, boundary, ce, correlation, dice, focal, "
        "jaccard, lovasz, total_variation, tversky",
        "11:13: optimizer.name: the optimizer 'adamm' is not known; did you mean 'adam'?",
        "11:26: optimizer.weight_decay: input should be a valid number (given 'x')",
        "12:12: schedule.warmup: input should be a valid integer (given 1.5)",
        "12:25: schedule.powr: no such key; did you mean 'power'?",
        "13:1: train: give one of iterations, epochs and budget (given: iterations, epochs)",
        "15:28: augment.0.p: input should be a valid number (given '0.5')",
        "16:29: augment.1.scale.1: is missing; add it",
        "17:20: augment.2.rotate: input should be a finite number (given nan)",
        "18:5: augment.3: scale must be two factors above 0 in order (given [2, 1])",
        "19:5: augment.4: the augmentation 'HorizontalFlp' is not known; did you mean 'HorizontalFlip'?",
        "20:39: augment.5.sigma: no such key; known: p, std",
        "21:1: border: 'black' is not known; known: ignore, reflect",
        "22:12: trackers.0: the tracker 'mlfow' is not known; did you mean 'mlflow'?",
        "22:34: trackers.1.url: no such key; did you mean 'uri'?",
        "22:51: trackers.1.artifacts: input should be a valid boolean (given 1)",
        "22:66: trackers.2: uri holds a user, a password or a token, and the config is copied into the run; set "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead",
        "23:1: tracker: no such key; did you mean 'trackers'?",
    ]
    found = problems(BAD)
    assert {line.removeprefix("run.yaml:") for line in found} == set(expected)
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("model: UNet", "model: {name: unet}", "did you mean 'Unet'?"),
        ("model: UNet", "model: Unet", "Unet needs an encoder"),
        ("model: UNet", "model: {name: UNet, encoder: resnet18}", "has no separate encoder"),
        ("model: UNet", "model: {name: UNet, weights: imagenet}", "has no separate encoder"),
        ("model: UNet", "model: {name: UNet, args: {kernal: 3}}", "did you mean 'kernel'?"),
        ("model: UNet", "model: {name: UNet, args: {channels: 3}}", "model.args.channels"),
        ("model: UNet", "model: {name: UNet, args: {classes: 3}}", "model.args.classes: no such key"),
        ("model: UNet", "model: {name: {a: 1}}", "model.name: input should be a valid string"),
        ("model: UNet", "model: [UNet]", "model: input should be a valid dictionary"),
        ("model: UNet\n", "", "model: is missing"),
        ("loss: dice", "loss: []", "loss: list should have at least 1 item"),
        ("loss: dice", "loss: 3", "loss: input should be a valid dictionary"),
        ("loss: dice", "loss: {weight: 2}", "loss.name: is missing"),
        ("loss: dice", "loss: {name: dice, smooth: '1'}", "smooth: input should be a valid number (given '1')"),
        ("loss: dice", "loss: {name: dice, levels: equals}", "levels: 'equals' is not known; did you mean 'equal'?"),
        (
            "loss: dice",
            "loss: {name: dice, levels: [1, -1]}",
            "loss.levels.1: input should be greater than or equal to 0",
        ),
        ("loss: dice", "loss: {name: dice, levels: [0, 0]}", "no level has a weight above 0"),
        (
            "loss: dice",
            "loss: {name: dice, class_weights: [[1], [1, 0]]}",
            "loss.class_weights.1.1: input should be greater than 0",
        ),
        ("loss: dice", "loss: dice\nselector: topdown", "selector: 'topdown' is not known; did you mean 'top_down'?"),
        (
            "loss: dice",
            "loss: [ce, {name: total_variation, class_weights: effective_number}]",
            "loss.1.class_weights: total_variation does not look at classes; remove it",
        ),
        ("loss: dice", "loss: {name: total_variation, class_weights: none, smooth: 1}", "loss.smooth: no such key"),
        ("loss: dice", "loss: {name: tversky, alpha: 0, beta: 0}", "alpha and beta must not both be 0"),
        ("loss: dice", "loss: dice\noptimizer: {name: sgd, betas: [0.9, 0.99]}", "optimizer.betas: no such key"),
        ("loss: dice", "loss: dice\noptimizer: {betas: [0.9, 1.5]}", "betas must be two numbers from 0 to less than 1"),
        ("loss: dice", "loss: dice\noptimizer: {betas: [0.9]}", "optimizer.betas.1: is missing"),
        ("loss: dice", "loss: dice\noptimizer: {name: sgd, weight_decy: 1}", "did you mean 'weight_decay'?"),
        ("loss: dice", "loss: dice\noptimizer: {name: sgd, momentum: '1'}", "momentum: input should be a valid number"),
        ("loss: dice", "loss: dice\noptimizer: {groups: {encoder: {lr_mul: 1}}}", "did you mean 'lr_mult'?"),
        ("loss: dice", "loss: dice\noptimizer: [sgd]", "optimizer: input should be a valid dictionary"),
        ("loss: dice", "loss: dice\nschedule: cosin", "did you mean 'cosine'?"),
        (
            "loss: dice",
            "loss: dice\nschedule: {name: cosine, power: 1}",
            "schedule.power: no such key; known: floor, name",
        ),
        ("loss: dice", "loss: dice\nschedule: {power: 0}", "schedule: power must be above 0 (given 0)"),
        ("loss: dice", "loss: dice\nschedule: {name: one_cycle, warmup: 5}", "leave warmup out"),
        ("epochs: 2.5", "epochs: 2.5, refits: [{iteration: 1, iterations: 2, evaluate_every: 1}]", "refits belong"),
        ("epochs: 2.5", "epochs: 0", "train.epochs: input should be greater than 0"),
        ("epochs: 2.5", "epochs: no", "train.epochs: input should be a valid number (given 'no')"),
        ("epochs: 2.5", "batch_size: 8", "give one of iterations, epochs and budget"),
        ("epochs: 2.5", "budget: 5 minutes", "'5 minutes' is not a time such as 90s, 5m or 1.5h"),
        ("epochs: 2.5", "budget: 300", "train.budget: input should be a valid string"),
        ("epochs: 2.5", "epochs: 2.5, workers: -1", "train.workers"),
        ("loss: dice", "loss: dice\naugment: ShiftScaleRotate", "'ShiftScaleRotate' is not known; Affine does it"),
        ("loss: dice", "loss: dice\naugment: [HorizontalFlip, Normalize]", "data.mean and data.std do it"),
        ("loss: dice", "loss: dice\naugment: Albumentations", "give `file`"),
        ("loss: dice", "loss: dice\naugment: {name: Albumentations, file: no.yaml}", "no.yaml: no such file"),
        ("loss: dice", "loss: dice\naugment: {name: Albumentations, file: 3}", "file: input should be a valid string"),
        (
            "loss: dice",
            "loss: dice\naugment: {name: CoarseDropout, fill_mask: background}",
            "augment.fill_mask: 'background' is not known",
        ),
        ("epochs: 2.5", "epochs: 2.5, ema: 1", "train.ema"),
        ("loss: dice", "loss: dice\ntrackers: [wandb, {name: wandb, offline: true}]", "trackers: wandb: given twice"),
    ],
)
def test_one_fault_gives_one_line(old: str, new: str, what: str) -> None:
    found = problems(SMALLEST.replace(old, new))
    assert len(found) == 1, found
    assert what in found[0] and found[0].startswith("run.yaml:")


def test_overrides_and_paths(tmp_path: Path) -> None:
    path = write(tmp_path, EXAMPLE)
    config = load_config(
        path,
        [
            "train.iterations=10",
            "loss.1.weight=0.5",
            "model.weights=w/x.safetensors",
            "seed=7",
            "augment=[]",
            "data.root=/abs",
        ],
    )
    assert (config.train.iterations, config.loss[1].weight, config.seed, config.augment) == (10, 0.5, 7, [])
    assert config.model.weights == str(tmp_path / "w/x.safetensors") and config.data.root == "/abs"
    assert load_config(path).model.weights == "imagenet"
    with pytest.raises(ConfigError) as raised:
        load_config(path, ["train.iterations=many", "loss.0.nam=x"])
    assert raised.value.problems == [
        "`overrides` train.iterations=many: train.iterations: input should be a valid integer (given 'many')",
        "`overrides` loss.0.nam=x: loss.0.nam: no such key; known: label_smoothing",
    ]


def test_rebase_twice_changes_nothing(tmp_path: Path) -> None:
    config = rebase(check(EXAMPLE), tmp_path)
    assert rebase(config, tmp_path / "other") == config


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("1.5h", 5400), ("0.5 m", 30)])
def test_times(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "0s", "5M", "1e3s", "5m30s", "5 m "])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        seconds_of(text)


@pytest.mark.parametrize(
    ("table", "arguments"),
    [
        (losses.LOSSES, losses.arguments),
        (augment.AUGMENTATIONS, augment.arguments),
        (models.MODELS, models.arguments),
        (optim.OPTIMIZERS, optim.optimizer_arguments),
        (optim.SCHEDULES, optim.schedule_arguments),
        (trackers.TRACKERS, trackers.arguments),
    ],
)
def test_arguments_of_every_row_can_be_checked(table: dict[str, Any], arguments: Any) -> None:
    for name in table:
        parameters = arguments(name)
        model = arguments_model(name, parameters)
        defaults = {
            key: list(p.default) if isinstance(p.default, tuple) else p.default
            for key, p in parameters.items()
            if p.default is not p.empty
        }
        model.model_validate(defaults)


class TestSchema:
    def validator(self) -> jsonschema.Draft202012Validator:
        schema = json_schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        return jsonschema.Draft202012Validator(json.loads(json.dumps(schema)))

    @pytest.mark.parametrize("text", [EXAMPLE, SMALLEST])
    def test_good_configs_are_valid(self, text: str) -> None:
        assert list(self.validator().iter_errors(parse(text, "x").data)) == []
        assert list(self.validator().iter_errors(check(text).to_dict())) == []

    def test_editors_see_the_faults(self) -> None:
        errors = self.validator().iter_errors(parse(BAD, "x").data)
        places = {".".join(map(str, error.absolute_path)) for error in errors}
        assert {"seed", "data", "data.image_size.1", "data.resample", "border"} <= places
        for key in ("loss", "optimizer", "augment", "trackers"):
            assert key in {place.split(".")[0] for place in places}

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("model", {"name": "Unett", "encoder": "x"}),
            ("model", "Unett"),
            ("loss", "dices"),
            ("loss", [{"name": "dices"}]),
            ("augment", ["Flip"]),
            ("augment", [{"name": "Flip"}]),
            ("optimizer", "sdg"),
            ("schedule", {"name": "linear"}),
            ("trackers", ["mlflo"]),
        ],
    )
    def test_names_of_the_tables(self, key: str, value: Any) -> None:
        data = parse(SMALLEST, "x").data
        assert list(self.validator().iter_errors(data)) == []
        assert list(self.validator().iter_errors(data | {key: value}))


BUDGET = """\
data: {root: d, image_size: [64, 96], trust: {folder: t, mode: ignore, least: 0.4}}
model: {name: Unet, encoder: resnet18, weights: none}
loss: dice
schedule: {name: poly, warmup: 30}
train: {budget: 5m, batch_size: 4}
augment: [RGBShift, {name: Albumentations, file: a.json}]
"""


@pytest.mark.parametrize(
    ("overrides", "place", "expected"),
    [
        (["train.iterations=100"], ("train",), {"budget": None, "epochs": None, "iterations": 100, "batch_size": 4}),
        (["train.epochs=2.0"], ("train",), {"budget": None, "epochs": 2.0, "iterations": None}),
        (["train.budget=null", "train.iterations=7"], ("train",), {"budget": None, "iterations": 7}),
        (["train.iterations=7", "train={budget: 1m}"], ("train",), {"budget": "1m", "iterations": None}),
        (["data.trust.mode=weight"], ("data", "trust"), {"mode": "weight", "least": None, "folder": "{}/t"}),
        (["model.name=UNet"], ("model",), {"encoder": None, "weights": "none"}),
        (["model.encoder=resnet34"], ("model",), {"name": "Unet", "encoder": "resnet34"}),
        (["schedule.name=one_cycle"], ("schedule",), {"name": "one_cycle", "warmup": 0}),
        (["schedule.name=cosine"], ("schedule",), {"name": "cosine", "warmup": 30}),
    ],
)
def test_an_override_takes_the_place_of_what_it_rules_out(
    tmp_path: Path, overrides: list[str], place: tuple[str, ...], expected: dict[str, Any]
) -> None:
    found: Any = load_config(
        write(tmp_path, BUDGET.replace("augment: [RGBShift, {name: Albumentations, file: a.json}]", "")), overrides
    ).to_dict()
    for part in place:
        found = found[part]
    expected = {key: value.format(tmp_path) if isinstance(value, str) else value for key, value in expected.items()}
    assert {key: found[key] for key in expected} == expected


def test_a_pipeline_in_place_takes_the_place_of_its_file() -> None:
    document = parse(BUDGET, "run.yaml")
    apply_overrides(document, ["augment.1.pipeline={transform: {}}"], EXCLUSIVE)
    assert document.data["augment"] == ["RGBShift", {"name": "Albumentations", "pipeline": {"transform": {}}}]


def test_refits_end_with_the_iterations_they_belong_to(tmp_path: Path) -> None:
    text = SMALLEST.replace("epochs: 2.5", "iterations: 9, refits: [{iteration: 3, iterations: 9, evaluate_every: 2}]")
    assert len(load_config(write(tmp_path, text)).train.refits) == 1
    assert load_config(write(tmp_path, text), ["train.iterations=20"]).train.refits == []
    assert load_config(write(tmp_path, text), ["train.epochs=1.0"]).train.refits == []


@pytest.mark.parametrize("override", ["train.threads=1", "train.budget=1m"])
def test_thread_changes_end_with_what_they_belong_to(tmp_path: Path, override: str) -> None:
    text = SMALLEST.replace("epochs: 2.5", "iterations: 9, threads: 2, thread_changes: [{iteration: 3, threads: 1}]")
    assert len(load_config(write(tmp_path, text)).train.thread_changes) == 1
    assert load_config(write(tmp_path, text), [override]).train.thread_changes == []


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["train.iterations=100", "train.epochs=2.0"], r"give one of .* \(given: iterations, epochs\)"),
        (["train.iterations=100", "train.budget=1m"], r"give one of .* \(given: iterations, budget\)"),
        (["train={epochs: 1.0}", "train.iterations=100"], r"give one of .* \(given: iterations, epochs\)"),
        (["schedule.name=one_cycle", "schedule.warmup=3"], "one_cycle .* leave warmup out"),
        (["data.trust.mode=weight", "data.trust.least=0.3"], "mode weight has no least"),
        (["model.name=UNet", "model.encoder=resnet18"], "UNet has no separate encoder"),
        (["augment=[{name: Albumentations, file: a, pipeline: {}}]"], "give `file` or `pipeline`, not both"),
    ],
)
def test_two_overrides_that_rule_each_other_out(tmp_path: Path, overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_config(write(tmp_path, BUDGET), overrides)


@pytest.mark.parametrize(
    ("old", "new", "where", "meant"),
    [
        ("model: UNet", "model: UNet\nlearning_rate: 1", "learning_rate", "optimizer.lr"),
        ("model: UNet", "model: UNet\nlr: 1", "lr", "optimizer.lr"),
        ("model: UNet", "model: UNet\noptimizer: {learning_rate: 1.0}", "optimizer.learning_rate", "optimizer.lr"),
        ("model: UNet", "model: UNet\nbatch_size: 4", "batch_size", "train.batch_size"),
        ("model: UNet", "model: UNet\nepochs: 4", "epochs", "train.epochs"),
        ("model: UNet", "model: UNet\naugmentations: []", "augmentations", "augment"),
        ("root: d", "root: d, img-size: 4", "data.img-size", "data.image_size"),
        ("epochs: 2.5", "epochs: 2.5, lr: 1", "train.lr", "optimizer.lr"),
        ("model: UNet", "model: {name: UNet, backbone: x}", "model.backbone", "model.encoder"),
    ],
)
def test_other_words_are_told_their_place(old: str, new: str, where: str, meant: str) -> None:
    assert any(
        f" {where}: no such key; did you mean '{meant}'?" in line for line in problems(SMALLEST.replace(old, new))
    )


def test_synonyms_name_places_and_are_no_keys_there() -> None:
    for word, place in SYNONYMS.items():
        first, _, last = place.partition(".")
        model = RunConfig.model_fields[first].annotation
        assert not last or last in model.model_fields, place  # type: ignore[union-attr]
        assert word == last or word not in RunConfig.model_fields, word


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("170", "[160, 160]"),
        ("[170]", "[160, 160]"),
        ("'224x320'", "[224, 320]"),
        ("[3, 256, 512]", "[256, 512]"),
        ("[256, 512, 3]", "[256, 512]"),
        ("4", "[32, 32]"),
        ("large", "[224, 224]"),
        ("null", "[224, 224]"),
    ],
)
def test_a_wrong_size_is_told_the_right_form(given: str, right: str) -> None:
    (line,) = problems(SMALLEST.replace("[64, 96]", given))
    assert "data.image_size: give [height, width]" in line and right in line


@pytest.mark.parametrize(
    ("new", "says"),
    [
        ("optimizer: {betas: 0.9}", "optimizer.betas: give a list, such as [0.9, 0.9] (given 0.9)"),
        ("augment: [{name: Affine, scale: 2}]", "augment.0.scale: give a list, such as [2, 2] (given 2)"),
    ],
)
def test_a_number_where_a_list_is_needed(new: str, says: str) -> None:
    assert any(says in line for line in problems(SMALLEST + new + "\n"))
