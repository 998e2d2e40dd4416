"""The average of the weights against a recomputation in float64."""

import numpy as np
import torch

import rounding
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.training.ema import Average


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
    # Each step rounds three times, and the next ones keep 0.9 of that: 30 roundings of the largest number in the end.
    largest = max(float(abs(value).max()) for key, value in expected.items() if "num_batches" not in key)
    for key, value in average.model.state_dict().items():
        bound = rounding.apart(1, chain=30) * max(largest, 5)  # 5: no number that was drawn is larger
        np.testing.assert_allclose(value.numpy(), expected[key], rtol=0, atol=bound, err_msg=key)
