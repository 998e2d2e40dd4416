"""Exported models that see windows of images, more bands than three, or 16 bits, do what their runs do."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import banded
import maskwright
import tiny
from exported_model import run_without_torch
from maskwright.inference.exporting.exported import ExportedModel
from maskwright.run import Run


def trained(root: Path, size: list[int], **data: object) -> Run:
    maskwright.init(root)
    length = {"iterations": 60, "evaluate_every": 60}
    config = tiny.config(
        root,
        train=length,
        data={"root": str(root), "image_size": size, **data},
        optimizer={"name": "adamw", "lr": 0.01},
    )
    return maskwright.train(config, out=root.parent / "run")


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """12 bits in 16, seen in windows of an image that is shrunk before."""
    root = banded.write_twelve_bits(tmp_path_factory.mktemp("windows") / "data", (8, 5, 3))
    return trained(root, [24, 24], crop={"scale": 0.8, "overlap": 0.3, "rare": 0.5})


@pytest.fixture(scope="module")
def exported(windows: Run) -> maskwright.ExportResult:
    return maskwright.export(windows, int8=True, max_loss=1)


def same_masks(first: Path, second: Path) -> float:
    pairs = [(mask, second / mask.relative_to(first)) for mask in sorted(first.rglob("masks/**/*.png"))]
    assert len(pairs) > 1
    masks = [(np.asarray(Image.open(a)), np.asarray(Image.open(b))) for a, b in pairs]
    assert all(len(np.unique(a)) > 1 for a, _ in masks), "nothing is compared where nothing is found"
    return float(np.mean([np.mean(a == b) for a, b in masks]))


def test_the_certificate_is_about_windows(windows: Run, exported: maskwright.ExportResult) -> None:
    assert exported.windows and exported.image_size == (24, 24)
    assert exported.float32.images == 5 and exported.float32.agreement > 0.9999
    assert exported.float32.max_difference < 1e-5
    assert exported.float32.reference_mIoU == pytest.approx(maskwright.evaluate(windows, split="val").scores.mIoU)
    assert exported.calibration is not None and exported.calibration.images == 48, "several windows of each of 8 images"
    assert "windows of 24x24 pixels of images of any size" in exported.human() and "windows/s with" in exported.human()
    assert exported.to_dict()["windows"] is True


def test_labels_and_probabilities_of_windows(windows: Run, tmp_path: Path) -> None:
    file = maskwright.export(windows, out=tmp_path / "model.onnx").file
    model, segmenter = maskwright.load(file), maskwright.load(windows)
    assert isinstance(model, ExportedModel) and model.metadata.preprocessing == segmenter.preprocessing
    rng = np.random.default_rng(0)
    for size in ((64, 64), (7, 90), (31, 30), (1, 1), (200, 133)):
        image = rng.integers(1792, 2048, (*size, 1), dtype=np.uint16)
        ((ours, found),) = model.labelled([image], 3, True)
        ((theirs, expected),) = segmenter.labelled([image], 3, True)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert found.shape == (2, *size) and np.mean(ours[-1] == theirs[-1]) > 0.999
        ((labels, maps),) = model.label_with_maps([image])
        np.testing.assert_array_equal(labels[-1], ours[-1])
        for _ in range(2):  # each call predicts them again
            np.testing.assert_array_equal(maps()(1), found[1])
    images = windows.config().data.root + "/images/test"
    for name, one in (("torch", windows), ("onnx", file)):
        maskwright.predict(one, images, out=tmp_path / name, probabilities=True)
    assert same_masks(tmp_path / "torch", tmp_path / "onnx") > 0.999
    first, second = (np.load(tmp_path / name / "probabilities/000.npz")["probabilities"] for name in ("torch", "onnx"))
    assert np.abs(first.astype(int) - second).max() <= 1


def test_the_verbs_without_torch(windows: Run, exported: maskwright.ExportResult, tmp_path: Path) -> None:
    root = windows.config().data.root
    done = run_without_torch("predict", exported.file, f"{root}/images/test", "--out", tmp_path / "masks", "--json")
    assert done.returncode == 0 and len(json.loads(done.stdout)["predictions"]) == 3, done.stderr
    done = run_without_torch("evaluate", exported.file, "--data", root, "--split", "val", "--calibration", "--json")
    assert done.returncode == 0, done.stderr
    assert exported.int8 is not None
    scores = json.loads((exported.file.with_name("model-001-onnx") / "evaluations/val-001/scores.json").read_text())
    assert exported.int8.mIoU == pytest.approx(scores["scores"]["mIoU"]["value"])
    assert json.loads(done.stdout)["images"] == 5


def test_masks_over_http(windows: Run, exported: maskwright.ExportResult) -> None:
    from maskwright.inference.serving.answers import answer

    file = Path(windows.config().data.root) / "images/test/000.png"
    model = maskwright.load(exported.file)
    (mask,) = model.label([file])
    found = json.loads(answer(model, file.read_bytes(), "json").body)
    assert [one["pixels"] for one in found["classes"]] == [int((mask == 0).sum()), int((mask == 1).sum())]
    assert all(0.5 <= one["confidence"] <= 1 for one in found["classes"])


@pytest.mark.slow
def test_four_bands_of_whole_images(tmp_path: Path) -> None:
    root = banded.write_infrared(tmp_path / "data", (8, 3, 3))
    run = trained(root, [48, 40])
    result = maskwright.export(run)
    assert not result.windows and result.float32.agreement > 0.9999 and result.float32.max_difference < 1e-5
    for name, one in (("torch", run), ("onnx", result.file)):
        maskwright.predict(one, root / "images/test", out=tmp_path / name)
    assert same_masks(tmp_path / "torch", tmp_path / "onnx") > 0.999
    model = maskwright.load(result.file)
    with pytest.raises(maskwright.DataError, match=r"this model takes \(H, W, 4\) of uint8"):
        model.label(np.zeros((20, 20, 3), np.uint8))


def test_older_versions_refuse_what_they_do_not_know(exported: maskwright.ExportResult) -> None:
    about = maskwright.load(exported.file).session.get_modelmeta().custom_metadata_map["maskwright"]
    assert json.loads(about)["format"] == "maskwright-onnx-2"
