"""The verb `tune` on a trained run, and what the other verbs then do with its masks."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import maskwright
import tiny
from exported_model import TREE, segmenter_of
from helpers import LOOKS, fingerprint, write
from maskwright.cli import main
from maskwright.core.geometry import Crop, Geometry
from maskwright.core.postprocessing import ClassRule, PostProcessing
from maskwright.core.predictor import with_postprocessing, with_selector
from maskwright.core.smoothing import Smoothing
from maskwright.core.tiles import NUMPY, whole
from maskwright.errors import ConfigError, DataError
from maskwright.run import Run


def spotted(root: Path) -> None:
    """Dots of the colour of an object in the images of `val` and `test`, which the truth calls background."""
    rng = np.random.default_rng(5)
    for file in sorted([*root.glob("images/val/*.png"), *root.glob("images/test/*.png")]):
        image = np.asarray(Image.open(file)).copy()
        mask = np.asarray(Image.open(root / "masks" / file.relative_to(root / "images")))
        for y, x in rng.integers(1, 43, (14, 2)):
            if not mask[y - 1 : y + 5, x - 1 : x + 5].any():
                image[y : y + 4, x : x + 4] = LOOKS[1]
        write(file, image)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("garden")
    root = tiny.write_dataset(folder / "data", {"train": 12, "val": 10, "test": 10}, size=(48, 48))
    text = (root / "dataset.yaml").read_text()
    (root / "dataset.yaml").write_text(text + "background: 0\n")
    spotted(root)
    config = tiny.config(
        root,
        data={"root": str(root), "image_size": [48, 48]},
        train={"iterations": 60, "evaluate_every": 60},
        optimizer={"name": "adamw", "lr": 0.02},
    )
    return maskwright.train(config, out=folder / "run")


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(trained.path, tmp_path / "run")))


@pytest.fixture
def ruled(run: Run) -> Run:
    rules = PostProcessing((ClassRule("class_0"), ClassRule("class_1", min_pixels=40)))
    run.postprocessing_file.write_text(json.dumps(rules.to_dict() | {"images": []}))
    return run


def photos(run: Run, split: str = "test") -> list[Path]:
    return sorted(Path(run.config().data.root).glob(f"images/{split}/*.png"))


def test_specks_are_found_and_removed_from_then_on(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = maskwright.evaluate(run)
    with pytest.raises(SystemExit) as stopped:
        main(["tune", str(run.path), "--json"])
    assert not stopped.value.code
    said = json.loads(capsys.readouterr().out)
    assert said["difference"]["low"] > 0 and said["held_out"] > said["none"] and said["kept"]
    rules = run.postprocessing
    assert rules is not None and rules.to_dict()["rules"] == said["postprocessing"]["rules"] == said["rules"]
    folder = run.tunings / "tuning-001"
    assert json.loads((folder / "tuning.json").read_text()) == said
    text = (folder / "tuning.txt").read_text()
    assert text.startswith(f"post-processing: {rules}\n") and "better beyond chance" in text

    after = maskwright.evaluate(run)
    assert after.folder != before.folder and after.scores.mIoU > before.scores.mIoU + 0.02
    assert after.postprocessing == rules and f"post-processing: {rules}" in after.human()
    assert maskwright.Evaluation.load(after.folder).postprocessing == rules
    page = Path(maskwright.report(run)).read_text()
    assert f"Post-processing: {rules}" in page and "class_1: " in page
    without = maskwright.evaluate(run, postprocess=False)
    assert without.folder == before.folder and without.postprocessing is None
    codes = {split: [one.code for one in maskwright.evaluate(run, split=split).findings] for split in ("val", "test")}
    assert "number.tuned_on" in codes["val"] and "number.tuned_on" not in codes["test"]

    nothing = maskwright.tune(run, none=True)
    assert run.postprocessing is None and "post-processing: none" in nothing.human()
    assert maskwright.evaluate(run).folder == before.folder
    assert maskwright.tune(run).folder == run.tunings / "tuning-002" and run.postprocessing == rules


def test_a_run_that_is_only_read(run: Run, tmp_path: Path) -> None:
    before = fingerprint(run.path)
    result = maskwright.tune(run, out=tmp_path / "found")
    assert result.postprocessing and not result.kept and fingerprint(run.path) == before
    assert (tmp_path / "found/tuning.json").is_file()


def test_every_verb_applies_it(ruled: Run, tmp_path: Path) -> None:
    files = photos(ruled)
    plain = maskwright.load(ruled, postprocess=False).label(files)
    done = maskwright.load(ruled).label(files)
    rules = ruled.postprocessing
    assert rules and any((a != b).any() for a, b in zip(plain, done, strict=True))
    for before, after in zip(plain, done, strict=True):
        np.testing.assert_array_equal(rules.apply(before), after)
    arrays = [np.asarray(Image.open(file)) for file in files]
    for postprocess, expected in ((True, done), (False, plain)):
        for found, mask in zip(maskwright.predict(ruled, arrays, postprocess=postprocess), expected, strict=True):
            np.testing.assert_array_equal(found, mask)
    for name, options, expected in (("done", {}, done), ("plain", {"postprocess": False}, plain)):
        maskwright.predict(ruled, files, out=tmp_path / name, **options)
        for file, mask in zip(files, expected, strict=True):
            np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / name / "masks" / file.name)), mask)
    for name, options in (("plain", {}), ("done", {"postprocess": False})):
        with pytest.raises(ConfigError, match="other post-processing"):
            maskwright.predict(ruled, files, out=tmp_path / name, **options)
    assert maskwright.predict(ruled.best, files[0], out=tmp_path / "file").rows
    assert "postprocessing" not in json.loads((tmp_path / "file/model.json").read_text())


def test_a_run_that_smooths_does_so_in_every_verb(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    files = photos(run)
    before = maskwright.load(run).label(files)
    rules = PostProcessing((ClassRule("class_0"), ClassRule("class_1")), Smoothing(4, 0.05))
    run.postprocessing_file.write_text(json.dumps(rules.to_dict() | {"images": []}))
    expected = maskwright.load(run).label(files)
    assert any((a != b).any() for a, b in zip(before, expected, strict=True))
    maskwright.predict(run, files, out=tmp_path / "masks")
    exported = maskwright.load(maskwright.export(run, out=tmp_path / "model.onnx").file)
    for file, mask, other in zip(files, expected, exported.label(files), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "masks/masks" / file.name)), mask)
        assert np.mean(mask == other) > 0.999
    assert maskwright.evaluate(run).postprocessing == rules


def test_an_exported_model_does_the_same(ruled: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    files, data = photos(ruled), ruled.config().data.root
    whole = maskwright.export(ruled, out=tmp_path / "whole.onnx")
    bare = maskwright.export(ruled, out=tmp_path / "bare.onnx", postprocess=False)
    assert whole.float32.agreement == bare.float32.agreement == 1
    assert whole.float32.mIoU == pytest.approx(maskwright.evaluate(ruled, split="val", postprocess=False).scores.mIoU)
    for model, options in ((whole.file, {}), (bare.file, {"postprocess": False})):
        expected = maskwright.load(ruled, **options).label(files)
        for found, mask in zip(maskwright.load(model).label(files), expected, strict=True):
            np.testing.assert_array_equal(found, mask)
        assert maskwright.evaluate(model, data=data).scores == maskwright.evaluate(ruled, **options).scores
    plain = maskwright.evaluate(whole.file, data=data, postprocess=False)
    assert plain.scores == maskwright.evaluate(bare.file, data=data).scores
    assert plain.postprocessing is None and maskwright.evaluate(whole.file, data=data).postprocessing


@pytest.mark.parametrize("crop", [None, Crop()])
def test_the_levels_of_a_tree_follow_the_leaves(crop: Crop | None) -> None:
    geometry = Geometry((24, 40), crop=crop) if crop else Geometry((24, 40))
    plain = segmenter_of(selector="top_down")
    plain = replace(plain, preprocessing=replace(plain.preprocessing, geometry=geometry))
    ground, *others = TREE.names
    rules = PostProcessing((ClassRule(ground), *(ClassRule(name, min_pixels=20, fill_holes=9) for name in others)))
    done = with_postprocessing(plain, rules, "x")
    pictures = [np.random.default_rng(k).integers(0, 256, (50 + k, 61, 3), dtype=np.uint8) for k in range(3)]
    for (before, _), (after, maps), same in zip(
        plain.labelled(pictures, 4, True), done.labelled(pictures, 4, True), done.label_levels(pictures), strict=True
    ):
        np.testing.assert_array_equal(after[-1], rules.apply(before[-1]))
        assert (after[-1] != before[-1]).any() and maps is not None
        for level, mask, other in zip(TREE.levels, after, same, strict=True):
            np.testing.assert_array_equal(mask, level.mask(after[-1]))
            np.testing.assert_array_equal(mask, other)
    with pytest.raises(ConfigError, match="levels labels each level by itself"):
        with_selector(done, "levels")
    with pytest.raises(DataError, match="other classes than the model's"):
        with_postprocessing(plain, PostProcessing((ClassRule("sky"),)), "x")


def test_a_run_without_it_is_as_ever(run: Run, tmp_path: Path) -> None:
    result = maskwright.evaluate(run)
    stored = (result.folder / "scores.json").read_text()
    assert "postprocessing" not in stored and "tuned_on" not in stored
    maskwright.predict(run, photos(run)[:1], out=tmp_path / "out")
    assert "postprocessing" not in (tmp_path / "out/model.json").read_text()


def clean(root: Path, seed: int) -> Path:
    """Data without the dots."""
    tiny.write_dataset(root, {"val": 20}, size=(48, 48), seed=seed)
    (root / "dataset.yaml").write_text((root / "dataset.yaml").read_text() + "background: 0\n")
    return root


def test_outlines_that_are_too_wide_become_better_on_other_images_too(run: Run, tmp_path: Path) -> None:
    """The loss favours a rare class, so the run gives it too many pixels."""
    found = maskwright.tune(run, data=clean(tmp_path / "first", 9)).postprocessing
    assert found and 0.5 < found.rules[1].min_probability <= 0.9 and found.rules[1].min_pixels == 0
    other = clean(tmp_path / "second", 10)
    with_, without = (
        maskwright.evaluate(run, split="val", data=other, postprocess=p).scores.mIoU for p in (True, False)
    )
    assert with_ > without + 0.01
    files = sorted(other.glob("images/val/*.png"))
    labels = maskwright.load(run).label(files)
    for file, label in zip(files, labels, strict=True):
        image = np.asarray(Image.open(file))
        plain = maskwright.load(run, postprocess=False)
        (sure,) = plain.own_probabilities([image])
        maps, ways = whole(sure.numpy()), plain.preprocessing
        if found.smoothing:
            maps = found.smoothing.on(maps, image, ways.geometry, ways.bands, NUMPY)
        np.testing.assert_array_equal(label, maps([1]) >= np.float32(found.rules[1].min_probability))


def test_a_run_without_errors_says_none(run: Run, tmp_path: Path) -> None:
    """Its own labels are the truth."""
    root = clean(tmp_path / "clean", 9)
    files = sorted(root.glob("images/val/*.png"))
    for file, label in zip(files, maskwright.load(run).label(files), strict=True):
        write(root / "masks/val" / file.name, label)
    result = maskwright.tune(run, data=root)
    assert result.postprocessing is None and run.postprocessing is None
    assert result.human().startswith("post-processing: none\n") and result.folder == run.tunings / "tuning-001"


def test_what_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`score` F1: is no score"):
        maskwright.tune(run, score="F1")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`none`: only removes"):
        maskwright.tune(run, none=True, out=tmp_path / "x")
    root = tiny.write_dataset(tmp_path / "few", {"val": 4}, size=(48, 48))
    with pytest.raises(ConfigError, match="has 4 labelled images, and 5 are needed"):
        maskwright.tune(run, data=root)
    run.postprocessing_file.write_text("{}")
    with pytest.raises(DataError, match="its post-processing is damaged"):
        maskwright.evaluate(run)
    maskwright.tune(run, none=True)
    (run.path / "finished.json").unlink()
    with pytest.raises(ConfigError, match="training has not finished"):
        maskwright.tune(run)
