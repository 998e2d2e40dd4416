"""Pixels in doubt count as often as they are trusted, by draws that follow from (seed, epoch, sample) alone."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from helpers import encoded, fingerprint, palette_image, write
from maskwright.base.storage import dump_json
from maskwright.config import RunConfig, TrustConfig, load_config, rebase
from maskwright.core.classes import IGNORE
from maskwright.core.geometry import Geometry
from maskwright.core.mask_files import read_grey
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, Interrupted
from maskwright.modeling.augment import Pipeline
from maskwright.modeling.losses.cross_entropy import CrossEntropy
from maskwright.reporting import preview as previewing
from maskwright.run import Run
from maskwright.training import trust as module
from maskwright.training.distributed.agreement import agreed
from maskwright.training.distributed.processes import ALONE
from maskwright.training.loader import Batches, DecodedSamples, stream
from maskwright.training.plan import plan
from maskwright.training.prepare import prepare, training_splits
from maskwright.training.train import resume, train
from maskwright.training.trust import Trust
from tiny import EVERY_AUGMENTATION, config, write_dataset

SIZE = (32, 32)
LEVELS = np.array([0, 1, 51, 127, 128, 254, 255], np.uint8)


def write_maps(folder: Path, data: Path, split: str = "train", levels: Any = None, seed: int = 4) -> Path:
    """Maps of a quarter of the size of the images: everywhere `levels`, or as drawn from the seed."""
    rng = np.random.default_rng(seed)
    for sample in load_dataset(data).splits[split]:
        pixels = rng.choice(LEVELS, (8, 8)) if levels is None else np.full((8, 8), levels, np.uint8)
        write(folder / f"{sample.name}.png", pixels)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("trust") / "data", {"train": 6, "val": 2})


@pytest.fixture(scope="module")
def maps(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_maps(tmp_path_factory.mktemp("trust") / "maps", data)


def trusted(data: Path, folder: Path, geometry: Geometry | None = None, **more: Any) -> Trust:
    dataset = load_dataset(data)
    return Trust(
        folder, dataset, dataset.splits["train"], geometry or Geometry(SIZE), **{"seed": 3, "room": 1 << 20} | more
    )


def settings(data: Path, trust: Any, **sections: Any) -> RunConfig:
    return config(data, **{"data": {"root": str(data), "image_size": list(SIZE), "trust": trust}} | sections)


def levels_of(folder: Path, name: str) -> np.ndarray:
    """The map of a sample at `SIZE`."""
    return np.kron(read_grey(folder / f"{name}.png"), np.ones((4, 4), np.uint8))


def stopped(chosen: RunConfig, out: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that was stopped in its sixth step."""
    make = Batches.__getitem__
    with monkeypatch.context() as patch:
        patch.setattr(
            Batches,
            "__getitem__",
            lambda self, step: (step == 5 and signal.raise_signal(signal.SIGINT), make(self, step))[1],
        )
        with pytest.raises(Interrupted):
            train(chosen, out=out)
    return Run(out)


def artifacts(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run.best, run.last, run.metrics.path)}


class TestDraws:
    def test_a_pixel_counts_in_the_share_of_the_epochs_by_which_it_is_trusted(self, data: Path, tmp_path: Path) -> None:
        levels = np.repeat(LEVELS, 8)[None].repeat(8, 0)  # 64 pixels of each
        dataset = load_dataset(data)
        for sample in dataset.splits["train"]:
            write(tmp_path / f"{sample.name}.png", levels)
        found = trusted(data, tmp_path, Geometry(levels.shape))
        plain, epochs = np.zeros(levels.shape, np.uint8), 400
        counted = sum((found.mask(plain, epoch, 1) == 0).astype(int) for epoch in range(epochs))
        for level in LEVELS.tolist():
            draws, share = 64 * epochs, level / 255
            spread = 5 * np.sqrt(draws * share * (1 - share))
            assert abs(counted[levels == level].sum() - draws * share) <= spread, level

    def test_draws_of_pixels_epochs_samples_and_seeds_are_their_own(self, data: Path, tmp_path: Path) -> None:
        folder = write_maps(tmp_path, data, levels=128)
        plain = np.zeros(SIZE, np.uint8)
        drawn = np.stack(
            [
                trusted(data, folder, seed=seed).mask(plain, epoch, index) == IGNORE
                for seed in (3, 4)
                for epoch in (0, 1)
                for index in (0, 1)
            ]
        )
        between = np.corrcoef(drawn.reshape(8, -1)) - np.eye(8)
        assert np.abs(between).max() < 0.15  # 1024 pixels: a spread of 0.03
        assert abs(np.corrcoef(drawn[0, :, 1:].ravel(), drawn[0, :, :-1].ravel())[0, 1]) < 0.15

    def test_a_draw_depends_on_nothing_that_was_drawn_before(self, data: Path, maps: Path) -> None:
        one, other = trusted(data, maps), trusted(data, maps, room=0)
        plain = np.zeros(SIZE, np.uint8)
        for epoch in (4, 0, 2):
            one.mask(plain, epoch, 1)
        np.testing.assert_array_equal(one.mask(plain, 1, 5), other.mask(plain, 1, 5))
        assert one.version == other.version and not plain.any()

    def test_the_gradient_is_on_average_that_of_weighted_pixels(self, data: Path, maps: Path) -> None:
        """Of a linear model of four features with cross entropy, which divides by the pixels that count."""
        dataset, index, epochs = load_dataset(data), 2, 300
        mask = DecodedSamples(dataset, dataset.splits["train"], Geometry(SIZE))[index][1]
        found = trusted(data, maps)
        rng = torch.Generator().manual_seed(5)
        features = torch.randn(1, 4, *SIZE, generator=rng, dtype=torch.float64)
        features[:, 0] += torch.from_numpy(mask)  # so that there is something to learn
        matrix = torch.randn(2, 4, 1, 1, generator=rng, dtype=torch.float64, requires_grad=True)
        logits, truth = functional.conv2d(features, matrix), torch.from_numpy(mask)[None].long()
        losses = functional.cross_entropy(logits, truth, reduction="none")
        weights = torch.from_numpy(found._map(index) / 255)

        def gradient(loss: torch.Tensor) -> torch.Tensor:
            return torch.autograd.grad(loss, matrix, retain_graph=True)[0]

        seen = torch.stack(
            [
                gradient(CrossEntropy()(logits, torch.from_numpy(found.mask(mask, epoch, index))[None].long()))
                for epoch in range(epochs)
            ]
        )
        error = 5 * seen.std(0) / epochs**0.5
        assert ((seen.mean(0) - gradient((losses * weights).sum() / weights.sum())).abs() <= error).all()
        assert ((seen.mean(0) - gradient(losses.mean())).abs() > error).any()


class TestMasks:
    @pytest.mark.parametrize(
        ("least", "kept"),
        [(0.2, [51, 127, 128, 254, 255]), (0.5, [128, 254, 255]), (1.0, [255]), (1 / 255, [1, 51, 127, 128, 254, 255])],
    )
    def test_mode_ignore_is_exact(self, data: Path, maps: Path, least: float, kept: list[int]) -> None:
        dataset = load_dataset(data)
        source = DecodedSamples(dataset, dataset.splits["train"], Geometry(SIZE))
        found = trusted(data, maps, least=least)
        for index in range(6):
            levels, mask = levels_of(maps, source.samples[index].name), source[index][1]
            for epoch in (0, 7):
                seen = found.mask(mask, epoch, index)
                assert seen.dtype == np.uint8
                np.testing.assert_array_equal(seen, np.where(np.isin(levels, kept), mask, IGNORE))
            assert not (mask == IGNORE).any()

    def test_a_map_lies_where_the_image_lies(self, tmp_path: Path) -> None:
        """An image of 20x40 in 32x32 has 16 rows and padding; its map has other proportions."""
        data = write_dataset(tmp_path / "data", {"train": 1, "val": 1}, size=(20, 40))
        write(tmp_path / "maps/train/train_00.png", np.array([[255, 0]], np.uint8))
        geometry, dataset = Geometry(SIZE, keep_ratio=True), load_dataset(data)
        mask = DecodedSamples(dataset, dataset.splits["train"], geometry)[0][1]
        for least in (0.5, None):
            seen = trusted(data, tmp_path / "maps", geometry, least=least).mask(mask, 0, 0)
            np.testing.assert_array_equal(seen[:16, :16], mask[:16, :16])
            assert (seen[16:] == IGNORE).all() and (seen[:, 16:] == IGNORE).all() and (seen[:16, :16] != IGNORE).all()

    def test_ignored_pixels_stay_ignored(self, data: Path, tmp_path: Path) -> None:
        found = trusted(data, write_maps(tmp_path, data, levels=255))
        mask = np.random.default_rng(0).choice(np.array([0, 1, IGNORE], np.uint8), SIZE)
        np.testing.assert_array_equal(found.mask(mask, 0, 0), mask)

    @pytest.mark.parametrize("room", [0, 2, 99])
    def test_memory_is_capped(self, data: Path, maps: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        read: list[Path] = []
        monkeypatch.setattr(module, "read_grey", lambda path: (read.append(path), read_grey(path))[1])
        found = trusted(data, maps, room=room * SIZE[0] * SIZE[1])
        for index in range(6):
            found.mask(np.zeros(SIZE, np.uint8), 0, index)
        assert len(read) == 12 - min(room, 6)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # Python 3.12 and later
@pytest.mark.parametrize("workers", [1, 2])
def test_loader_processes_change_nothing(data: Path, maps: Path, workers: int) -> None:
    dataset = load_dataset(data)
    source = DecodedSamples(dataset, dataset.splits["train"], Geometry(SIZE))
    batches = Batches(source, Pipeline([]), 4, 3, trust=trusted(data, maps))
    found = list(stream(batches, 0, 5, workers))
    assert all(torch.equal(a, b) for step, batch in enumerate(found) for a, b in zip(batch, batches[step], strict=True))
    assert 0.2 < np.mean([(targets == IGNORE).double().mean() for _, targets in found]) < 0.8
    assert not any((source[index][1] == IGNORE).any() for index in range(6))


class TestTraining:
    def test_full_trust_changes_nothing(self, data: Path, tmp_path: Path) -> None:
        plain = train(config(data), out=tmp_path / "plain")
        full, half = (
            train(
                settings(data, str(write_maps(tmp_path / f"{level}", data, levels=level))), out=tmp_path / f"run{level}"
            )
            for level in (255, 128)
        )
        assert artifacts(full) == artifacts(plain) != artifacts(half)
        assert "trust" not in plain.info() and len(half.info()["trust"]) == 32
        assert half.info()["trust"] != full.info()["trust"]

    def test_class_weights_and_validation_are_of_the_labels_as_stored(self, data: Path, maps: Path) -> None:
        dataset = load_dataset(data)
        loss = [{"name": "ce", "class_weights": "inverse_frequency"}]
        with torch.random.fork_rng():
            plain, doubted = (
                prepare(chosen, dataset, training_splits(dataset, 0.2, 0), None, "cpu", ALONE)
                for chosen in (
                    config(data, loss=loss),
                    settings(data, {"folder": str(maps), "mode": "ignore"}, loss=loss),
                )
            )
        assert torch.equal(*(one.criterion.losses[0].class_weights for one in (plain, doubted)))
        for index in range(2):
            np.testing.assert_array_equal(doubted.validation[index][1], plain.validation[index][1])
        assert not (plain.batches[0][1] == IGNORE).any() and (doubted.batches[0][1] == IGNORE).any()

    @pytest.mark.parametrize("trust", [{}, {"mode": "ignore", "least": 0.3}])
    def test_a_stopped_run_goes_on_exactly(
        self, data: Path, maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trust: dict[str, Any]
    ) -> None:
        chosen = settings(data, {"folder": str(maps), **trust}, augment=EVERY_AUGMENTATION)
        whole = train(chosen, out=tmp_path / "whole")
        before = fingerprint(maps)
        run = stopped(chosen, tmp_path / "run", monkeypatch)
        assert artifacts(resume(run)) == artifacts(whole)
        assert artifacts(train(run.path / "config.yaml", out=tmp_path / "again")) == artifacts(whole)
        assert fingerprint(maps) == before

    @pytest.mark.parametrize("change", ["map", "gone", "unused"])
    def test_changed_maps_are_refused(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
    ) -> None:
        folder = write_maps(tmp_path / "maps", data)
        run = stopped(settings(data, str(folder)), tmp_path / "run", monkeypatch)
        if change == "unused":
            write(folder / "val/val_00.png", np.zeros((3, 3), np.uint8))
            assert resume(run).finished
            return
        before = fingerprint(run.path)
        file = folder / "train/train_03.png"
        file.unlink() if change == "gone" else write(file, np.full((8, 8), 9, np.uint8))
        says = (
            "has no map for 1 of 6" if change == "gone" else r"maps: has changed since .*; restore it, or train a new"
        )
        with pytest.raises(DataError, match=says):
            resume(run)
        assert fingerprint(run.path) == before

    def test_the_preview_shows_it(
        self, data: Path, maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shown: dict[str, list[np.ndarray]] = {}
        block = previewing.sample_block
        monkeypatch.setattr(
            previewing,
            "sample_block",
            lambda name, pairs, *drawn: (shown.update({name: [mask for _, mask in pairs]}), block(name, pairs, *drawn))[
                1
            ],
        )
        found = previewing.preview(settings(data, {"folder": str(maps), "mode": "ignore"}), out=tmp_path / "p")
        for name in found.samples:
            stored, *epochs = shown[name]
            assert not (stored == IGNORE).any()
            assert all(((seen == IGNORE) == (levels_of(maps, name) < 128)).all() for seen in epochs)


class TestErrors:
    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (
                encoded(np.zeros((8, 8), np.uint16), "PNG"),
                "PNG with pixels of kind I;16 where a PNG of 8-bit grey is expected",
            ),
            (encoded(np.zeros((8, 8, 3), np.uint8), "PNG"), "PNG with pixels of kind RGB"),
            (encoded(palette_image(np.zeros((8, 8), np.uint8), np.zeros((2, 3), np.uint8)), "PNG"), "of kind P "),
            (
                encoded(palette_image(np.zeros((8, 8), np.uint8), np.zeros((2, 3), np.uint8)).convert("1"), "PNG"),
                "kind 1 ",
            ),
            (encoded(np.zeros((8, 8), np.uint8), "JPEG"), "JPEG with pixels of kind L"),
            (encoded(np.arange(64, dtype=np.uint8).reshape(8, 8), "PNG")[:50], "cannot be decoded"),
            (b"none", "not a readable image"),
        ],
        ids=["16 bits", "colours", "palette", "1 bit", "jpeg", "cut off", "text"],
    )
    def test_a_file_that_is_no_map(self, data: Path, tmp_path: Path, content: bytes, says: str) -> None:
        file = write_maps(tmp_path / "maps", data) / "train/train_04.png"
        file.write_bytes(content)
        with pytest.raises(DataError, match=f"^{file}: ") as caught:
            train(settings(data, str(tmp_path / "maps")), out=tmp_path / "run")
        assert says in str(caught.value) and not (tmp_path / "run").exists()

    def test_missing_maps(self, data: Path, tmp_path: Path) -> None:
        folder = write_maps(tmp_path / "maps", data)
        for number in (2, 4):
            (folder / f"train/train_0{number}.png").unlink()
        for root, count in ((folder, 2), (tmp_path / "no", 6)):
            with pytest.raises(
                DataError, match=f"^{root}: has no map for {count} of 6 training samples, such as train/.*; let"
            ):
                train(settings(data, str(root)), out=tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_maps_lie_in_their_folder(self, data: Path, tmp_path: Path) -> None:
        folder = write_maps(tmp_path / "maps", data)
        file = folder / "train/train_01.png"
        file.rename(tmp_path / "outside.png").chmod(0o644)
        file.symlink_to(tmp_path / "outside.png")
        with pytest.raises(DataError, match="leads outside through a symbolic link"):
            trusted(data, folder)

    @pytest.mark.parametrize(
        ("level", "trust", "fix"),
        [(127, {"mode": "ignore"}, r"lower data.trust.least \(0.5\)"), (0, {}, "leave data.trust out")],
    )
    def test_nothing_to_learn_from(
        self, data: Path, tmp_path: Path, level: int, trust: dict[str, Any], fix: str
    ) -> None:
        folder = write_maps(tmp_path / "maps", data, levels=level)
        with pytest.raises(DataError, match=f"^{folder}: no training pixel that has a class is trusted .*; {fix}"):
            train(settings(data, {"folder": str(folder), **trust}), out=tmp_path / "run")
        write(folder / "train/train_05.png", np.array([[0, 0], [0, 128]], np.uint8))
        assert trusted(data, folder).require_pixels(lambda _: np.zeros(SIZE, np.uint8)) is None

    def test_processes_agree(self, tmp_path: Path) -> None:
        processes: Any = SimpleNamespace(share=lambda _: "first", together=ALONE.together)
        with pytest.raises(DataError, match=f"^{tmp_path}: is not the same on .* as for the first process"):
            agreed(tmp_path, "mine", processes)
        assert agreed(tmp_path, "first", processes) == "first"


class TestConfig:
    def test_forms(self, tmp_path: Path) -> None:
        short, long = (settings(tmp_path, trust).data.trust for trust in ("maps", {"folder": "maps", "mode": "weight"}))
        assert short == long == TrustConfig(folder="maps") and short and short.least is None
        ignoring = settings(tmp_path, {"folder": "maps", "mode": "ignore"})
        assert ignoring.data.trust and ignoring.data.trust.least == 0.5
        for whole in (ignoring, settings(tmp_path, "maps"), config(tmp_path)):
            assert RunConfig.model_validate(whole.to_dict()) == whole

    def test_paths_start_from_the_config(self, tmp_path: Path) -> None:
        based = rebase(settings(Path("data"), {"folder": "out/trust", "mode": "ignore", "least": 0.7}), tmp_path)
        assert based.data.trust == TrustConfig(folder=str(tmp_path / "out/trust"), mode="ignore", least=0.7)
        assert rebase(based, tmp_path / "other") == based

    @pytest.mark.parametrize(
        ("trust", "says"),
        [
            ("{folder: m, least: 0.5}", "data.trust: mode weight has no least; remove it, or set mode to ignore"),
            ("{folder: m, mode: ignore, least: 0}", "data.trust.least: input should be greater than 0 (given 0)"),
            ("{folder: m, mode: ignored}", "data.trust.mode: 'ignored' is not known; did you mean 'ignore'?"),
            ("{mode: ignore}", "data.trust.folder: is missing; add it"),
            ("3", "data.trust: input should be a valid dict"),
            ("{folder: m, last: 1}", "data.trust.last: no such key; did you mean 'least'?"),
        ],
    )
    def test_mistakes(self, data: Path, tmp_path: Path, trust: str, says: str) -> None:
        (tmp_path / "run.yaml").write_text(dump_json(config(data).to_dict()))
        with pytest.raises(ConfigError) as caught:
            load_config(tmp_path / "run.yaml", [f"data.trust={trust}"])
        assert len(caught.value.problems) == 1 and f": {says}" in caught.value.problems[0]

    def test_it_can_be_set_in_a_plan_and_in_a_training(self, data: Path, maps: Path, tmp_path: Path) -> None:
        planned = plan(
            data, out=tmp_path / "run.yaml", model="UNet", overrides=["data.trust=maps", "data.image_size=[32, 32]"]
        )
        assert planned.config.data.trust == TrustConfig(folder=str(tmp_path / "maps"))
        changes = [f"data.trust={{folder: {maps}, mode: ignore}}", "train={iterations: 2}", "loss=ce"]
        run = train(tmp_path / "run.yaml", out=tmp_path / "run", overrides=changes)
        assert run.config().data.trust == TrustConfig(folder=str(maps), mode="ignore", least=0.5)
