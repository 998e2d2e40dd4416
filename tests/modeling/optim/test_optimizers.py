"""The fused optimisers against torch's plain loops, over several steps and layouts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from maskwright.modeling.optim import OPTIMIZERS

PEERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in PEERS),
    ("adam", {"lr": 0.02, "weight_decay": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}),
    ("adamw", {"lr": 0.02, "weight_decay": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}),
    ("sgd", {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.5, "nesterov": True}),
    ("sgd", {"momentum": 0.0}),
]
DEFAULTS = {
    "adamw": {"lr": 1e-3, "weight_decay": 0.01},
    "adam": {"lr": 1e-3, "weight_decay": 0.0},
    "sgd": {"lr": 1e-2, "weight_decay": 1e-4, "momentum": 0.9},
}


def parameters() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(4, 3, 3, 3, generator=generator).to(memory_format=torch.channels_last)
    return [first.requires_grad_(), torch.randn(5, generator=generator).requires_grad_()]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_the_same_as_the_plain_loop(name: str, settings: dict[str, Any]) -> None:
    mine, theirs = parameters(), parameters()
    optimizer = OPTIMIZERS[name](**settings).build([{"params": mine[:1]}, {"params": mine[1:], "weight_decay": 0.0}])
    expected = DEFAULTS[name] | settings
    peer = PEERS[name](
        [{"params": theirs[:1]}, {"params": theirs[1:], "weight_decay": 0.0}], foreach=False, fused=False, **expected
    )
    assert optimizer.defaults["fused"] and type(optimizer) is PEERS[name]
    for step in range(6):
        for group in (*optimizer.param_groups, *peer.param_groups):
            group["lr"] = expected["lr"] * (1 - step / 6)
        for mine_one, theirs_one in zip(mine, theirs, strict=True):
            mine_one.grad = torch.sin(mine_one.detach() * 3 + step)
            theirs_one.grad = torch.sin(theirs_one.detach() * 3 + step)
        optimizer.step()
        peer.step()
    for mine_one, theirs_one in zip(mine, theirs, strict=True):
        torch.testing.assert_close(mine_one, theirs_one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("adamw", {"betas": (0.9, 1.0)}, "betas"),
        ("adam", {"eps": 0.0}, "eps"),
        ("adam", {"lr": 0.0}, "lr"),
        ("sgd", {"momentum": 1.0}, "momentum"),
        ("sgd", {"momentum": 0.0, "nesterov": True}, "nesterov"),
        ("sgd", {"weight_decay": -1.0}, "weight_decay"),
        ("sgd", {"lr": float("nan")}, "lr"),
    ],
)
def test_values_that_make_no_sense(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OPTIMIZERS[name](**settings)
