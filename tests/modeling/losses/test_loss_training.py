"""Trainings with each loss alone: they run and resume exactly, and none of the losses that see regions ends in one
class, even from a model that says background everywhere."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from loss_cases import make

from maskwright.errors import Interrupted
from maskwright.modeling.losses import LOSSES
from maskwright.modeling.losses.build import build_loss
from maskwright.modeling.models.unet import UNet
from maskwright.run import Run
from maskwright.training.loader import Batches
from maskwright.training.train import resume, train
from tiny import config, write_dataset

# Not made to be alone, by their papers and the guide: from that model they end in one class.
HELPERS = ["boundary", "total_variation"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("losses") / "data", {"train": 3, "val": 1})


@pytest.mark.parametrize("name", LOSSES)
def test_a_training_with_it_alone_runs_and_resumes_exactly(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(data, train={"iterations": 3, "batch_size": 2, "evaluate_every": 2}, loss=[name])
    whole = train(settings, out=tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        item = Batches.__getitem__
        patch.setattr(
            Batches,
            "__getitem__",
            lambda self, step: (
                step == 1 and Run(tmp_path / "cut").last.exists() and signal.raise_signal(signal.SIGINT),
                item(self, step),
            )[1],
        )
        train(settings, out=tmp_path / "cut")
    cut = resume(tmp_path / "cut")
    for path in (whole.best, whole.last, whole.metrics.path):
        assert path.read_bytes() == (cut.path / path.relative_to(whole.path)).read_bytes()
    losses = [record["loss"] for record in whole.metrics.read() if "loss" in record]
    assert losses and all(np.isfinite(losses))


def shapes(count: int, seed: int, size: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 3, H, W) with an ellipse on about 15 % of the area that is hard to see for the noise, and their
    targets (N, H, W)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((size, size))
    images, targets = [], []
    for _ in range(count):
        row, column = rng.uniform(0.3, 0.7, 2) * size
        high, wide = rng.uniform(0.18, 0.26, 2) * size
        target = ((rows - row) / high) ** 2 + ((columns - column) / wide) ** 2 < 1
        images.append(np.where(target[..., None], (0.64, 0, 0), (0, 0, 0)) + rng.normal(0, 0.8, (size, size, 3)))
        targets.append(target.astype(np.int64))
    return torch.from_numpy(np.stack(images)).float().permute(0, 3, 1, 2), torch.from_numpy(np.stack(targets))


def learnt(loss: torch.nn.Module, seed: int, steps: int = 40, lr: float = 0.02) -> float:
    """IoU of the foreground on other images after a training from a model whose answer is background."""
    images, targets = shapes(16, 0)
    torch.manual_seed(seed)
    model = UNet(3, 2, channels=[8], bottleneck=8)
    with torch.no_grad():
        model.head.weight.mul_(1e-3)
        model.head.bias.copy_(torch.tensor([2.0, -2.0]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        chosen = rng.integers(0, len(images), 4)
        optimizer.zero_grad()
        loss(model(images[chosen]), targets[chosen]).backward()
        optimizer.step()
    images, targets = shapes(6, 1)
    with torch.no_grad():
        found = model.eval()(images).argmax(1)
    return float((found & targets).sum() / (found | targets).sum())


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        pytest.param(
            name, seed, marks=() if seed == 0 and name in ("bce", "dice", "focal", "correlation") else pytest.mark.slow
        )
        for name in LOSSES
        if name not in HELPERS
        for seed in range(4)
    ],
)
def test_it_does_not_collapse_to_one_class(name: str, seed: int) -> None:
    assert learnt(make(name), seed) > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("name", HELPERS)
def test_it_does_not_collapse_beside_another(name: str) -> None:
    counts = np.ones((1, 2), np.int64)
    assert learnt(build_loss([{"name": "ce"}, {"name": name, "weight": 0.01}], counts), 0) > 0.6
