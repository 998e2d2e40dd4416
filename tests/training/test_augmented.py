"""Training with a pipeline of albumentations, and with images that keep their aspect ratio, from file to prediction."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from helpers import fingerprint
from maskwright.config import RunConfig, load_config, with_pipelines
from maskwright.core.classes import IGNORE
from maskwright.core.geometry import RESAMPLING
from maskwright.core.sample import read_image
from maskwright.errors import ConfigError, Interrupted
from maskwright.evaluation.scoring.evaluate import evaluate
from maskwright.inference.predict import predict
from maskwright.modeling.augment.passthrough import library
from maskwright.modeling.models.segmenter import load_segmenter
from maskwright.run import Run
from maskwright.training.loader import Batches
from maskwright.training.train import resume, train
from tiny import EVERY_AUGMENTATION, config, write_dataset

A = library()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("augmented") / "data", {"train": 5, "val": 2, "test": 1})


def compose() -> Any:
    return A.Compose(
        [
            A.OneOf([A.Rotate(40, border_mode=cv2.BORDER_CONSTANT), A.RandomResizedCrop((32, 32))], p=0.8),
            A.HorizontalFlip(),
            A.CoarseDropout(fill="random"),
            A.GaussNoise(),
            A.RandomGamma(),
        ]
    )


def settings(data: Path, **changes: Any) -> RunConfig:
    return config(data, train={"iterations": 8, "evaluate_every": 4, **changes}, model={"dropout": 0.2})


def artifacts(run: Run) -> list[bytes]:
    return [path.read_bytes() for path in (run.best, run.last, run.metrics.path)]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_passed_through_pipeline_is_exact(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From Python or from a file, with any number of loader processes, and stopped and resumed without the file."""
    whole = artifacts(train(settings(data), out=tmp_path / "whole", augmentation=compose()))
    file = tmp_path / "pipeline.yaml"
    A.save(compose(), file, data_format="yaml")
    named = settings(data).to_dict() | {"augment": [{"name": "Albumentations", "file": str(file)}]}
    for workers in (1, 2):
        named["train"]["workers"] = workers
        assert artifacts(train(RunConfig.model_validate(named), out=tmp_path / f"workers{workers}")) == whole
    assert artifacts(train(settings(data), out=tmp_path / "bare")) != whole
    named["train"]["workers"] = 0
    make = Batches.__getitem__

    def stop_in_step_5(self: Batches, step: int) -> Any:
        if step == 5 and threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGINT)
        return make(self, step)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Batches, "__getitem__", stop_in_step_5)
        train(RunConfig.model_validate(named), out=tmp_path / "stopped")
    file.unlink()
    assert artifacts(resume(tmp_path / "stopped")) == whole
    again = train(tmp_path / "stopped" / "config.yaml", out=tmp_path / "again")  # the resolved config holds all of it
    assert artifacts(again) == whole


@pytest.mark.parametrize(
    ("augmentation", "what"),
    [
        (lambda: A.Compose([A.RandomCrop(16, 16)]), "must keep data.image_size"),
        (lambda: A.Compose([A.Normalize()]), "data.mean and data.std"),
        (lambda: 3, "expected a pipeline"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    data: Path, tmp_path: Path, augmentation: Any, what: str
) -> None:
    with pytest.raises(ConfigError, match=what):
        train(settings(data), out=tmp_path / "run", augmentation=augmentation())
    assert list(tmp_path.iterdir()) == []


def test_files_relative_to_the_config_and_all_problems_at_once(data: Path, tmp_path: Path) -> None:
    text = (
        f"data: {{root: {data}, image_size: [32, 32]}}\nmodel: UNet\nloss: ce\ntrain: {{iterations: 1}}\n"
        "augment:\n  - {name: Albumentations, file: p.json}\n"
    )
    (tmp_path / "run.yaml").write_text(text)
    A.save(compose(), tmp_path / "p.json")
    found = load_config(tmp_path / "run.yaml")
    assert found.augment[0].arguments == {"file": str(tmp_path / "p.json")}
    held = with_pipelines(found).augment[0].arguments
    assert held == {"pipeline": json.loads((tmp_path / "p.json").read_text())}
    (tmp_path / "p.json").write_text(
        '{"transform": {"__class_fullname__": "Compose", "transforms": ['
        '{"__class_fullname__": "os.system"}, {"__class_fullname__": "Rotat"}]}}'
    )
    (tmp_path / "run.yaml").write_text(text.replace("loss: ce", "loss: cee") + "  - HorizontalFlip\n")
    with pytest.raises(ConfigError) as raised:
        load_config(tmp_path / "run.yaml")
    where = f"{tmp_path / 'run.yaml'}:"
    assert [problem.removeprefix(where) for problem in raised.value.problems] == [
        "3:1: loss: the loss 'cee' is not known; did you mean 'ce'?",
        "5:1: augment: Albumentations is a whole pipeline and stands alone; remove the other entries",
        "6:5: augment.0: p.json: transform.transforms.0: os.system is not passed through; it is none of albumentations "
        "2.0.8",
        "6:5: augment.0: p.json: transform.transforms.1: Rotat is not passed through; it is none of albumentations "
        "2.0.8; did you mean 'Rotate'?",
    ]
    (tmp_path / "run.yaml").write_text(text.replace("p.json", "q.json"))
    with pytest.raises(ConfigError, match=r"6:5: augment.0: .*q\.json: no such file"):
        load_config(tmp_path / "run.yaml")


@pytest.mark.parametrize("resample", RESAMPLING)
@pytest.mark.parametrize("border", ["reflect", "ignore"])
def test_keep_ratio_from_training_to_prediction(tmp_path: Path, resample: str, border: str) -> None:
    """Images of 24x40 in a model's 32x32: 19 rows of image, 13 of padding, which enters no loss and no score."""
    root = write_dataset(tmp_path / "data", {"train": 4, "val": 2, "test": 2}, size=(24, 40))
    before = fingerprint(root)
    made = config(
        root,
        train={"iterations": 2, "evaluate_every": 1},
        augment=EVERY_AUGMENTATION,
        border=border,
        data={"root": str(root), "image_size": [32, 32], "keep_ratio": True, "resample": resample},
    )
    run = train(made, out=tmp_path / "run")
    segmenter = load_segmenter(run.best)
    geometry = segmenter.preprocessing.geometry
    assert (geometry.keep_ratio, geometry.resample, geometry.inner((24, 40))) == (True, resample, (19, 32))
    padded = geometry.mask(np.zeros((24, 40), np.uint8))
    assert (padded[19:] == IGNORE).all() and not padded[:19].any()
    result = evaluate(run, split="test")
    assert sum(row.true_pixels for row in result.scores.classes) == 2 * 24 * 40
    found = predict(run, root / "images/test", out=tmp_path / "out")
    for row in found.rows:
        assert (row["height"], row["width"]) == (24, 40)
        image = read_image(Path(row["image"]))
        inner = np.asarray(geometry.image(image))
        assert not inner[19:].any()
        probabilities = segmenter.probabilities(torch.from_numpy(inner[None]).permute(0, 3, 1, 2))
        own = torch.nn.functional.interpolate(probabilities[..., :19, :32], (24, 40), mode="bilinear")
        mask = cv2.imread(str(found.folder / row["mask"]), cv2.IMREAD_UNCHANGED)
        assert mask.shape[:2] == (24, 40)
        assert row["pixels"] == {
            name: int((own[0].argmax(0) == k).sum()) for k, name in enumerate(segmenter.classes.names)
        }
    assert fingerprint(root) == before


def test_padding_teaches_nothing(tmp_path: Path) -> None:
    """Whatever the padding of the images holds, the loss is that of the images alone."""
    root = write_dataset(tmp_path / "data", {"train": 3, "val": 1}, size=(24, 40))
    made = config(root, data={"root": str(root), "image_size": [32, 32], "keep_ratio": True})
    from maskwright.data.opening import load_dataset
    from maskwright.modeling.losses.build import build_loss
    from maskwright.training.loader import DecodedSamples
    from maskwright.training.prepare import batches_of, geometry_of

    dataset = load_dataset(root)
    batches = batches_of(made, DecodedSamples(dataset, dataset.splits["train"], geometry_of(made)))
    _, targets = batches[0]
    assert (targets[:, 19:] == IGNORE).all() and (targets[:, :19] != IGNORE).all()
    criterion = build_loss([term.model_dump() for term in made.loss], np.array([[1, 1]]))
    logits = torch.randn(4, 2, 32, 32)
    loss = criterion(logits, targets.long())
    logits[:, :, 19:] += 100 * torch.randn(4, 2, 13, 32)
    assert torch.equal(criterion(logits, targets.long()), loss)
