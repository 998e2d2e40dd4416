"""The preview: the very draws of the training, on sheets, with nothing trained."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers import fingerprint
from maskwright.core.classes import IGNORE
from maskwright.errors import ConfigError
from maskwright.reporting import preview as module
from maskwright.reporting.preview import preview
from maskwright.training import prepare
from maskwright.training import train as training
from maskwright.training.loader import Batches, batch_indices
from maskwright.training.train import train
from tiny import EVERY_AUGMENTATION, config, write_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("preview") / "data", {"train": 6, "val": 2}, ids=(0, 1, 2))


def test_sheets_and_legend(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = fingerprint(data)
    found = preview(config(data, augment=EVERY_AUGMENTATION, border="ignore"), images=5, out=tmp_path / "p")
    assert str(found) == f"5 training images on 2 sheets in {tmp_path / 'p'}" and repr(found).startswith(
        "Preview(folder="
    )
    assert found.folder == tmp_path / "p" and len(found.sheets) == 2 and found.legend.is_file()
    assert len(found.samples) == len(set(found.samples)) == 5
    assert sorted(path.name for path in found.folder.iterdir()) == ["legend.png", "preview-001.png", "preview-002.png"]
    first, last = (cv2.imread(str(sheet)).shape for sheet in found.sheets)
    assert first[0] > 3 * last[0] and first[1] == last[1] == 8 + 5 * (160 + 8)
    told = capsys.readouterr().err.splitlines()
    assert told[0] == f"preview folder: {found.folder}" and told[-1].endswith(f"preview folder: {found.folder}")
    assert fingerprint(data) == before
    assert found.to_dict()["sheets"] == [str(sheet) for sheet in found.sheets]


def test_the_draws_are_those_of_the_training(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(data, augment=EVERY_AUGMENTATION, train={"iterations": 6, "batch_size": 4}, seed=5)
    trained: dict[tuple[int, int], tuple[bytes, bytes]] = {}
    make = Batches.__getitem__

    def noted(self: Batches, step: int) -> object:
        images, masks = make(self, step)
        for place, image, mask in zip(batch_indices(5, step, 4, 6), images, masks, strict=True):
            trained[place] = image.permute(1, 2, 0).numpy().tobytes(), mask.numpy().tobytes()
        return images, masks

    monkeypatch.setattr(Batches, "__getitem__", noted)
    train(settings, out=tmp_path / "run")
    shown: dict[str, list[tuple[bytes, bytes]]] = {}
    block = module.sample_block
    monkeypatch.setattr(
        module,
        "sample_block",
        lambda name, pairs, *drawn: (
            shown.update({name: [(i.tobytes(), m.tobytes()) for i, m in pairs]}),
            block(name, pairs, *drawn),
        )[1],
    )
    found = preview(settings, images=99, out=tmp_path / "p")
    assert len(trained) == 24
    for (epoch, index), pair in trained.items():
        assert shown[found.samples[index]][1 + epoch] == pair


def test_ignored_pixels_are_hatched_and_classes_outlined() -> None:
    image, mask = np.full((40, 40, 3), 90, np.uint8), np.zeros((40, 40), np.uint8)
    mask[:, 30:] = IGNORE
    mask[10:20, 10:20] = 1
    colours = np.array([(0, 0, 0), (230, 159, 0)], np.uint8)
    block = np.asarray(module.sample_block("a", [(image, mask)], colours))
    left, top, side = 8, 28, 160
    plain, drawn = block[top : top + side, left : left + side], block[top + side + 2 :][:side, left : left + side]
    assert (plain == 90).all()
    assert (drawn[:, 122:] == 255).all(2).any() and not (drawn[:38, :118] == 255).all(2).any()
    assert (drawn[40, 40:80] == colours[1]).all()
    assert (drawn[100:, :118] == 90).all()


@pytest.mark.parametrize(
    ("size", "tile"),
    [
        ([32, 32], (160, 160)),
        ([256, 192], (256, 192)),
        ([640, 320], (320, 160)),
        ([50, 200], (50, 200)),
        ([1, 3], (54, 162)),
    ],
)
def test_tiles_can_be_looked_at(size: list[int], tile: tuple[int, int]) -> None:
    assert module.tile_size(size) == tile


def test_no_weights_are_needed_and_nothing_is_trained(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "started", None)
    monkeypatch.setattr(training, "start_of", None)
    settings = config(data)
    model = settings.model.model_copy(update={"name": "Unet", "encoder": "resnet34", "weights": "imagenet"})
    preview(settings.model_copy(update={"model": model}), out=tmp_path / "p", images=1)


def test_what_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/x").touch()
    with pytest.raises(ConfigError, match="already exists"):
        preview(config(data), out=tmp_path / "p")
    with pytest.raises(ConfigError, match="at least 1"):
        preview(config(data), images=0, out=tmp_path / "q")
