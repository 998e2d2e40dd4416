"""A training that starts with weights from a package: normalised as they were trained, and with licence and source."""

from __future__ import annotations

import hashlib
import io

import pytest
import timm
import torch

from maskwright.modeling.models import packaged, weights
from maskwright.modeling.models.packaged import Packaged
from maskwright.reporting.writing import report
from maskwright.training.train import train
from tiny import config, write_dataset


@pytest.fixture
def package(tmp_path, monkeypatch):
    site = tmp_path / "site"
    info = site / "tiny_weights-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-weights\nVersion: 2.0\n")
    stream = io.BytesIO()
    torch.manual_seed(4)
    torch.save(
        {f"t{i}": value for i, value in enumerate(timm.create_model("test_resnet").state_dict().values())}, stream
    )
    (site / "w.pth").write_bytes(stream.getvalue())
    row = Packaged(
        "tu-test_resnet",
        "tiny-weights",
        "w.pth",
        hashlib.sha256(stream.getvalue()).hexdigest(),
        len(stream.getvalue()),
        "Fake-1.0",
        "made here",
        (0.1, 0.2, 0.3),
        (0.4, 0.5, 0.6),
    )
    monkeypatch.syspath_prepend(str(site))
    for module in (packaged, weights):
        monkeypatch.setattr(module, "PACKAGED", (row,))
    return row


def test_source_licence_and_normalisation_of_a_run(tmp_path, package, capsys):
    data = write_dataset(tmp_path / "data", {"train": 6, "val": 2})
    settings = config(data, train={"iterations": 2, "evaluate_every": 2})
    settings = settings.model_copy(
        update={
            "model": settings.model.model_copy(
                update={
                    "name": "Unet",
                    "encoder": "tu-test_resnet",
                    "weights": "imagenet",
                    "args": {"decoder_channels": [8, 8, 8, 8, 8]},
                }
            )
        }
    )
    run = train(settings, out=tmp_path / "run")
    said = "the package tiny-weights 2.0 (made here); licence: Fake-1.0"
    assert f"encoder weights: {said}" in capsys.readouterr().err
    assert run.info()["encoder_weights"] == {
        "source": "the package tiny-weights 2.0 (made here)",
        "licence": "Fake-1.0",
        "file": "w.pth",
        "sha256": package.sha256,
    }
    assert (run.config().data.mean, run.config().data.std) == (list(package.mean), list(package.std))
    assert said in report(run).read_text()
    named = settings.model_copy(update={"data": settings.data.model_copy(update={"mean": [0.5, 0.5, 0.5]})})
    other = train(named, out=tmp_path / "other").config().data
    assert (other.mean, other.std) == ([0.5, 0.5, 0.5], list(package.std))


def test_a_run_from_scratch_states_no_weights(tmp_path):
    data = write_dataset(tmp_path / "data", {"train": 6, "val": 2})
    run = train(config(data, train={"iterations": 2}), out=tmp_path / "run")
    assert "encoder_weights" not in run.info()
