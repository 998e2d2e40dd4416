"""Parameter groups: their rates and decays."""

import pytest
from torch import nn

from maskwright.errors import ConfigError
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.modeling.optim.build import Groups, PartRates, build_optimizer


def groups_of(model, spec, groups):
    """Name of each parameter -> its group."""
    optimizer = build_optimizer(model, spec, groups)
    by_parameter = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    assert len(by_parameter) == sum(len(group["params"]) for group in optimizer.param_groups)  # none twice
    return {name: by_parameter[id(p)] for name, p in model.named_parameters()}


@pytest.fixture(scope="module")
def over_encoder():
    spec = ModelSpec("Unet", 2, "tu-test_resnet", {"encoder_depth": 3, "decoder_channels": [16, 8, 4]})
    return build_model(spec), spec


def test_decoder_and_head_get_a_multiple_of_the_rate(over_encoder):
    model, spec = over_encoder
    found = groups_of(model, spec, Groups(1e-3, 10.0, 0.05))
    rates = {name.partition(".")[0]: set() for name in found}
    for name, group in found.items():
        assert group["lr"] == group["base_lr"]
        rates[name.partition(".")[0]].add(group["lr"])
    assert rates == {"encoder": {1e-3}, "decoder": {1e-2}, "segmentation_head": {1e-2}}


def test_biases_and_normalisation_are_not_decayed(over_encoder):
    model, spec = over_encoder
    norms = {
        f"{name}.{kind}"
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for kind in ("weight", "bias")
    }
    decays = {name: group["weight_decay"] for name, group in groups_of(model, spec, Groups(1e-3, 1.0, 0.05)).items()}
    assert norms
    assert decays == {name: 0.0 if name in norms or name.endswith("bias") else 0.05 for name in decays}


def test_a_model_without_an_encoder_has_one_rate():
    spec = ModelSpec("UNet", 2, args={"channels": [4], "bottleneck": 4})
    found = groups_of(build_model(spec), spec, Groups(1e-3, 10.0, 0.05))
    assert {group["lr"] for group in found.values()} == {1e-3}


def test_frozen_parameters_are_left_out():
    spec = ModelSpec("UNet", 2, args={"channels": [4], "bottleneck": 4})
    model = build_model(spec)
    model.head.requires_grad_(False)
    optimizer = build_optimizer(model, spec, Groups())
    optimised = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert optimised == {id(p) for name, p in model.named_parameters() if not name.startswith("head")}


def test_parts_have_rates_and_decays_of_their_own(over_encoder):
    model, spec = over_encoder
    parts = {
        "encoder": PartRates(0.5),
        "encoder.model.layer1": PartRates(0.1, 0.2),
        "decoder": PartRates(weight_decay=0.0),
    }
    found = groups_of(model, spec, Groups(1e-3, 10.0, 0.05, parts=parts))
    for name, group in found.items():
        rate, decay = (
            (1e-4, 0.2)
            if name.startswith("encoder.model.layer1.")
            else (5e-4, 0.05)
            if name.startswith("encoder.")
            else (1e-2, 0.0)
            if name.startswith("decoder.")
            else (1e-2, 0.05)
        )
        assert group["lr"] == group["base_lr"] == pytest.approx(rate), name
        assert group["weight_decay"] == (decay if dict(model.named_parameters())[name].ndim > 1 else 0.0), name
    assert any(name.startswith("encoder.model.layer1.") for name in found)


@pytest.mark.parametrize(("part", "hint"), [("encodr", "'encoder'"), ("encoder.model.layer", "'encoder.model.layer")])
def test_a_part_that_the_model_has_not_is_refused(over_encoder, part, hint):
    model, spec = over_encoder
    with pytest.raises(ConfigError, match=rf"optimizer\.groups\.{part}: .*did you mean {hint}"):
        build_optimizer(model, spec, Groups(parts={part: PartRates(0.1), "decoder": PartRates(2.0)}))
