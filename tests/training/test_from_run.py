"""A training that starts from the weights of another run: what is taken over, what is new, and that it is said."""

from __future__ import annotations

import hashlib
import shutil

import pytest
import torch

from maskwright.config import RunConfig, load_config
from maskwright.core.classes import ClassTree
from maskwright.core.geometry import Geometry
from maskwright.errors import ConfigError, SetupError
from maskwright.modeling.models import MODELS, takes_encoder
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.modeling.models.segmenter import Preprocessing, Segmenter, load_segmenter
from maskwright.reporting.writing import report
from maskwright.run import Run
from maskwright.training.from_run import OfRun, start_of, started
from maskwright.training.plan import plan
from maskwright.training.train import train
from maskwright.verbs.suspects import small_config
from tiny import config, write_dataset

ENCODERS = {"DPT": "tu-vit_tiny_patch16_224"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("start") / "data", {"train": 4, "val": 2})


@pytest.fixture(scope="module")
def parent(data, tmp_path_factory):
    settings = config(data, train={"iterations": 4, "evaluate_every": 4})
    statistics = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    settings = settings.model_copy(update={"data": settings.data.model_copy(update=statistics)})
    return train(settings, out=tmp_path_factory.mktemp("start") / "parent")


def starting(settings: RunConfig, run: Run, **model) -> RunConfig:
    return settings.model_copy(update={"model": settings.model.model_copy(update={"weights": str(run.path), **model})})


def stored_run(folder, spec, names):
    """A run folder with nothing but what a start needs."""
    torch.manual_seed(1)
    preprocessing = Preprocessing(Geometry((32, 32), False, "lanczos"), (0.5,) * 3, (0.25,) * 3)
    segmenter = Segmenter(build_model(spec), spec, ClassTree.flat(names), preprocessing)
    run = Run(folder)
    run.best.parent.mkdir(parents=True)
    segmenter.save(run.best)
    run.info_file.write_text("{}")
    return segmenter


@pytest.mark.parametrize("name", MODELS)
def test_every_model_starts_from_a_run_of_its_kind(name, tmp_path):
    spec = ModelSpec(name, 3, ENCODERS.get(name, "tu-mobilenetv3_small_050") if takes_encoder(name) else None)
    before = stored_run(tmp_path / "run", spec, ["a", "b", "c"]).model.state_dict()
    found = OfRun.open(tmp_path / "run")
    model, start = started(spec, found, ClassTree.flat(["a", "b", "c"]))
    assert start.taken == start.tensors and start.head and not start.others
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    other = ModelSpec(name, 3, spec.encoder)
    torch.manual_seed(2)
    model, start = started(other, found, ClassTree.flat(["a", "b", "x"]))
    assert 0 < start.taken < start.tensors and not start.head and not start.others
    new = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert new and start.tensors - start.taken >= len(new)  # a bias may be 0 in both


def test_classes_in_another_order_keep_their_own_rows(tmp_path):
    spec = ModelSpec("UNet", 3, args={"channels": [4], "bottleneck": 4})
    before = stored_run(tmp_path / "run", spec, ["a", "b", "c"])
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    model, start = started(spec, OfRun.open(tmp_path / "run"), ClassTree.flat(["c", "a", "b"]))
    after = Segmenter(model, spec, ClassTree.flat(["c", "a", "b"]), before.preprocessing)
    assert start.head
    torch.testing.assert_close(after.probabilities(images), before.probabilities(images)[:, [2, 0, 1]])


def test_the_first_step_starts_where_the_run_ended(data, parent, tmp_path, capsys):
    run = train(starting(config(data, optimizer={"lr": 1e-12}), parent), out=tmp_path / "run")
    n = run.info()["start"]["tensors"]
    assert f"starts from {parent.path}: {n} of {n} tensors; the head too" in capsys.readouterr().err
    ended, began = load_segmenter(parent.best).model.state_dict(), load_segmenter(run.best).model.state_dict()
    for key, value in ended.items():
        if "running" not in key and "tracked" not in key:
            torch.testing.assert_close(began[key], value, atol=1e-6, rtol=0)
    digest = hashlib.sha256(parent.best.read_bytes()).hexdigest()
    assert run.config().model.weights_sha256 == digest == run.info()["start"]["sha256"]
    assert (run.config().data.mean, run.config().data.std) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    page = report(run).read_text()
    assert str(parent.path) in page and "from scratch" not in page
    assert "from scratch" in report(parent).read_text()


def test_other_classes_get_a_new_head(parent, tmp_path, capsys):
    other = write_dataset(tmp_path / "data", {"train": 4, "val": 2}, ids=(0, 1, 2))
    run = train(starting(config(other), parent), out=tmp_path / "run")
    known = run.info()["start"]
    assert known["head"] == "new" and known["taken"] == known["tensors"] - 2  # weights and biases of the last layer
    said = f"starts from {parent.path}: {known['taken']} of {known['tensors']} tensors; the head is new, since the"
    assert f"{said} classes differ\n" in capsys.readouterr().err


def test_the_resolved_config_is_of_that_very_checkpoint(data, parent, tmp_path):
    copy = Run(shutil.copytree(parent.path, tmp_path / "copy"))
    run = train(starting(config(data), copy), out=tmp_path / "run")
    again = train(run.config_file, out=tmp_path / "again")
    assert again.best.read_bytes() == run.best.read_bytes()
    copy.best.write_bytes(run.best.read_bytes())
    with pytest.raises(SetupError, match="another checkpoint than when this config was written"):
        train(run.config_file, out=tmp_path / "third")
    changed = load_config(run.config_file, [f"model.weights={parent.path}"])
    assert changed.model.weights_sha256 is None


def test_what_does_not_fit_is_an_error_before_training(data, parent, tmp_path):
    wrong = starting(config(data), parent, name="SegNet", args={})
    with pytest.raises(ConfigError, match=r"is a UNet, of which no tensor fits SegNet"):
        train(wrong, out=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"not a run folder \(no run.json\)"):
        train(starting(config(data), Run(data)), out=tmp_path / "run")
    with pytest.raises(ConfigError, match="no such folder"):
        start_of(starting(config(data), Run(tmp_path / "nowhere")).model)
    assert not (tmp_path / "run").exists()


def test_plan_takes_the_model_of_the_run(data, parent, tmp_path):
    planned = plan(data, out=tmp_path / "run.yaml", weights=str(parent.path), budget="1m")
    model = planned.config.model
    assert (model.name, model.encoder, model.args) == ("UNet", None, {"channels": [4], "bottleneck": 4})
    assert start_of(load_config(tmp_path / "run.yaml").model).sha256
    with pytest.raises(ConfigError, match="leave `model` and `encoder` out"):
        plan(data, weights=str(parent.path), model="SegNet")


def test_suspects_are_not_looked_for_by_a_run(data, parent):
    with pytest.raises(ConfigError, match="may have learnt these very labels"):
        small_config(data, "1m", str(parent.path), [])
