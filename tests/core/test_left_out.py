"""What is left out of an image is said by training and by prediction, and nothing where nothing is."""

import numpy as np
import pytest
from PIL import Image

from maskwright.core.left_out import LeftOut
from maskwright.core.sample import read_image
from maskwright.inference.predict import predict
from maskwright.training.train import train
from tiny import config, write_dataset

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 4), np.uint8)


def bands(path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(path, PIXELS, photometric="rgb", extrasamples=["unspecified"])


def alpha(path):
    Image.fromarray(np.dstack([PIXELS[..., :3], np.where(PIXELS[..., 3] > 99, 255, 0).astype(np.uint8)])).save(path)


def opaque(path):
    Image.fromarray(np.dstack([PIXELS[..., :3], np.full((32, 32), 255, np.uint8)])).save(path)


def colour_key(path):
    Image.fromarray(PIXELS[..., :3]).save(path, transparency=tuple(PIXELS[0, 0, :3].tolist()))


def deep(path):
    Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257).save(path)


def twelve(path):
    Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 16).save(path)


def deep_colours(path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(path, PIXELS[..., :3].astype(np.uint16) * 257, photometric="rgb")


KINDS = {
    bands: ("tif", "1 has further bands, which are dropped"),
    alpha: ("png", "1 has transparent pixels, whose alpha is dropped"),
    colour_key: ("png", "1 has transparent pixels"),
    deep: ("png", "1 is of 16 bits, whose values are divided by 256 (`"),
    deep_colours: ("tif", "1 is of 16 bits"),
    twelve: ("png", "1 is of 16 bits, whose values are divided by 256; 1 of these is nearly black then"),
    opaque: ("png", ""),
}


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_each_kind_is_told(tmp_path, make):
    ending, said = KINDS[make]
    left_out = LeftOut()
    for name, write in (("first", make), ("second", opaque)):
        write(tmp_path / f"{name}.{ending}")
        read_image(tmp_path / f"{name}.{ending}", tell=left_out)
    assert said in left_out.sentence() and bool(said) == bool(left_out.sentence())
    assert left_out.sentence().startswith("of 2 images, " if said else "")


def test_training_and_prediction_say_it(tmp_path, capsys):
    root = write_dataset(tmp_path / "data", {"train": 3, "val": 1})
    settings = config(root, train={"iterations": 2, "evaluate_every": 2})
    run = train(settings, out=tmp_path / "plain")
    predict(run, root / "images", out=tmp_path / "masks")
    assert "warning: of" not in capsys.readouterr().err
    alpha(root / "images/train/train_00.png")
    twelve(root / "images/val/val_00.png")
    train(settings, out=tmp_path / "run")
    warned = "warning: of 4 images, 1 has transparent pixels, whose alpha is dropped; 1 is of 16 bits"
    assert capsys.readouterr().err.count(warned) == 1
    predict(run, root / "images", out=tmp_path / "again")
    assert capsys.readouterr().err.count(warned) == 1
