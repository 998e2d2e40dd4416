"""Windows of large images: where they lie, that image and truth stay together, and a training on them from start to
end: the same for any number of workers, after a resumption, from memory and from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import write
from maskwright.config import RunConfig, load_config
from maskwright.core.classes import IGNORE
from maskwright.core.geometry import Crop, Geometry
from maskwright.core.masks import Mask
from maskwright.data.opening import load_dataset
from maskwright.diagnosis import doctor
from maskwright.errors import ConfigError, Interrupted
from maskwright.evaluation.scoring.evaluate import evaluate
from maskwright.inference.loading import load
from maskwright.inference.predict import predict
from maskwright.modeling.augment import Pipeline
from maskwright.reporting.preview import preview
from maskwright.run import Run
from maskwright.training import loader
from maskwright.training import train as module
from maskwright.training.crops import Crops, seen
from maskwright.training.image_cache import Decoded, write_decoded
from maskwright.training.loader import Batches, DecodedSamples
from maskwright.training.train import resume, train
from maskwright.training.validation import validate
from tiny import EVERY_AUGMENTATION, config, write_dataset

CROP = {"scale": 1.0, "overlap": 0.25, "rare": 0.5}


def crops_of(masks: list[Mask], size: tuple[int, int] = (16, 24), rare: float = 0.5, classes: int = 3) -> Crops:
    counts = np.array([np.bincount(mask.reshape(-1), minlength=256)[:classes] for mask in masks])
    return Crops(size, rare, 3, np.array([mask.shape for mask in masks]), counts)


class TestPlaces:
    @given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 50), st.floats(0, 1))
    def test_windows_lie_inside(self, height: int, width: int, place: int, rare: float) -> None:
        mask = np.random.default_rng(place).integers(0, 3, (height, width), dtype=np.uint8)
        crops = crops_of([mask], rare=rare)
        rows, columns = crops.window(mask, 1, place, 0)
        assert mask[rows, columns].shape == (min(16, height), min(24, width))
        assert rows.start >= 0 and columns.start >= 0

    def test_an_epoch_has_as_many_windows_of_an_image_as_fit_into_it(self) -> None:
        sizes = [(16, 24), (4, 4), (32, 48), (100, 100), (16, 60)]
        crops = crops_of([np.zeros(size, np.uint8) for size in sizes])
        assert crops.per_image.tolist() == [1, 1, 4, 26, 2]  # 10,000 / 384 and 960 / 384 pixels, rounded
        assert crops.owners.tolist() == [0, 1, *[2] * 4, *[3] * 26, *[4] * 2]

    def test_places_follow_from_seed_epoch_and_place(self) -> None:
        mask = np.random.default_rng(0).integers(0, 3, (90, 90), dtype=np.uint8)
        crops = crops_of([mask])
        found = [crops.window(mask, view, place, 0) for view in range(4) for place in range(10)]
        assert found == [crops.window(mask, view, place, 0) for view in range(4) for place in range(10)]
        assert len({(rows.start, columns.start) for rows, columns in found}) > 35

    def test_windows_lie_anywhere_alike(self) -> None:
        mask = np.zeros((36, 24), np.uint8)
        tops = [crops_of([mask]).window(mask, 0, place, 0)[0].start for place in range(2100)]
        assert {*tops} == set(range(21)) and max(np.bincount(tops)) < 2 * 100

    def test_of_the_classes_but_the_largest_all_are_met_alike(self) -> None:
        """Class 1 has a hundred times the pixels of class 2, and both are looked for equally often."""
        mask = np.zeros((200, 200), np.uint8)
        mask[:30, :30] = 1
        mask[150:153, 150:153] = 2
        mask[190:, 190:] = IGNORE
        crops = crops_of([mask], rare=1.0)
        assert crops.sought.tolist() == [False, True, True]
        met = [
            np.bincount(mask[crops.window(mask, 0, place, 0)].reshape(-1), minlength=3)[:3] > 0 for place in range(400)
        ]
        ones, twos = np.mean(met, 0)[1:]
        assert ones + twos == 1 and 0.4 < twos < 0.6

    def test_the_pixel_lies_in_the_middle_half(self) -> None:
        mask = np.zeros((200, 200), np.uint8)
        mask[100, 90] = 1
        crops = crops_of([mask], rare=1.0)
        found = [crops.window(mask, 0, place, 0) for place in range(300)]
        rows, columns = (
            np.array([at - own.start for own in axis])
            for at, axis in zip((100, 90), zip(*found, strict=True), strict=True)
        )
        assert rows.min() >= 4 and rows.max() <= 12 and columns.min() >= 6 and columns.max() <= 18
        assert len({*rows.tolist()}) > 7 and len({*columns.tolist()}) > 10  # not always the same place in it

    def test_what_drawing_changes(self) -> None:
        masks = [np.zeros((64, 96), np.uint8) for _ in range(3)]
        for mask in masks[:2]:
            mask[30:34, 40:44] = 1
        drawn, anywhere = (seen(crops_of(masks, rare=rare), lambda index: masks[index]) for rare in (0.5, 0.0))
        assert drawn.windows == anywhere.windows == 3 * 16
        assert drawn.drawn == pytest.approx(0.5 * 2 / 3) and anywhere.drawn == 0
        assert drawn.natural == anywhere.natural == [1 - 32 / 18432, 32 / 18432, 0]
        assert drawn.seen[1] > 3 * drawn.natural[1] and sum(drawn.seen) == pytest.approx(1)
        assert anywhere.seen[1] < 3 * drawn.natural[1]


def large(root: Path, counts: dict[str, int] | None = None, size: tuple[int, int] = (80, 100), **more: Any) -> Path:
    return write_dataset(root, counts or {"train": 4, "val": 2, "test": 2}, size=size, **more)


def settings(root: Path, crop: Any = None, **sections: Any) -> RunConfig:
    data = {"root": str(root), "image_size": [32, 32], "crop": CROP if crop is None else crop}
    return config(root, **{"data": data, "augment": EVERY_AUGMENTATION} | sections)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = large(tmp_path_factory.mktemp("crops") / "data")
    # One image that is smaller than a window, and one of another size.
    for name, size in (("train/train_00", (20, 25)), ("val/val_00", (30, 90))):
        pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
        write(root / f"images/{name}.png", pixels)
        write(root / f"masks/{name}.png", (pixels[..., 0] > 128).astype(np.uint8))
    return root


class TestBatches:
    def test_image_and_truth_stay_together(self, tmp_path: Path) -> None:
        """The truth is a function of each pixel."""
        rng = np.random.default_rng(0)
        for index, size in enumerate([(40, 70), (10, 90), (12, 14), (33, 50)]):
            image = rng.integers(1, 256, (*size, 3), dtype=np.uint8)
            write(tmp_path / f"images/{index}.png", image)
            write(tmp_path / f"masks/{index}.png", (image[..., 0] // 86).astype(np.uint8))
        (tmp_path / "classes.txt").write_text("a\nb\nc\n")
        dataset = load_dataset(tmp_path)
        source = DecodedSamples(dataset, dataset.samples, Geometry((16, 24), crop=Crop()))
        batches = Batches(source, Pipeline([]), 8, 5)
        counts = source.fill()[:, :3]
        batches.crops = Crops((16, 24), 0.5, 5, np.array(source.sizes), counts)
        assert source.sizes == [(40, 70), (10, 90), (12, 14), (33, 50)] and batches.per_epoch == 7 + 2 + 1 + 4
        names = []
        for step in range(8):
            images, truth = (part.numpy() for part in batches[step])
            assert images.shape == (8, 3, 16, 24) and truth.shape == (8, 16, 24)
            inside = truth != IGNORE
            np.testing.assert_array_equal(truth[inside], images[:, 0][inside] // 86)
            assert (images[:, 0][~inside] == 0).all() and inside.any((1, 2)).all()
            names += batches.names(step)
        assert [names.count(sample.name) for sample in dataset.samples] == pytest.approx([32, 9, 4, 18], abs=3)

    def test_the_cache_counts_real_sizes(self, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(loader, "memory_left", lambda: 4.0 * (20 * 25 * 4 + 2 * 80 * 100 * 4) + 100)
        dataset = load_dataset(data)
        source = DecodedSamples(dataset, dataset.splits["train"], Geometry((32, 32), crop=Crop()))
        source.fill()
        kept = [*source._cache]
        assert kept == [0, 1, 2] and sum(a.nbytes + b.nbytes for a, b in source._cache.values()) <= source.room


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_images_of_many_sizes_lie_in_the_files_of_a_study(data: Path, tmp_path: Path, scale: float) -> None:
    dataset, geometry = load_dataset(data), Geometry((32, 32), crop=Crop(scale))
    assert write_decoded(tmp_path / "decoded", dataset, dataset.samples, geometry)
    shared = DecodedSamples(dataset, dataset.samples, geometry, decoded=Decoded.open(tmp_path / "decoded"))
    plain = DecodedSamples(dataset, dataset.samples, geometry)
    for index, sample in enumerate(dataset.samples):
        for found, wanted in zip(shared[index], plain[index], strict=True):
            np.testing.assert_array_equal(found, wanted)
        height, width = dataset.image_size(sample)
        assert shared[index][1].shape == (round(height * scale), round(width * scale))
    assert not shared._cache


def artifacts(run: Run) -> list[bytes]:
    return [path.read_bytes() for path in (run.best, run.last, run.metrics.path)]


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(settings(data), out=tmp_path_factory.mktemp("crops") / "run")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
class TestTraining:
    def test_the_number_of_loader_processes_changes_nothing(self, data: Path, whole: Run, tmp_path: Path) -> None:
        again = train(settings(data, train={"workers": 2}), out=tmp_path / "run")
        assert artifacts(again) == artifacts(whole)

    def test_a_stopped_run_goes_on_exactly(
        self, data: Path, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import signal

        make = Batches.__getitem__

        def make_and_stop(self: Batches, step: int) -> Any:
            if step == 6:
                signal.raise_signal(signal.SIGINT)
            return make(self, step)

        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            patch.setattr(Batches, "__getitem__", make_and_stop)
            train(settings(data), out=tmp_path / "run")
        assert artifacts(resume(tmp_path / "run")) == artifacts(whole)

    @pytest.mark.parametrize("free", [True, False])
    def test_what_memory_does_not_hold_lies_on_disk_meanwhile(
        self, data: Path, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: bool
    ) -> None:
        from maskwright.training import image_cache

        folder = tmp_path / "run.decoded"
        there: list[bool] = []
        prepare = module.prepare
        monkeypatch.setattr(loader, "memory_left", lambda: 1000.0)
        monkeypatch.setattr(
            module, "prepare", lambda *some: (there.append(any(folder.rglob("names.json"))), prepare(*some))[1]
        )
        if not free:
            monkeypatch.setattr(image_cache, "_SHARE", 0.0)
        assert artifacts(train(settings(data), out=tmp_path / "run")) == artifacts(whole)
        assert there == [free] and not folder.exists()
        (tmp_path / "run/finished.json").unlink()
        assert artifacts(resume(tmp_path / "run")) == artifacts(whole)
        assert there == [free, free] and not folder.exists()

    def test_what_it_has_seen_is_said(self, data: Path, whole: Run, capsys: pytest.CaptureFixture[str]) -> None:
        found = whole.info()["crops"]
        assert found["windows"] == 1 + 3 * 8 and found["drawn"] == 0.5
        assert found["seen"][1] > found["natural"][1]
        finding = next(one for one in doctor(whole).findings if one.code == "train.rare_windows")
        assert "50.0 % of the 25 windows of an epoch" in finding.message and "'class_1' has" in finding.message

    def test_the_log_counts_epochs_in_windows(self, whole: Run) -> None:
        last = [row for row in whole.metrics.read() if "loss" in row][-1]
        assert last["epoch"] == pytest.approx(10 * 4 / 25)

    def test_epochs_are_made_of_windows(self, data: Path, tmp_path: Path) -> None:
        run = train(settings(data, train={"iterations": None, "epochs": 2, "evaluate_every": 50}), out=tmp_path / "run")
        assert run.config().train.iterations == 13

    def test_validation_by_tiles_is_what_evaluate_finds(self, data: Path, whole: Run) -> None:
        best = max(row["val_mIoU"] for row in whole.metrics.read() if "val_mIoU" in row)
        scored = evaluate(whole, split="val")
        assert scored.scores.mIoU == pytest.approx(best, abs=1e-12)

    def test_load_predict_and_label_do_the_same(self, data: Path, whole: Run, tmp_path: Path) -> None:
        segmenter = load(whole)
        assert segmenter.preprocessing.geometry.crop == Crop(1.0, 0.25)
        rng = np.random.default_rng(2)
        images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((150, 40), (10, 12), (64, 64))]
        masks = segmenter.label(images)
        assert [mask.shape for mask in masks] == [(150, 40), (10, 12), (64, 64)]
        for mask, other in zip(masks, predict(whole, images), strict=True):
            np.testing.assert_array_equal(mask, other)
        for index, image in enumerate(images):
            write(tmp_path / f"images/{index}.png", image)
        done = predict(whole, tmp_path / "images", out=tmp_path / "out")
        assert [row["height"] for row in done.rows] == [150, 10, 64]

    def test_another_scale_repeated_images_trust_and_two_sides(self, data: Path, tmp_path: Path) -> None:
        for sample in load_dataset(data).splits["train"]:
            write(tmp_path / f"maps/{sample.name}.png", np.full((20, 20), 200, np.uint8))
        more = {"repeat_rare": 1.0, "trust": str(tmp_path / "maps")}
        made = settings(data, flip_average=True)
        changed = made.data.model_dump() | more | {"crop": CROP | {"scale": 0.6}}
        made = RunConfig.model_validate(made.to_dict() | {"data": changed})
        first, again = (train(made, out=tmp_path / name) for name in ("one", "two"))
        assert artifacts(first) == artifacts(again)
        assert len(evaluate(first, calibration=True).images) == 2

    def test_a_preview_shows_windows(self, data: Path, tmp_path: Path) -> None:
        shown = preview(settings(data), images=2, out=tmp_path / "preview")
        assert shown.samples == ("train/train_00", "train/train_03") and shown.sheets[0].is_file()


def test_the_validation_loss_is_that_of_tiles(tmp_path: Path) -> None:
    root = large(tmp_path / "data", {"train": 1, "val": 1}, size=(32, 56))
    run = train(settings(root, augment=[], train={"iterations": 1}), out=tmp_path / "run")
    segmenter = load(run)
    dataset = load_dataset(root)
    source = DecodedSamples(dataset, dataset.splits["val"], segmenter.preprocessing.geometry)
    criterion = torch.nn.CrossEntropyLoss(ignore_index=IGNORE)
    image, mask = source[0]
    with torch.inference_mode():
        parts = [
            criterion(
                segmenter.logits(torch.from_numpy(image[:, left : left + 32].copy()).permute(2, 0, 1)[None]),
                torch.from_numpy(mask[None, :, left : left + 32].copy()).long(),
            )
            for left in (0, 24)
        ]
    assert validate(segmenter, source, criterion, 1)[1] == pytest.approx(float(sum(parts)) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("keep_ratio: true, crop: true", "crop keeps the ratio by itself; leave keep_ratio out"),
        ("crop: {scale: 0}", "data.crop.scale: input should be greater than 0"),
        ("crop: {scales: 1}", "did you mean"),
        ("crop: {overlap: 0.9}", "data.crop.overlap: input should be less than or equal to 0.75"),
    ],
)
def test_windows_that_cannot_be(tmp_path: Path, lines: str, said: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        f"data: {{root: d, image_size: [32, 32], {lines}}}\nmodel: UNet\nloss: ce\ntrain: {{iterations: 1}}\n"
    )
    with pytest.raises(ConfigError, match=said):
        load_config(file)


def test_progressive_and_windows_exclude_each_other(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    text = "data: {root: d, image_size: [32, 32], crop: %s}\nmodel: UNet\nloss: ce\ntrain: {iterations: 1, progressive: {}}\n"
    file.write_text(text % "true")
    with pytest.raises(ConfigError, match="train.progressive makes small what data.crop keeps large"):
        load_config(file)
    file.write_text(text % "false")
    assert load_config(file).data.crop is None
    file.write_text(text.replace(", progressive: {}", "") % "true")
    found = load_config(file).data.crop
    assert found and found.model_dump() == CROP
    assert RunConfig.model_validate(load_config(file).to_dict()).data.crop == found
