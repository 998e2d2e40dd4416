"""`plan`: every choice follows from the data, has a reason, and gives a config that loads."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from helpers import make_dataset, write
from maskwright.config import load_config
from maskwright.core.class_facts import ClassFacts
from maskwright.data.auditing.symmetry import Mirror
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, SetupError
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.modeling.models.size import measure
from maskwright.training.planning.crops import choose_crop
from maskwright.training.planning.fingerprint import Fingerprint, fingerprint, model_size
from maskwright.training.planning.text import CPU_PIXELS
from maskwright.training.planning.weights import choose_weights
from maskwright.verbs.plan import plan
from tiny import write_dataset


def some(height, width):
    return Fingerprint(10, 5, 2, height, width, np.array([0.9, 0.1]), (Mirror(True, ""), Mirror(True, "")), False)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((192, 256), (192, 256)),
        ((200, 200), (224, 224)),
        ((512, 370), (256, 192)),
        ((3000, 4000), (192, 256)),
        ((20, 30), (32, 32)),
        ((100, 4000), (32, 1440)),
    ],
)
def test_size_is_near_the_images_own_or_shrunk_with_their_ratio(size, expected):
    assert model_size(some(*size), CPU_PIXELS) == expected


def test_fingerprint_against_plain_counting(tmp_path):
    dataset = load_dataset(make_dataset(tmp_path, images=16))
    found = fingerprint(dataset)
    masks = [dataset.read_mask(sample) for sample in dataset.splits["train"]]
    counts = np.bincount(np.concatenate([mask.ravel() for mask in masks]), minlength=3)
    assert found.shares == pytest.approx(counts / counts.sum())
    assert (found.images, found.train, found.validation) == (16, 8, 4)
    assert (found.height, found.width) == (48, 64) and not found.grey


def test_a_class_in_few_of_many_images_is_not_missed(tmp_path):
    """Of 300 images one has it, which is not among 200 evenly spread ones."""
    for index in range(300):
        mask = np.zeros((32, 32), np.uint8)
        mask[:16] = 1
        mask[4:6, 4:6] = 2 if index == 2 else 1
        write(tmp_path / "images" / f"{index:03d}.png", mask * 100)
        write(tmp_path / "masks" / f"{index:03d}.png", mask)
    few = np.unique(np.linspace(0, 299, 200).astype(int))
    assert 2 not in few
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    found = fingerprint(load_dataset(tmp_path))
    assert found.read == 300 and found.classes[2].images == 1 and found.classes[2].width == 2


def rare_set(folder, share):
    for index in range(24):
        mask = np.zeros((64, 64), np.uint8)
        mask[32:] = 1
        mask[: round(64 * 64 * share / 2), 5 + index : 7 + index] = 2
        write(folder / "img" / ("val" if index > 19 else "train") / f"{index:02d}.png", mask * 90)
        write(folder / "labels" / ("val" if index > 19 else "train") / f"{index:02d}.png", mask)
    (folder / "classes.txt").write_text("sky\nroad\npole\nship\n")
    return folder


def test_rare_classes_are_weighed_and_said(tmp_path):
    planned = plan(rare_set(tmp_path / "data", 0.008), weights="none")
    weights = planned.config.loss[0].class_weights
    assert len(weights) == 4 and weights[2] == pytest.approx(max(weights)) and weights[3] == 1
    assert 5 < weights[2] / weights[1] <= 10
    assert planned.config.loss[1].class_weights == "none"
    assert "# 1 rare class, each less than 1 % of the pixels: 'pole' (0.8 %, in 20 of 20 images" in planned.text
    assert "'pole' is 2.0 px wide" in planned.text and "# Not in the training masks: 'ship'." in planned.text


def test_nothing_changes_where_no_class_is_rare(tmp_path):
    planned = plan(rare_set(tmp_path / "data", 0.03), weights="none")
    assert planned.config.loss[0].class_weights == "none" and "rare class" not in planned.text


def test_a_class_that_no_mask_has_is_no_reason_for_dice(tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 4}, ids=(0, 1))
    text = (root / "dataset.yaml").read_text().replace("ignore:", "  - {id: 9, name: nowhere}\nignore:")
    (root / "dataset.yaml").write_text(text)
    planned = plan(root, weights="none").text
    assert "'class_1' is only" in planned and "'nowhere' is only" not in planned
    assert "# Not in the training masks: 'nowhere'." in planned


def one_sided(folder, axis):
    for index in range(12):
        mask = np.zeros((32, 32), np.uint8)
        (mask if axis == 0 else mask.T)[:8] = 1
        write(folder / "images" / f"{index}.png", mask * 100)
        write(folder / "masks" / f"{index}.png", mask)
    return folder


@pytest.mark.parametrize(
    ("axis", "natural", "sides"), [(0, "HorizontalFlip", "top/bottom"), (1, "VerticalFlip", "left/right")]
)
def test_flips_follow_where_classes_lie(tmp_path, axis, natural, sides):
    data = one_sided(tmp_path / "data", axis)
    planned = plan(data, weights="none")
    text, config = planned.text, planned.config
    names = [term.name for term in config.augment]
    assert natural in names and len({"HorizontalFlip", "VerticalFlip"} & set(names)) == 1
    assert re.search(f"# no (Horizontal|Vertical)Flip: class positions are not {sides} symmetric: .*12 images", text)
    assert config.flip_average == (natural == "HorizontalFlip")
    assert "RGBShift" not in names and "grey" in text


@pytest.mark.parametrize("seed", [0, 1, 4, 5])
def test_a_flip_is_not_switched_off_because_forty_masks_happen_to_lie_asymmetrically(tmp_path, seed):
    rng = np.random.default_rng(seed)
    for index in range(40):
        mask = np.zeros((32, 32), np.uint8)
        row, column = rng.integers(0, 31, 2)
        mask[row : row + 2, column : column + 2] = 1
        write(tmp_path / "images" / f"{index:02d}.png", mask * 100)
        write(tmp_path / "masks" / f"{index:02d}.png", mask)
    dataset = load_dataset(tmp_path)
    profile = sum((dataset.read_mask(sample) == 1).sum(0) for sample in dataset.samples) / (40 * 4)
    assert np.abs(profile - profile[::-1]).sum() / 2 > 0.3  # which by its size alone would switch the flip off
    found = fingerprint(dataset)
    assert all(mirror.natural for mirror in found.mirrors)


def test_the_written_file_loads_to_the_returned_config(tmp_path):
    data = make_dataset(tmp_path / "data")
    planned = plan(
        data,
        out=tmp_path / "sub" / "run.yaml",
        budget="90s",
        weights="none",
        overrides=["train.batch_size=4", "data.mean=[0.5, 0.5, 0.5]"],
    )
    text, config = planned.text, planned.config
    assert load_config(tmp_path / "sub" / "run.yaml").to_dict() == config.to_dict()
    assert (tmp_path / "sub" / "run.yaml").read_text() == text
    assert config.train.budget == "90s" and config.train.batch_size == 4 and config.data.mean == [0.5, 0.5, 0.5]
    with pytest.raises(ConfigError, match="never overwritten"):
        plan(data, out=tmp_path / "sub" / "run.yaml", weights="none")


def test_a_dataset_that_is_open_can_be_given(tmp_path):
    data = make_dataset(tmp_path / "data", describe=True)
    planned = plan(load_dataset(data), out=tmp_path / "run.yaml", weights="none")
    assert planned.config == load_config(tmp_path / "run.yaml") and load_dataset(planned.config.data.root).home == data
    assert planned.text == plan(data, out=tmp_path / "again.yaml", weights="none").text
    assert str(planned) == f"written: {planned.file}; next: maskwright train {planned.file}"
    assert (
        "\n" not in repr(planned)
        and len(repr(planned)) < 300
        and str(plan(data, weights="none")).startswith("# Planned")
    )


def test_another_length_takes_the_place_of_the_planned_budget(tmp_path):
    data = make_dataset(tmp_path / "data")
    config = plan(data, out=tmp_path / "run.yaml", weights="none", overrides=["train.iterations=100"]).config
    assert (config.train.iterations, config.train.budget) == (100, None)
    assert load_config(tmp_path / "run.yaml").to_dict() == config.to_dict()
    assert load_config(tmp_path / "run.yaml", ["train.epochs=3.0"]).train.iterations is None


def test_every_value_has_its_place_in_the_config(tmp_path):
    config = plan(make_dataset(tmp_path / "data", layout="flat"), weights="none").config
    assert config.data.holdout == 0.1  # few images and no val split
    assert config.model.name == "UNet" and config.model.encoder is None
    config = plan(tmp_path / "data", weights="none", encoder="resnet18").config
    assert config.model.name == ("Unet" if torch.cuda.is_available() else "FPN") and config.model.weights == "none"
    assert [term.name for term in config.loss] == ["ce", "dice"]


def test_a_tree_keeps_the_flat_loss_and_is_told_of_levels(tmp_path):
    data = make_dataset(tmp_path / "data", describe=True)
    assert "levels" not in plan(data, weights="none").text
    file = data / "dataset.yaml"
    head, _, rest = file.read_text().partition("classes:")
    classes = "  - {id: 0, name: a}\n  - name: g\n    children: [{id: 1, name: b}, {id: 2, name: c}]\n"
    file.write_text(f"{head}classes:\n{classes}ignore{rest.partition('ignore')[2]}")
    planned = plan(data, weights="none")
    text, config = planned.text, planned.config
    assert "# the classes are a tree of 2 levels: `levels: equal`" in text
    assert all(term.levels is None for term in config.loss)


def test_the_size_of_the_model_is_stated(tmp_path):
    data = make_dataset(tmp_path / "data")
    state = torch.get_rng_state()
    planned = plan(data, weights="none", out=tmp_path / "run.yaml")
    text, config, size = planned.text, planned.config, planned.size
    assert torch.equal(torch.get_rng_state(), state)
    model = build_model(ModelSpec("UNet", 3, args=config.model.args))
    assert size == measure(model, config.data.image_size)
    assert size.parameters == sum(p.numel() for p in model.parameters()) and size.macs > 10**7
    assert f"# The model has {size}.\nmodel:\n" in text
    planned = plan(data, weights="none", overrides=["model.args={channels: [4], bottleneck: 4}"])
    text, smaller = planned.text, planned.size
    assert smaller.parameters < size.parameters and f"# The model has {smaller}.\nmodel: {{" in text
    with pytest.raises(ConfigError, match="SegNet cannot be built: decoder_channels"):
        plan(data, model="SegNet", overrides=["model.args={decoder_channels: [8]}"])


@pytest.mark.parametrize(
    ("model", "encoder", "expected"),
    [
        ("UNet", None, None),
        ("UNet2", None, None),
        ("SegNet", None, None),
        ("UNetFCN", None, None),
        ("AttentionUNet", None, "resnet34"),
        ("AttentionUNet", "resnet18", "resnet18"),
        ("Segformer", None, "mit_b0"),
        ("FPN", None, "tu-mobilenetv2_100"),
        ("DPT", None, "tu-vit_tiny_patch16_224"),
    ],
)
def test_any_model_can_be_asked_for(tmp_path, monkeypatch, model, encoder, expected):
    monkeypatch.setattr("maskwright.modeling.models.weights.find", lambda info: None)
    monkeypatch.setattr("maskwright.training.plan.measure_model", lambda *_: None)
    planned = plan(make_dataset(tmp_path / "data", images=4), model=model, encoder=encoder)
    text, config = planned.text, planned.config
    assert (config.model.name, config.model.encoder, config.model.weights) == (model, expected, "none")
    assert ("NVIDIA Source Code License" in text) == (model == "Segformer")


def test_an_encoder_of_one_size_is_said_with_the_size(tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 2})
    encoder = "tu-swin_tiny_patch4_window7_224"
    said = r"model: FPN does not take images of 32 x 32 \(.*224.*\); .*`data.image_size=\[224,224\]` with `overrides`"
    with pytest.raises(ConfigError, match=said):
        plan(root, model="FPN", encoder=encoder, weights="none")


def test_what_does_not_go_with_the_model_is_refused(tmp_path):
    data = make_dataset(tmp_path / "data", images=4)
    with pytest.raises(ConfigError, match="`model`: 'Segnet' is not known; did you mean 'SegNet'"):
        plan(data, model="Segnet")
    with pytest.raises(ConfigError, match="`model` SegNet: has no separate encoder"):
        plan(data, model="SegNet", encoder="resnet18")
    with pytest.raises(DataError, match="has one class, 'class_0', and a model tells classes apart"):
        plan(write_dataset(tmp_path / "one", {"train": 2, "val": 1}, ids=(0,)))


def test_weights_given_as_a_file(tmp_path):
    import timm

    name = "mobilenetv3_small_050"
    torch.manual_seed(0)
    save_file(timm.create_model(name, pretrained=False).state_dict(), tmp_path / f"{name}.safetensors")
    found = choose_weights(None, str(tmp_path / f"{name}.safetensors"), False)
    assert found.encoder == f"tu-{name}" and "fit" in found.reason
    with pytest.raises(SetupError, match="not weights of"):
        choose_weights("resnet18", str(tmp_path / f"{name}.safetensors"), False)
    (tmp_path / f"{name}.safetensors").rename(tmp_path / "unknown.safetensors")
    with pytest.raises(ConfigError, match="`encoder`"):
        choose_weights(None, str(tmp_path / "unknown.safetensors"), False)


def test_weights_that_are_not_here_become_none_with_the_reason(monkeypatch):
    monkeypatch.setattr("maskwright.modeling.models.weights.find", lambda info: None)
    found = choose_weights("resnet18", None, False)
    assert found.value == "none" and "not on this machine" in found.reason
    with pytest.raises(SetupError, match="`download`"):
        choose_weights("resnet18", "imagenet", False)


@pytest.mark.parametrize(
    ("here", "encoder", "expected"),
    [
        (["tu-mobilenetv2_100", "tu-tf_efficientnet_lite0"], None, "tu-tf_efficientnet_lite0"),
        (["tu-tf_efficientnet_lite2", "tu-mobilenetv2_100"], None, "tu-mobilenetv2_100"),
        (["tu-tf_efficientnet_lite2"], None, "tu-tf_efficientnet_lite2"),
        (["tu-tf_efficientnet_lite0", "resnet18"], "resnet18", "resnet18"),
        (["tu-tf_efficientnet_lite0"], "resnet18", None),
        (["tu-resnet152"], None, None),  # of any size, so never by itself
    ],
)
def test_a_pretrained_encoder_that_is_here_is_taken_before_none(tmp_path, monkeypatch, here, encoder, expected):
    from maskwright.modeling.models import weights as available

    file = tmp_path / "w.safetensors"
    monkeypatch.setattr(
        available,
        "find",
        lambda info: available.Found(info, "package", "the package p 1", file) if info.name in here else None,
    )
    monkeypatch.setattr(available, "check_encoder", lambda found: None)
    data = make_dataset(tmp_path / "data", images=4)
    planned = plan(data, encoder=encoder)
    model = planned.config.model
    assert (model.encoder, model.weights) == ((expected, "imagenet") if expected else (encoder, "none"))
    reason = f"ImageNet weights of {expected}, from the package p 1; licence: " if expected else "not on this machine; "
    assert reason in planned.text
    assert plan(data, encoder=encoder, weights="none").config.model.weights == "none"
    if encoder is None:
        assert plan(data, model="FPN").config.model.encoder == (expected or "tu-mobilenetv2_100")


def test_weights_that_are_here_and_cannot_be_used_are_said_when_it_is_planned(tmp_path, monkeypatch):
    from maskwright.modeling.models import weights as available

    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    monkeypatch.setattr(
        available, "find", lambda info: available.Found(info, "hub cache", "the cached x", tmp_path / "w.safetensors")
    )
    with pytest.raises(SetupError, match="these are not weights of tu-tf_efficientnet_lite0"):
        choose_weights(None, None, False)


def test_download_is_only_on_request(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("maskwright.modeling.models.weights.find", lambda info: None)
    monkeypatch.setattr("maskwright.modeling.models.weights.download", lambda info: asked.append(info.name))
    assert choose_weights("resnet18", None, False).value == "none" and not asked
    assert choose_weights("resnet18", None, True).value == "imagenet" and asked == ["resnet18"]


def test_clear_refusals(tmp_path):
    data = make_dataset(tmp_path / "data")
    with pytest.raises(ConfigError, match="`budget`"):
        plan(data, budget="soon")
    with pytest.raises(DataError, match="no such folder"):
        plan(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="resnet34"):
        plan(data, encoder="resnet43")


def test_a_range_test_sets_the_learning_rate_and_nothing_else(tmp_path):
    data = make_dataset(tmp_path / "data", size=(32, 32))
    plain = plan(data, weights="none", overrides=["optimizer={name: sgd, momentum: 0.8}"])
    tuned = plan(
        data,
        out=tmp_path / "run.yaml",
        weights="none",
        lr_find=True,
        overrides=["optimizer={name: sgd, momentum: 0.8}"],
    )
    text, config, tested = tuned.text, tuned.config, tuned.range_test
    assert plain.range_test is None and tested is not None
    assert (
        tuned.picture == tmp_path / "run.lr-find.svg"
        and str(tuned.picture) in str(tuned)
        and "<svg" in tuned.picture.read_text()
    )
    with pytest.raises(ConfigError, match="run.lr-find.svg"):
        (tmp_path / "run.yaml").rename(tmp_path / "first.yaml")
        plan(data, out=tmp_path / "run.yaml", weights="none", lr_find=True)
    (tmp_path / "first.yaml").rename(tmp_path / "run.yaml")
    assert config.optimizer.lr == tested.suggested != plain.config.optimizer.lr
    assert config.optimizer.arguments == {"momentum": 0.8}
    assert f'"lr": {tested.suggested}' in text and f"# {tested.reason}" in text
    changed = config.model_copy(update={"optimizer": plain.config.optimizer, "data": plain.config.data})
    assert changed == plain.config
    assert load_config(tmp_path / "run.yaml") == config
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "run.lr-find.svg", "run.yaml"]


def cracks(folder, width, size=(1500, 1500), images=6):
    """Large images with two lines `width` pixels wide and a wide class."""
    for index in range(images):
        mask = np.zeros(size, np.uint8)
        mask[: size[0] // 3] = 1
        mask[300 + 40 * index : 300 + 40 * index + width] = 2
        mask[:, 200 + 90 * index : 200 + 90 * index + width] = 2
        mask[5:7, 5:7] = 3  # a speck, beside
        mask[700:900, 700:900] = 3
        write(folder / "images" / f"{index}.png", mask * 80)
        write(folder / "masks" / f"{index}.png", mask)
    (folder / "classes.txt").write_text("wall\nwindow\ncrack\nstain\n")
    return folder


def test_thin_cracks_in_large_images_are_seen_through_windows(tmp_path):
    planned = plan(cracks(tmp_path / "data", 5), out=tmp_path / "run.yaml", weights="none")
    crop = planned.config.data.crop
    assert crop and (crop.scale, crop.overlap, crop.rare) == (0.8, 0.25, 0.5)
    assert planned.config.data.image_size == [160, 160]
    line = next(line for line in planned.text.splitlines() if "crop:" in line)
    assert "whole images shrunk to 160x160 'crack' would be 0.5 px wide; at this scale 'crack' has 4.0 px" in line
    assert "keep_ratio" not in planned.text and "px wide: where" not in planned.text
    assert load_config(tmp_path / "run.yaml").data.crop == crop
    whole = plan(tmp_path / "data", weights="none", overrides=["data.crop=null"])
    assert whole.config.data.crop is None and whole.config.data.image_size == [160, 160]


@pytest.mark.parametrize(
    ("size", "width", "scale"),
    [
        ((1500, 1500), 40.0, None),  # 4.3 px at 160 x 160
        ((1500, 1500), 29.0, None),  # 3.1 px there
        ((1500, 1500), 19.0, 0.21),  # 2 px
        ((1500, 1500), 16.0, 0.25),
        ((1500, 1500), 2.0, 0.85),  # its own 2 px, but for the number of windows
        ((420, 420), 4.0, 1.0),
        ((390, 390), 4.0, None),  # not shrunk to less than two fifths
        ((170, 170), 1.0, None),
        ((160, 160), 1.0, None),
        ((6000, 8000), 12.0, 0.18),  # no more than 64 windows
    ],
)
def test_windows_only_where_shrunk_images_would_lose_a_class(size, width, scale):
    facts = [ClassFacts(900, 0.9, 5, 5000.0, 120.0), ClassFacts(100, 0.1, 5, 90.0, width)]
    found = replace(some(*size), classes=facts)
    chosen = choose_crop(["wall", "crack"], found, model_size(found, 26_000))
    assert (chosen and chosen.scale) == scale
    if chosen:
        height, width_ = model_size(found, 26_000)
        assert size[0] * size[1] * chosen.scale**2 <= 64.5 * height * width_


def test_classes_without_pixels_or_widths_ask_for_nothing():
    assert choose_crop([], some(1500, 1500), (160, 160)) is None
    found = replace(some(1500, 1500), classes=[ClassFacts(9, 1.0, 1, 9.0, 90.0), ClassFacts(0, 0.0, 0)])
    assert choose_crop(["wall", "nowhere"], found, (160, 160)) is None
