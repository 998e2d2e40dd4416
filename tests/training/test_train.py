"""Training: what is learnt, what is logged, what is kept, and what is refused before anything is written."""

import math
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from helpers import write
from maskwright.config import RunConfig
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, SetupError
from maskwright.evaluation.scoring.evaluate import evaluate
from maskwright.modeling.models.segmenter import load_segmenter, read_tensors
from maskwright.run import Run
from maskwright.training import loop, measuring, prepare
from maskwright.training import train as training
from maskwright.training.loader import DecodedSamples
from maskwright.training.precision import StepChoice
from maskwright.training.train import train
from maskwright.training.validation import validate
from tiny import EVERY_AUGMENTATION, config, write_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("train") / "data", {"train": 6, "val": 3, "test": 1}, ids=(0, 7, 200))


@pytest.fixture
def own_data(data, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(data, tmp_path / "data")


@pytest.fixture(scope="module")
def easy(tmp_path_factory):
    """A run that solves its task: classes of different colours."""
    folder = tmp_path_factory.mktemp("easy")
    root = write_dataset(folder / "data", {"train": 12, "val": 5}, ids=(0, 1, 2))
    settings = config(
        root,
        train={"iterations": 95, "evaluate_every": 10, "batch_size": 6, "ema": 0.8},
        model={"channels": [8], "bottleneck": 8},
        optimizer={"lr": 0.03, "head_lr_mult": 4},
        schedule={"name": "poly", "power": 0.8, "warmup": 7},
    )
    return train(settings, out=folder / "run")


def records(run, key):
    return [record for record in run.metrics.read() if key in record]


def nothing_written(out):
    return not out.exists() and not list(out.parent.glob(f"*{out.name}*"))


def test_an_easy_task_is_learnt(easy):
    losses = [record["loss"] for record in records(easy, "loss")]
    assert losses[-1] < 0.5 * losses[0]
    assert easy.finished["best_val_mIoU"] > 0.8
    assert not easy.finished["early_stopped"]


def test_every_evaluation_is_logged_with_all_scores(easy):
    evaluations = records(easy, "val_mIoU")
    assert [record["iteration"] for record in evaluations] == [*range(10, 95, 10), 95]
    for record in evaluations:
        assert {"val_loss", "val_aAcc", "val_mAcc", "val_mIoU", "val_mDice", "val_iou", "best"} <= set(record)
        assert record["val_mIoU"] == pytest.approx(np.nanmean(np.array(record["val_iou"], float)), abs=1e-12)
        assert (easy.path / "samples" / f"{record['iteration']:06d}.png").is_file()


def test_the_best_is_the_best(easy):
    best = 0.0
    for record in records(easy, "val_mIoU"):
        assert record["best"] == (record["val_mIoU"] > best)
        best = max(best, record["val_mIoU"])
    chosen = max(records(easy, "val_mIoU"), key=lambda record: record["val_mIoU"])
    assert easy.finished["best_val_mIoU"] == chosen["val_mIoU"]
    assert easy.finished["best_iteration"] == chosen["iteration"]


def test_the_saved_best_gives_the_logged_scores_again(easy):
    """Exactly: the very weights, preprocessing and sizes are in the file."""
    logged = max(records(easy, "val_mIoU"), key=lambda record: record["val_mIoU"])
    found = evaluate(easy, split="val").scores
    for name in ("aAcc", "mAcc", "mIoU", "mDice"):
        assert getattr(found, name) == logged[f"val_{name}"], name
    assert [row.iou for row in found.classes] == logged["val_iou"]


def test_the_learning_rate_in_the_log_follows_poly(easy):
    for record in records(easy, "lr"):
        step = record["iteration"] - 1
        assert record["lr"] == pytest.approx(0.03 * (1 - step / 95) ** 0.8 * min(1, (step + 1) / 8), rel=1e-12)


def test_epochs_in_the_log_count_images(easy):
    for record in records(easy, "epoch"):
        assert record["epoch"] == pytest.approx(record["iteration"] * 6 / 12, abs=1e-3)


def test_the_best_model_is_the_average_of_the_weights(data, tmp_path):
    """One iteration: the average lies a tenth of the way from the new weights to the first ones."""
    first = {}

    def keep_first(run, *arguments):
        first.update(read_tensors(run.last)[1])
        return loop.fit(run, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "fit", keep_first)
        run = train(config(data, train={"iterations": 1, "ema": 0.99}), out=tmp_path / "run")
    best, last = read_tensors(run.best)[1], read_tensors(run.last)[1]
    assert any(not torch.equal(last[f"model/{key}"], first[f"model/{key}"]) for key in best)
    for key, value in best.items():
        assert torch.equal(value, last[f"average/{key}"])
        if value.is_floating_point():
            expected = 0.1 * first[f"model/{key}"].double() + 0.9 * last[f"model/{key}"].double()
            torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-7, msg=key)


def test_without_an_average_the_best_model_has_the_weights_themselves(data, tmp_path):
    run = train(config(data, train={"iterations": 2, "ema": None}), out=tmp_path / "run")
    last = read_tensors(run.last)[1]
    assert all(torch.equal(value, last[f"model/{key}"]) for key, value in read_tensors(run.best)[1].items())
    assert not any(key.startswith("average/") for key in last)


def test_early_stopping_waits_for_so_many_evaluations_without_a_better_one(data, tmp_path):
    settings = config(
        data, train={"iterations": 40, "evaluate_every": 2, "early_stopping": 3, "ema": None}, optimizer={"lr": 1e-12}
    )
    run = train(settings, out=tmp_path / "run")
    flags = [record["best"] for record in records(run, "best")]
    assert flags[-3:] == [False] * 3 and flags[-4]
    assert run.finished["early_stopped"]
    assert run.finished["iterations"] == 2 * len(flags) < 40
    assert run.finished["best_iteration"] == 2 * (len(flags) - 3)


@pytest.mark.parametrize(("epochs", "iterations"), [(1, 2), (2.5, 4), (4, 6), (0.01, 1)])
def test_epochs_become_iterations(data, tmp_path, epochs, iterations):
    run = train(config(data, train={"iterations": None, "epochs": epochs}), out=tmp_path / "run")  # 6 images by 4
    resolved = run.config().train
    assert (resolved.iterations, resolved.epochs) == (iterations, None)
    assert run.finished["iterations"] == iterations


def test_evaluations_are_an_eighth_of_the_run_apart_when_nothing_is_said(data, tmp_path):
    run = train(config(data, train={"iterations": 20, "evaluate_every": None}), out=tmp_path / "run")
    assert run.config().train.evaluate_every == 3
    assert [record["iteration"] for record in records(run, "val_mIoU")] == [3, 6, 9, 12, 15, 18, 20]


@pytest.mark.parametrize(("every", "most"), [(None, 100), (1, 66)])
def test_a_budget_becomes_iterations_by_the_measured_speed(data, tmp_path, monkeypatch, every, most):
    """A step of one second, and an evaluation of half a second, in a budget of two minutes less the margin. The
    machine's own time comes on top, so the bounds are wide."""
    clock = training.time.monotonic
    told = 0.0

    def slow_validate(*_):
        nonlocal told
        told += 0.5

    monkeypatch.setattr(measuring, "choose", lambda *_: StepChoice("float32", 1.0, "told", {"float32": 1.0}))
    monkeypatch.setattr(measuring, "validate", slow_validate)
    monkeypatch.setattr(training.time, "monotonic", lambda: clock() + told)

    def trained(run, *_):
        run.best.parent.mkdir(parents=True, exist_ok=True)
        run.best.write_bytes(b"a model")
        facts = {"iterations": 1, "seconds": 1.0, "images_per_second": 1.0}
        return facts | {"best_val_mIoU": 0.0, "best_iteration": 1, "early_stopped": False}

    monkeypatch.setattr(training, "fit", trained)
    settings = config(data, train={"iterations": None, "budget": "2m", "evaluate_every": every})
    resolved = train(settings, out=tmp_path / "run").config().train
    left = 120 * 0.98 - 0.5
    expected = left / 1.5 if every else left - 8 * 0.5
    assert 0.5 * expected < resolved.iterations <= expected
    assert resolved.budget is None


def test_a_budget_that_is_too_short_is_refused(data, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match=r"train\.budget: 0\.001s is too short: a step takes .* give more time"):
        train(config(data, train={"iterations": None, "budget": "0.001s"}), out=out)
    assert nothing_written(out)


@pytest.mark.slow
@pytest.mark.parametrize("every", [None, 5])
def test_a_run_ends_within_its_budget(data, tmp_path, every):
    settings = config(
        data, train={"iterations": None, "budget": "15s", "evaluate_every": every}, augment=EVERY_AUGMENTATION
    )
    train(settings, out=tmp_path / "warm")  # imports on first use are not part of it
    start = training.time.monotonic()
    run = train(settings, out=tmp_path / "run")
    seconds = training.time.monotonic() - start
    print(f"{run.finished['iterations']} iterations in {seconds:.1f} s of 15 s")
    assert seconds < 2 * 15
    assert run.finished["iterations"] > 20


def test_a_rate_that_is_far_too_high_ends_with_a_good_state(data, tmp_path):
    with pytest.raises(DataError) as caught:
        train(
            config(
                data,
                train={"iterations": 20, "evaluate_every": 1},
                optimizer={"lr": 1e30},
                schedule={"name": "poly", "warmup": 0},
            ),
            out=tmp_path / "run",
        )
    run = Run(tmp_path / "run")
    assert re.search(
        r"loss is not finite at iteration \d+; its images: train/train_0\d, .*; lower optimizer.lr", str(caught.value)
    )
    header, tensors = read_tensors(run.last)
    assert header["step"] < 20
    assert all(value.abs().max() < 1e3 for value in tensors.values() if value.is_floating_point())


@pytest.mark.parametrize("pause", [0.0, 1e9])
def test_a_loss_that_is_not_finite_names_its_images(data, tmp_path, monkeypatch, pause):
    """The weights become infinite in iteration 8; the state of the last evaluation (or of iteration 7) is kept."""
    step_of, seen = loop.train_step, []

    def spoilt(segmenter, *arguments):
        step = step_of(segmenter, *arguments)

        def counted(images, targets):
            if len(seen) == 7:
                with torch.no_grad():
                    segmenter.model.head.weight.fill_(torch.inf)
            seen.append(images)
            return step(images, targets)

        return counted

    settings_of, batches = training.FitSettings, []
    monkeypatch.setattr(training, "FitSettings", lambda *arguments: settings_of(*arguments, state_every_seconds=pause))
    monkeypatch.setattr(loop, "train_step", spoilt)
    monkeypatch.setattr(
        training, "prepare", lambda *arguments: batches.append(prepare.prepare(*arguments)) or batches[0]
    )
    with pytest.raises(DataError) as caught:
        train(config(data), out=tmp_path / "run")
    names = batches[0].batches.names(7)
    assert len(names) == 4
    assert f"not finite at iteration 8; its images: {', '.join(names)}; lower optimizer.lr" in str(caught.value)
    header, tensors = read_tensors(Run(tmp_path / "run").last)
    assert header["step"] == (5 if pause else 7)
    assert all(torch.isfinite(value).all() for value in tensors.values())
    assert load_segmenter(Run(tmp_path / "run").best).spec.name == "UNet"


def test_class_weights_come_from_the_training_pixels(data, tmp_path, monkeypatch):
    built = []
    build = prepare.build_loss
    monkeypatch.setattr(prepare, "build_loss", lambda *arguments: built.append(build(*arguments)) or built[0])
    train(
        config(
            data,
            train={"iterations": 1},
            loss=[
                {"name": "ce", "class_weights": "inverse_frequency"},
                "dice",
                {"name": "focal", "class_weights": "median_frequency"},
            ],
        ),
        out=tmp_path / "run",
    )
    masks = np.stack([np.asarray(Image.open(path)) for path in sorted((data / "masks/train").iterdir())])
    here = np.array([(masks == id_).sum((1, 2)) for id_ in (0, 7, 200)])
    inverse = 1 / here.sum(1)
    share = here.sum(1) / np.where(here > 0, here.sum(0), 0).sum(1)
    weighted, plain, by_median = built[0].losses
    np.testing.assert_allclose(weighted.class_weights.numpy(), inverse / inverse.mean(), rtol=1e-6)
    assert plain.class_weights is None
    np.testing.assert_allclose(by_median.class_weights.numpy(), np.median(share) / share, rtol=1e-6)


def test_the_size_of_the_model_is_in_the_run_and_in_its_scores(data, tmp_path, capsys):
    run = train(config(data, train={"iterations": 1}), out=tmp_path / "run")
    size, model = run.info()["size"], load_segmenter(run.best).model
    assert size["parameters"] == sum(p.numel() for p in model.parameters())
    # Blocks of two 3 x 3 layers with 4 channels, at 32 x 32 and 16 x 16; a transposed layer; a head of 3 classes.
    macs = 1024 * 4 * 9 * (3 + 4) + 256 * 4 * 9 * (4 + 4) + 256 * 4 * 4 * 4 + 1024 * 4 * 9 * (8 + 4) + 1024 * 4 * 3
    assert size["macs"] == macs and size["image_size"] == [32, 32]
    # The typical step, beside the fastest.
    assert size["batch_size"] == 4 and size["step_seconds"] >= run.info()["precision"]["step_seconds"]["float32"] > 0
    # At least what each of the 8 convolutions takes in, in float32: 3, 4, 8 (two joined), 4 and 4 channels of full
    # size, and 4, 4 and 4 of half of it.
    assert size["kept_bytes"] > 4 * 4 * (1024 * (3 + 4 + 8 + 4 + 4) + 256 * (4 + 4 + 4))
    assert f"{size['parameters']:,} parameters" in capsys.readouterr().err
    assert evaluate(run, split="val").to_dict()["size"] == size


def test_a_dataset_of_one_class_is_refused(tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 2, "val": 1}, ids=(3,))
    with pytest.raises(DataError, match="has one class, 'class_3', and a model tells classes apart; give what lies "):
        train(config(root), out=tmp_path / "run")
    assert nothing_written(tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"name": "PSPNet", "encoder": "tu-mobilenetv3_small_050"}, "more than 1 value per channel"),
        ({"name": "UNet", "args": {"channels": [4] * 5, "bottleneck": 4, "norm": "instance"}}, "more than 1 spatial"),
        ({"name": "FPN", "encoder": "tu-swin_tiny_patch4_window7_224"}, "Input height .* doesn't match model .224"),
    ],
)
def test_a_model_that_cannot_make_a_step_is_a_config_error(data, tmp_path, settings, reason):
    wanted = RunConfig.model_validate(config(data, train={"batch_size": 1}).to_dict() | {"model": settings})
    with pytest.raises(ConfigError, match=f"cannot make a step with these images .*{reason}.*; change data.image_size"):
        train(wanted, out=tmp_path / "run")
    assert nothing_written(tmp_path / "run")


def test_images_without_a_counted_pixel_do_no_harm(own_data, tmp_path):
    for name in ("train/train_00", "val/val_01"):
        write(own_data / f"masks/{name}.png", np.full((32, 32), 255, np.uint8))
    run = train(config(own_data, train={"iterations": 12, "batch_size": 1}), out=tmp_path / "run")  # alone in its batch
    assert all(math.isfinite(record["loss"]) for record in records(run, "loss"))
    assert all(math.isfinite(record["val_loss"]) for record in records(run, "val_loss"))


def test_a_dataset_that_is_all_ignored_is_refused(own_data, tmp_path):
    for path in (own_data / "masks/train").iterdir():
        write(path, np.full((32, 32), 255, np.uint8))
    with pytest.raises(DataError, match="no training pixel has a class"):
        train(config(own_data), out=tmp_path / "run")
    assert nothing_written(tmp_path / "run")


def test_a_validation_without_a_counted_pixel_is_refused(own_data, tmp_path):
    for path in (own_data / "masks/val").iterdir():
        write(path, np.full((32, 32), 255, np.uint8))
    with pytest.raises(DataError, match=r"no validation pixel has a class .*; check the masks"):
        train(config(own_data), out=tmp_path / "run")
    assert nothing_written(tmp_path / "run")


def test_the_validation_loss_is_the_mean_over_counted_pixels_whatever_the_batch_size(own_data, easy):
    write(own_data / "masks/val/val_01.png", np.full((32, 32), 255, np.uint8))
    mask = np.array(Image.open(own_data / "masks/val/val_02.png"))
    mask[:20] = 255
    write(own_data / "masks/val/val_02.png", mask)
    dataset, segmenter = load_dataset(own_data), load_segmenter(easy.best)
    samples = DecodedSamples(dataset, dataset.splits["val"], segmenter.preprocessing.geometry)
    images, masks = zip(*(samples[i] for i in range(len(samples))), strict=True)
    logits = segmenter.logits(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)).detach()
    entropy = torch.nn.CrossEntropyLoss(ignore_index=255)
    wanted = float(entropy(logits, torch.from_numpy(np.stack(masks)).long()))
    for size in (1, 2, 3):
        assert validate(segmenter, samples, entropy, size)[1] == pytest.approx(wanted, rel=1e-5)


def test_a_flat_dataset_keeps_a_share_for_validation(tmp_path):
    root = write_dataset(tmp_path / "data", {"": 10})
    found = []
    for seed in (0, 0, 1):
        settings = config(root, train={"iterations": 1}, seed=seed)
        settings = settings.model_copy(update={"data": settings.data.model_copy(update={"holdout": 0.3})})
        found.append(train(settings, out=tmp_path / f"run{len(found)}").info()["splits"])
    for splits in found:
        assert len(splits["val"]) == 3
        assert sorted(splits["train"] + splits["val"]) == [f"image_{i:02d}" for i in range(10)]
    assert found[0] == found[1] != found[2]


def test_a_batch_may_be_larger_than_the_dataset(data, tmp_path):
    run = train(config(data, train={"iterations": 2, "batch_size": 15}), out=tmp_path / "run")
    assert run.finished["iterations"] == 2
    assert records(run, "epoch")[-1]["epoch"] == 5.0


def test_images_of_any_sizes_are_brought_to_one(own_data, tmp_path):
    rng = np.random.default_rng(0)
    for size, name in (((20, 50), "train/train_00"), ((1, 3), "train/train_01"), ((70, 33), "val/val_00")):
        write(own_data / f"images/{name}.png", rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        write(own_data / f"masks/{name}.png", np.full(size, 7, np.uint8))
    for keep_ratio in (False, True):
        settings = config(own_data, augment=EVERY_AUGMENTATION)
        settings = settings.model_copy(update={"data": settings.data.model_copy(update={"keep_ratio": keep_ratio})})
        run = train(settings, out=tmp_path / f"run{keep_ratio}")
        assert evaluate(run, split="val").scores.mIoU == run.finished["best_val_mIoU"]


def test_the_model_file_remembers_how_images_are_read(own_data, tmp_path):
    file = own_data / "dataset.yaml"
    file.write_text(file.read_text().replace("{folder: images}", "{folder: images, exif: ignore}"))
    run = train(config(own_data, train={"iterations": 1}), out=tmp_path / "run")
    stored = load_segmenter(run.best)
    assert stored.preprocessing.exif == "ignore"
    assert stored.preprocessing.mean == tuple(run.config().data.mean)
    assert stored.classes.ids == [0, 7, 200]


def test_a_run_is_put_beside_its_config_and_numbered(data, tmp_path, monkeypatch):
    (tmp_path / "run.yaml").write_text(
        f"data: {{root: {data}, image_size: [32, 32]}}\nmodel: {{name: UNet, args: {{channels: [4], bottleneck: 4}}}}\n"
        "loss: ce\ntrain: {iterations: 5, precision: float32}\n"
    )
    monkeypatch.chdir("/")
    first = train(tmp_path / "run.yaml", overrides=["train.iterations=1"])
    second = train(tmp_path / "run.yaml", overrides=["train.iterations=2"])
    assert [run.path for run in (first, second)] == [tmp_path / f"runs/data-unet-00{n}" for n in (1, 2)]
    assert [run.finished["iterations"] for run in (first, second)] == [1, 2]


def spoil_size(root):
    write(root / "masks/val/val_02.png", np.zeros((31, 32), np.uint8))
    return "val_02.png: is 32x31 but the image val_02.png is 32x32"


def spoil_ids(root):
    write(root / "masks/train/train_03.png", np.full((32, 32), 9, np.uint8))
    return r"train_03.png: unknown class ids: 9 \(1024 px\)"


def spoil_image(root):
    (root / "images/train/train_01.png").write_bytes(b"no image")
    return "train_01.png: not a readable image"


def spoil_splits(root):
    shutil.rmtree(root / "masks/train")
    return "0 training and 3 validation samples with a mask"


@pytest.mark.parametrize("spoil", [spoil_size, spoil_ids, spoil_image, spoil_splits])
def test_a_bad_dataset_is_refused_before_anything_is_written(own_data, tmp_path, spoil):
    message = spoil(own_data)
    with pytest.raises(DataError, match=message):
        train(config(own_data), out=tmp_path / "run")
    assert nothing_written(tmp_path / "run")


@pytest.mark.parametrize(
    ("weights", "kind", "message"),
    [
        ("gone.safetensors", SetupError, "no such file"),
        ("other.safetensors", SetupError, "these are not weights of resnet18"),
        ("weights.pth", ConfigError, "other formats can run code"),
        ("imagenet", SetupError, "are not on this machine"),
    ],
)
def test_missing_weights_are_refused_before_anything_is_written(data, tmp_path, monkeypatch, weights, kind, message):
    monkeypatch.setattr("maskwright.modeling.models.weights.cached", lambda _: None)
    save_file({"conv1.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    settings = config(data)
    path = weights if weights == "imagenet" else str(tmp_path / weights)
    model = settings.model.model_copy(update={"name": "Unet", "encoder": "resnet18", "args": {}, "weights": path})
    with pytest.raises(kind, match=message):
        train(settings.model_copy(update={"model": model}), out=tmp_path / "run")
    assert nothing_written(tmp_path / "run")


def test_wrong_class_weights_are_refused_before_anything_is_written(data, tmp_path):
    with pytest.raises(ConfigError, match=r"loss\.0\.class_weights: 2 weights given for 3 classes"):
        train(config(data, loss=[{"name": "ce", "class_weights": [1.0, 2.0]}]), out=tmp_path / "run")
    assert nothing_written(tmp_path / "run")


def test_an_existing_folder_is_never_overwritten(data, tmp_path):
    write(tmp_path / "run/mine.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(ConfigError, match="already exists"):
        train(config(data), out=tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.png"]


def test_overrides_go_with_a_file_only(data, tmp_path):
    with pytest.raises(ConfigError, match="overrides"):
        train(config(data), out=tmp_path / "run", overrides=["seed=1"])
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_trains_as_the_plain_one(data, tmp_path):
    plain, compiled = (
        train(config(data, train={"compile": mode, "ema": 0.9}), out=tmp_path / mode) for mode in ("none", "default")
    )
    for a, b in zip(plain.metrics.read(), compiled.metrics.read(), strict=True):
        for key in a.keys() & {"loss", "val_loss", "val_mIoU"}:
            assert b[key] == pytest.approx(a[key], rel=1e-3, abs=5e-3), key
    assert read_tensors(compiled.best)[1].keys() == read_tensors(plain.best)[1].keys()
    assert compiled.config().train.compile == "default"


def test_the_public_arguments_are_those_of_a_user():
    import inspect

    from maskwright import preview, resume

    arguments = inspect.signature(train).parameters
    assert [*arguments] == ["config", "out", "overrides", "device", "augmentation"]
    assert [*inspect.signature(resume).parameters] == ["run", "data", "overrides", "out", "device"]
    for verb in (train, preview):
        assert inspect.signature(verb).parameters["augmentation"].annotation == "augment.Compose | None"
