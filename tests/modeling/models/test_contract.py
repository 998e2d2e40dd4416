"""What every row of the model table has to do, with small encoders."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from maskwright.core.classes import ClassTree
from maskwright.core.geometry import Geometry
from maskwright.errors import ConfigError
from maskwright.modeling.models import MODELS, SMP, WHOLE, arguments, load, takes_encoder
from maskwright.modeling.models.build import ModelSpec, build_model, encoder_parameters, size_multiple
from maskwright.modeling.models.segmenter import Preprocessing, Segmenter, load_segmenter
from small_models import LARGER, SIZE, spec_of

# What the library builds and does not use: a decoder over three of five stages, a classifier's head.
UNUSED = {"PSPNet": "encoder.", "DPT": "encoder."}


def segmenter_of(spec: ModelSpec, size: tuple[int, int]) -> Segmenter:
    torch.manual_seed(0)
    classes = ClassTree.flat([f"c{i}" for i in range(spec.classes)])
    model = build_model(spec).to(memory_format=torch.channels_last)  # as in training
    return Segmenter(model, spec, classes, Preprocessing(Geometry(size), (0.5,) * 3, (0.25,) * 3))


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (high, wide, 3), dtype=np.uint8) for high, wide in ((33, 45), (95, 70))]


@pytest.mark.parametrize("name", MODELS)
def test_contract(name: str, pictures: list[np.ndarray], tmp_path: Path) -> None:
    size = LARGER.get(name, SIZE)
    segmenter = segmenter_of(spec_of(name), size)
    labels = segmenter.label(pictures)
    assert [mask.shape for mask in labels] == [picture.shape[:2] for picture in pictures]
    assert all(mask.dtype == np.uint8 and mask.max() < 3 for mask in labels)

    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    model = segmenter.model.train()
    heads = segmenter.weighted_logits(images)
    assert all(logits.shape == (2, 3, *size) and logits.dtype == torch.float32 for _, logits in heads)
    assert heads[0][0] == 1.0 and len(heads) == (2 if name == "UNetFCN" else 1)
    torch.stack([weight * logits.square().mean() for weight, logits in heads]).sum().backward()
    unreached = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert all(key.startswith(UNUSED.get(name, "nothing")) for key in unreached), unreached
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)

    in_encoder = {id(parameter) for parameter in encoder_parameters(model, segmenter.spec)}
    if takes_encoder(name):
        assert in_encoder == {id(p) for key, p in model.named_parameters() if key.startswith("encoder.")}
        assert len(in_encoder) < len(list(model.parameters()))

    segmenter.save(tmp_path / "a.safetensors")
    loaded = load_segmenter(tmp_path / "a.safetensors")
    loaded.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    segmenter.model.eval()
    with torch.inference_mode():
        single = segmenter.logits(images)
        assert torch.equal(loaded.logits(images), single)
        segmenter.precision = "bfloat16"
        brain = segmenter.logits(images)
    assert torch.isfinite(brain).all() and not torch.equal(brain, single)
    assert (
        brain - single
    ).abs().mean() < 0.1 * single.abs().mean()  # on the whole: a tie may move where SegNet unpools


@pytest.mark.parametrize("classes", [1, 2, 20])
@pytest.mark.parametrize("name", [*WHOLE, "AttentionUNet", "Unet", "DeepLabV3Plus", "Segformer"])
def test_numbers_of_classes(name: str, classes: int) -> None:
    with torch.inference_mode():
        logits = segmenter_of(spec_of(name, classes), (64, 64)).logits(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    assert logits.shape == (2, classes, 64, 64)


def test_other_numbers_of_channels() -> None:
    for name in (*WHOLE, "AttentionUNet", "FPN"):
        spec = spec_of(name)
        model = build_model(ModelSpec(spec.name, 2, spec.encoder, spec.args, in_channels=5)).eval()
        assert model(torch.zeros(1, 5, 64, 64)).shape == (1, 2, 64, 64)


def test_padding_inside_changes_nothing_for_sizes_that_fit() -> None:
    segmenter = segmenter_of(spec_of("FPN"), (64, 96))
    assert size_multiple(segmenter.model) == 32
    segmenter.model.eval()
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(segmenter.logits(images), segmenter.model(segmenter.normalise(images)))


def test_the_seed_decides_the_start() -> None:
    models = [segmenter_of(spec_of("Unet"), SIZE).model.state_dict() for _ in range(2)]
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        (ModelSpec("Unett", 2), "did you mean"),
        (ModelSpec("Unet", 2, "resnet43"), r"model\.encoder: 'resnet43' is not known; did you mean"),
        (ModelSpec("Unet", 2, "tu-resnet19"), "timm has no model 'resnet19'"),
        (ModelSpec("Unet", 2, "tu-resnet18.nonsense"), "model.encoder: .*nonsense"),
        (ModelSpec("Unet", 2, "tu-"), "timm has no model"),
        (ModelSpec("Unet", 2, ""), "is not known"),
        (ModelSpec("Unet", 2, "resnet18", {"decoder_channels": [1, 2]}), "Unet over resnet18 cannot be built"),
        (ModelSpec("Unet", 2, "resnet18", {"encoder_depth": 9}), "cannot be built"),
        (ModelSpec("Unet", 2, "resnet18", {"decoder_attention_type": "x"}), "cannot be built"),
        (ModelSpec("DPT", 2, "resnet18"), "DPT over resnet18 cannot be built"),
        (ModelSpec("UNet", 2, None, {"kernel": 2}), "kernel must be odd"),
        (ModelSpec("SegNet", 2, None, {"decoder_channels": [8]}), "SegNet cannot be built: decoder_channels"),
        (ModelSpec("AttentionUNet", 2, "resnet43"), "did you mean"),
        (ModelSpec("AttentionUNet", 2, "tu-vit_tiny_patch16_224"), "AttentionUNet over tu-vit_tiny_patch16_224 cannot"),
    ],
)
def test_what_cannot_be_built_is_a_config_error(spec: ModelSpec, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        build_model(spec)


def test_arguments_leave_out_what_the_tool_sets() -> None:
    for name in MODELS:
        assert not {"classes", "in_channels", "encoder_name", "encoder_weights"} & set(arguments(name))
    assert "decoder_channels" in arguments("Unet") and "kernel" in arguments("UNet")
    assert "activation" in arguments("UNet") and "activation" not in arguments("Unet")  # there, it follows the logits


def test_the_table_says_which_models_go_over_an_encoder() -> None:
    assert {name for name in MODELS if not takes_encoder(name)} == {"UNet", "UNet2", "SegNet", "UNetFCN"}
    for name in MODELS:  # as the callables have it
        assert takes_encoder(name) == ("encoder_name" in inspect.signature(load(MODELS[name])).parameters)


@pytest.mark.parametrize("name", [name for name, row in MODELS.items() if row.startswith(SMP)])
def test_head_dropout(name: str) -> None:
    """Whole channels before the last layer, in training only, with the tensors and the answers of a model without."""
    spec, size = spec_of(name), LARGER.get(name, SIZE)
    assert "head_dropout" in arguments(name)
    torch.manual_seed(0)
    plain = build_model(spec).eval()
    dropping = build_model(replace(spec, args={**spec.args, "head_dropout": 0.5})).eval()
    dropping.load_state_dict(plain.state_dict())
    multiple = size_multiple(plain)
    images = torch.randn(2, 3, *(-(-side // multiple) * multiple for side in size))
    torch.testing.assert_close(dropping(images), plain(images), rtol=0, atol=0)
    seen: list[torch.Tensor] = []
    first = next(module for module in dropping.segmentation_head.modules() if isinstance(module, torch.nn.Conv2d))
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    dropping.segmentation_head.train()
    dropping(images)
    empty = (seen[0] == 0).all((2, 3)).float().mean().item()
    assert 0.1 < empty < 0.95, "about half of the channels"


@pytest.mark.parametrize("share", [1.0, -0.1])
def test_head_dropout_out_of_range(share: float) -> None:
    with pytest.raises(ConfigError, match="head_dropout must be at least 0 and below 1"):
        build_model(replace(spec_of("FPN"), args={"head_dropout": share}))
