"""Parameter groups, and the average of the weights against a recomputation in float64."""

import numpy as np
import pytest
import torch
from torch import nn

from maskwright.models.build import ModelSpec, build_model
from maskwright.training.optimizer import Average, Groups, build_optimizer


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
    norms = {f"{name}.{kind}" for name, module in model.named_modules()
             if isinstance(module, nn.BatchNorm2d) for kind in ("weight", "bias")}
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


def test_the_average_follows_its_formula():
    model = build_model(ModelSpec("UNet", 2, args={"channels": [4], "bottleneck": 4}))
    average = Average(model, 0.9)
    expected = {key: value.numpy().astype(np.float64) for key, value in model.state_dict().items()}
    rng = np.random.default_rng(0)
    for step in range(120):
        decay = min(0.9, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.from_numpy(rng.normal(size=value.shape)))
                expected[key] = decay * expected[key] + (1 - decay) * value.numpy().astype(np.float64)
            else:
                value.fill_(step)
                expected[key] = np.float64(step)
        average.update(model, step)
    assert not average.model.training
    assert not any(p.requires_grad for p in average.model.parameters())
    for key, value in average.model.state_dict().items():
        np.testing.assert_allclose(value.numpy(), expected[key], rtol=0, atol=1e-6, err_msg=key)
