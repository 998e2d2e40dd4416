"""Segmenter: preprocessing, labels at the image's own size, and model files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

import rounding
from maskwright.core.bands import Bands
from maskwright.core.classes import IGNORE, ClassInfo, ClassTree
from maskwright.core.geometry import Geometry
from maskwright.errors import DataError
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.modeling.models.segmenter import (
    HEADER,
    Preprocessing,
    Segmenter,
    load_segmenter,
    read_tensors,
    with_model,
    with_selector,
)

SPEC = ModelSpec("UNet", 2, None, {"channels": [4, 4], "bottleneck": 4})
TREE = ClassTree((ClassInfo(7, "a", (1, 2, 3), ("group",)), ClassInfo(0, "b", (4, 5, 6))), ignore=9)


def small(**more: object) -> Segmenter:
    torch.manual_seed(1)
    preprocessing = Preprocessing(Geometry((16, 24), True, "bicubic"), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    return Segmenter(build_model(SPEC), SPEC, TREE, preprocessing, **more)  # type: ignore[arg-type]


def red_or_blue(geometry: Geometry) -> Segmenter:
    """A model that finds red (class 0) and blue (class 1) pixels."""
    model = nn.Conv2d(3, 2, 1, bias=False)
    model.weight.data = torch.tensor([[9.0, 0, 0], [0, 0, 9.0]])[..., None, None]
    return Segmenter(
        model, ModelSpec("colours", 2), ClassTree.flat(["red", "blue"]), Preprocessing(geometry, (0.0,) * 3, (1.0,) * 3)
    )


def test_normalise() -> None:
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    floats = small().normalise(images)
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    np.testing.assert_allclose(floats.numpy(), (images.numpy() / 255 - mean) / std, rtol=1e-5, atol=1e-6)
    assert floats.dtype == torch.float32 and floats.is_contiguous(memory_format=torch.channels_last)


def test_a_model_in_float64_computes_in_float64() -> None:
    images = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8)
    fine, usual = small(), small()
    fine.model.double()
    assert fine.normalise(images).dtype == torch.float64
    found, expected = fine.probabilities(images), usual.probabilities(images)
    assert (found.dtype, expected.dtype) == (torch.float64, torch.float32)
    assert 0 < (found - expected).abs().max() < rounding.apart(9 * 8, chain=10)  # 9 x 8 products a layer


@pytest.mark.parametrize("keep_ratio", [False, True])
@pytest.mark.parametrize("size", [(40, 80), (80, 40), (31, 97), (200, 13)])
def test_labels_lie_where_the_objects_are(size: tuple[int, int], keep_ratio: bool) -> None:
    image = np.zeros((*size, 3), np.uint8)
    truth = np.zeros(size, np.uint8)
    truth[size[0] // 2 :, size[1] // 2 :] = 1
    image[..., 0], image[..., 2] = 255 * (truth == 0), 255 * (truth == 1)
    (found,) = red_or_blue(Geometry((48, 64), keep_ratio, "bilinear")).label([image])
    assert found.shape == size
    distances = np.abs(np.argwhere(found != truth) - np.array(size) // 2)
    assert (distances <= np.ceil(np.array(size) / 48 + 1)).any(axis=1).all()  # within a pixel of the model's size
    assert (found == 1).mean() == pytest.approx(truth.mean(), abs=0.1)
    assert found.max() < IGNORE


def test_one_image_or_a_list_in_every_form(tmp_path: Path) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30, 0], image[:, 30:, 2] = 255, 255
    model = red_or_blue(Geometry((48, 64), False, "bilinear"))
    expected = model.label([image])[0]
    assert set(np.unique(expected)) == {0, 1}
    for one in (image, image / 255.0, image.astype(np.uint16) * 257):
        np.testing.assert_array_equal(model.label(one), expected)
    many = model.label([image] * 9 + [image[..., 0]])  # more than go through the model at once
    assert len(many) == 10 and many[-1].shape == (40, 60) and all((mask == expected).all() for mask in many[:-1])
    assert model.label([]) == []
    Image.fromarray(image).save(tmp_path / "a.png")
    for alone in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(image)):
        np.testing.assert_array_equal(model.label(alone), expected)
    for mask in model.label([image, tmp_path / "a.png", Image.fromarray(image)]):
        np.testing.assert_array_equal(mask, expected)
    with pytest.raises(
        DataError, match="image 0: is a Tensor; give the path of an image file, a PIL image, or a numpy"
    ):
        model.label([torch.zeros(3, 4, 4)])  # type: ignore[list-item]
    with pytest.raises(DataError, match=r"b\.png: no such file"):
        model.label("b.png")


def test_what_comes_out_of_the_model_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model with many classes fewer images go through it together; their labels are the same."""
    segmenter, images = small(), [np.random.default_rng(i).integers(0, 256, (20, 30, 3), np.uint8) for i in range(5)]
    expected = segmenter.label(images)
    sizes: list[int] = []
    probabilities = segmenter.probabilities
    monkeypatch.setattr(segmenter, "probabilities", lambda batch: (sizes.append(len(batch)), probabilities(batch))[1])
    monkeypatch.setattr("maskwright.modeling.models.segmenter._LOGITS", 2 * 16 * 24 * 2 + 1)
    for found, mask in zip(segmenter.label(images), expected, strict=True):
        np.testing.assert_array_equal(found, mask)
    assert sizes == [2, 2, 1]


def test_flip_average() -> None:
    segmenter, plain = small(flip_average=True), small()
    for one in (segmenter, plain):
        one.model.double()
    images = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8)
    there, back = plain.probabilities(images), plain.probabilities(images.flip(3)).flip(3)
    torch.testing.assert_close(segmenter.probabilities(images), (there + back) / 2)
    torch.testing.assert_close(segmenter.probabilities(images.flip(3)).flip(3), segmenter.probabilities(images))


def test_bfloat16_logits_are_float32_and_near() -> None:
    images = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8)
    single, brain = small(), small(precision="bfloat16")
    single.model.eval()
    brain.model.eval()
    with torch.inference_mode():
        found, expected = brain.logits(images), single.logits(images)
    assert found.dtype == torch.float32 and not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.1)


def test_everything_is_in_the_file(tmp_path: Path) -> None:
    segmenter = small(precision="bfloat16", flip_average=True)
    segmenter.model.to(memory_format=torch.channels_last)
    segmenter.save(tmp_path / "m.safetensors")
    state = torch.get_rng_state()
    loaded = load_segmenter(tmp_path / "m.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    for part in ("spec", "classes", "preprocessing"):
        assert getattr(loaded, part) == getattr(segmenter, part)
    assert (loaded.precision, loaded.flip_average) == ("bfloat16", True) and not loaded.model.training
    for key, value in segmenter.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[key], value)
    header, tensors = read_tensors(tmp_path / "m.safetensors")
    assert header == json.loads(json.dumps(segmenter.header())) and set(tensors) == set(segmenter.model.state_dict())
    assert header["version"]


def test_the_selector_is_in_the_file_unless_it_is_the_usual_one(tmp_path: Path) -> None:
    assert "selector" not in small().header()
    segmenter = small(selector="top_down")
    segmenter.save(tmp_path / "m.safetensors")
    assert load_segmenter(tmp_path / "m.safetensors").selector == "top_down"
    assert with_selector(segmenter, None).selector == "top_down" and with_selector(segmenter, "leaf").coherent
    assert not with_selector(segmenter, "levels").coherent
    save_file(
        segmenter.model.state_dict(),
        tmp_path / "n.safetensors",
        {HEADER: json.dumps(segmenter.header() | {"selector": "newer"})},
    )
    with pytest.raises(DataError, match="do not fit together"):
        load_segmenter(tmp_path / "n.safetensors")


def test_with_model_shares_all_but_the_weights() -> None:
    segmenter, other = small(), build_model(SPEC)
    changed = with_model(segmenter, other)
    assert changed.model is other and changed.classes is segmenter.classes and segmenter.model is not other


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("missing", "no such file"),
        ("folder", "not a readable model file"),
        ("empty", "not a readable model file"),
        ("cut", "not a readable model file"),
        ("text", "not a readable model file"),
        ("pickle", "not a readable model file"),
        ("foreign", "not written by maskwright"),
        ("other format", "of model format 9, from a newer Maskwright"),
        ("tensor gone", "do not fit"),
        ("other shape", "do not fit"),
        ("header", "header is damaged"),
        ("classes", "do not fit"),
    ],
)
def test_damaged_files(tmp_path: Path, damage: str, what: str) -> None:
    path = tmp_path / "m.safetensors"
    segmenter = small()
    segmenter.save(path)
    tensors, header = load_file(path), segmenter.header()
    if damage == "missing":
        path.unlink()
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage in ("empty", "cut", "text", "pickle"):
        path.write_bytes(
            {"empty": b"", "cut": path.read_bytes()[:-9], "text": b"hello" * 99, "pickle": pickle.dumps({"a": 1})}[
                damage
            ]
        )
    elif damage == "foreign":
        save_file(tensors, path)
    else:
        key = "head.weight"
        if damage == "tensor gone":
            del tensors[key]
        elif damage == "other shape":
            tensors[key] = tensors[key].flatten()
        elif damage == "other format":
            header["format"] = "maskwright-model-9"
        elif damage == "classes":
            del header["classes"]
        save_file(tensors, path, {HEADER: "{" if damage == "header" else json.dumps(header)})
    with pytest.raises(DataError, match=what) as raised:
        load_segmenter(path)
    assert str(raised.value).startswith(str(path)) and "\n" not in str(raised.value)


@pytest.mark.parametrize("bands", [Bands.of(5), Bands.of(2, 16, (100, 4100)), Bands.of(1, 16)])
def test_other_bands_are_normalised_by_their_range_and_kept_in_the_file(tmp_path: Path, bands: Bands) -> None:
    torch.manual_seed(1)
    rng, channels = np.random.default_rng(0), bands.channels
    spec = ModelSpec("UNet", 2, None, {"channels": [4, 4], "bottleneck": 4}, channels)
    mean, std = (tuple(rng.uniform(0.1, 0.9, channels).round(3).tolist()) for _ in range(2))
    segmenter = Segmenter(build_model(spec), spec, TREE, Preprocessing(Geometry((16, 24)), mean, std, bands=bands))
    segmenter.flip_average = True
    pixels = rng.integers(0, 1 << bands.bits, (2, 16, 24, channels)).astype(bands.dtype)
    floats = segmenter.normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    low, high = bands.range
    np.testing.assert_allclose(floats, ((pixels - float(low)) / (high - low) - mean) / std, rtol=1e-4, atol=1e-4)
    segmenter.save(tmp_path / "m.safetensors")
    again = load_segmenter(tmp_path / "m.safetensors")
    assert (again.preprocessing, again.spec.in_channels) == (segmenter.preprocessing, channels)
    assert np.array_equal(again.label(pixels[0]), segmenter.label(list(pixels))[0])


def test_the_file_of_an_rgb_model_says_nothing_of_bands() -> None:
    assert "bands" not in small().header()["preprocessing"]
