"""Trainings on images of other bands and bits than 8-bit RGB: whole lines, and what is refused on the way."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from banded import near_infrared, twelve_bits, write_infrared, write_tiff, write_twelve_bits
from maskwright.core.bands import Bands
from maskwright.data.init import init
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError
from maskwright.evaluation.scoring.evaluate import evaluate
from maskwright.inference.loading import load
from maskwright.inference.predict import predict
from maskwright.modeling.augment import AUGMENTATIONS
from maskwright.run import Run
from maskwright.training.image_cache import Decoded, write_decoded
from maskwright.training.plan import plan
from maskwright.training.prepare import geometry_of, measured
from maskwright.training.train import resume, train
from tiny import config

WRITERS = {"infrared": write_infrared, "twelve bits": write_twelve_bits}
BANDS = {"infrared": Bands.of(4), "twelve bits": Bands.of(1, 16, (0, 4095))}
TERMS = [name for name, row in AUGMENTATIONS.items() if not row.colours]


@pytest.fixture(scope="module", params=WRITERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def data(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `init` describes it."""
    folder = WRITERS[kind](tmp_path_factory.mktemp("data") / "set", (12, 4, 4))
    init(folder)
    return folder


def settings(root: Path, **sections: object):  # type: ignore[no-untyped-def]
    given = {"data": {"root": str(root), "image_size": [64, 64]}, "augment": ["HorizontalFlip", "VerticalFlip"]}
    lengths = {"iterations": 60, "batch_size": 4, "evaluate_every": 20, "ema": 0.8}
    return config(
        root,
        train=lengths | dict(sections.pop("train", {})),  # type: ignore[call-overload]
        model={"channels": [8, 16], "bottleneck": 16},
        optimizer={"lr": 0.01},
        schedule={"name": "poly", "warmup": 5},
        **(given | sections),
    )


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(settings(data), out=tmp_path_factory.mktemp("run") / "run")


def test_init_says_what_images_are(kind: str, data: Path) -> None:
    assert load_dataset(data).bands == BANDS[kind]


def test_all_bands_and_bits_are_learnt_from_and_fewer_are_not_enough(run: Run, data: Path, tmp_path: Path) -> None:
    assert evaluate(run, split="test").scores.mIoU > 0.85
    described = yaml.safe_load((data / "dataset.yaml").read_text())
    described["root"] = str(data)
    described["images"] = {"folder": described["images"]["folder"]}
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/dataset.yaml").write_text(yaml.safe_dump(described))
    with pytest.raises(DataError, match="its images hold RGB, and those of the run "):
        evaluate(run, data=tmp_path / "plain", split="test")
    as_rgb = train(settings(tmp_path / "plain"), out=tmp_path / "run")
    assert evaluate(as_rgb, split="test").scores.mIoU < 0.6


def test_the_run_keeps_the_statistics_of_the_training_images(kind: str, run: Run, data: Path) -> None:
    dataset, bands = load_dataset(data), BANDS[kind]
    images = np.concatenate([dataset.read_bands(s).reshape(-1, bands.channels) for s in dataset.splits["train"]])
    stored = yaml.safe_load(run.config_file.read_text())["data"]
    np.testing.assert_allclose(stored["mean"], images.mean(0) / bands.range[1], atol=1e-6)
    np.testing.assert_allclose(stored["std"], images.std(0) / bands.range[1], atol=1e-6)


def test_the_checkpoint_holds_all_that_is_needed(kind: str, run: Run, data: Path) -> None:
    segmenter, dataset = load(run), load_dataset(data)
    assert segmenter.preprocessing.bands == BANDS[kind] and segmenter.spec.in_channels == BANDS[kind].channels
    samples = dataset.splits["test"]
    arrays = [dataset.read_bands(sample) for sample in samples]
    assert all(
        np.array_equal(a, b)
        for a, b in zip(segmenter.label(arrays), segmenter.label([s.image for s in samples]), strict=True)
    )
    with pytest.raises(DataError, match="this model takes .* channels last"):
        segmenter.label(np.zeros((64, 64, 3), np.uint8))


def test_predict_lists_images_of_other_bands(kind: str, run: Run, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shutil.copytree(data / "images/test", folder)
    Image.new("RGB", (64, 64)).save(folder / "photo.png")
    found = predict(run, folder, out=tmp_path / "out")
    assert len(found.rows) == 4 and not any("left_out" in row for row in found.rows)
    (skipped,) = found.skipped
    assert "photo.png: holds 3 bands of 8 bits, where" in skipped["reason"]
    drawn = np.asarray(Image.open(found.folder / found.rows[0]["overlay"]))
    assert drawn.shape == (64, 64, 3) and drawn.std() > 1


def test_every_row_for_any_bands_trains(data: Path, tmp_path: Path) -> None:
    terms = [{"name": name, "p": 0.7} for name in TERMS]
    found = train(settings(data, augment=terms, train={"iterations": 4, "evaluate_every": 2}), out=tmp_path / "run")
    assert all(np.isfinite(row["loss"]) for row in found.metrics.read() if "loss" in row)


def test_rows_for_colours_are_refused_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="augment: CLAHE is for 8-bit RGB, and these images hold"):
        train(settings(data, augment=["HorizontalFlip", "CLAHE"]), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_as_many_means_as_bands(data: Path, tmp_path: Path) -> None:
    given = {"root": str(data), "image_size": [64, 64], "mean": [0.5, 0.5], "std": [0.2, 0.2]}
    with pytest.raises(ConfigError, match=r"data\.mean: has 2 values, and the images of .* have [14] bands?; give one"):
        train(settings(data, data=given), out=tmp_path / "run")


def test_an_image_that_differs_is_an_error_by_name(data: Path, tmp_path: Path) -> None:
    own = shutil.copytree(data, tmp_path / "data")
    first = next((own / "images/train").iterdir())
    Image.new("RGB", (64, 64)).save(first)
    with pytest.raises(DataError, match=rf"{first.name}: holds 3 bands of 8 bits, where .* expected"):
        train(settings(own), out=tmp_path / "run")


def test_resuming_ends_with_the_same_bytes(data: Path, tmp_path: Path) -> None:
    given = settings(
        data, train={"iterations": 6, "evaluate_every": 3}, augment=["Affine", "GaussNoise", "RandomGamma"]
    )
    whole = train(given, out=tmp_path / "whole")
    begun = shutil.copytree(whole.path, tmp_path / "again")
    (begun / "finished.json").unlink()
    assert resume(begun).best.read_bytes() == whole.best.read_bytes()


def test_decoded_images_keep_their_dtype(kind: str, data: Path, tmp_path: Path) -> None:
    dataset, samples = load_dataset(data), load_dataset(data).splits["val"]
    geometry = geometry_of(settings(data))
    assert write_decoded(tmp_path / "decoded", dataset, samples, geometry)
    decoded = Decoded.open(tmp_path / "decoded")
    assert decoded is not None and decoded.images.dtype == BANDS[kind].dtype
    pair = decoded.pair(samples[1])
    assert pair is not None and np.array_equal(pair[0], geometry.image(dataset.read_bands(samples[1])))


def test_a_plan_leaves_out_what_is_for_colours_and_says_why(kind: str, data: Path) -> None:
    found = plan(data)
    assert f"no change of colours: they are for RGB, and these images hold {BANDS[kind]}" in found.text
    assert not [term.name for term in found.config.augment if AUGMENTATIONS[term.name].colours]


@pytest.mark.parametrize("weights", ["none", "imagenet"])
def test_pretrained_encoders_take_any_bands(data: Path, tmp_path: Path, weights: str) -> None:
    model = {"name": "FPN", "encoder": "tu-tf_efficientnet_lite0", "weights": weights}
    given = settings(data, train={"iterations": 2, "evaluate_every": 2})
    given = given.model_copy(update={"model": given.model.__class__.model_validate(model)})
    assert train(given, out=tmp_path / "run").finished


def test_a_band_that_shows_nothing_has_an_std_of_1(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_tiff(tmp_path / "images/a.tif", np.full((8, 8, 2), 51, np.uint8))
    (tmp_path / "dataset.yaml").write_text(
        "layout: flat\nimages: {folder: images, channels: 2}\nclasses: [{id: 0, name: a}, {id: 1, name: b}]\n"
    )
    dataset = load_dataset(tmp_path)
    assert measured(dataset, dataset.samples) == ([0.2, 0.2], [1.0, 1.0])


def test_the_generator_hides_the_class_where_it_should(rng: np.random.Generator) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 1
    infrared, deep = near_infrared(mask, rng), twelve_bits(mask, rng)
    inside, outside = infrared[mask == 1].mean(0), infrared[mask == 0].mean(0)
    assert abs(inside - outside)[:3].max() < 30 < abs(inside - outside)[3]
    dull = deep[deep < 4000]
    assert deep.max() < 4096 and len(np.unique(dull >> 8)) == 1 and np.ptp(dull) > 100
    assert cv2.imencode(".png", deep)[0] and torch.from_numpy(deep).dtype == torch.uint16
