"""The optimisers as settings: checked when they are made, torch's fused implementation when they are built.

Defaults are the usual ones of each: decay that is decoupled from the gradient (AdamW) is far weaker than the same
number added to it (Adam, SGD), and SGD takes larger steps. The fused implementations walk through memory whatever the
strides are, so that moments must be laid out like their parameter (`training.checkpoint` sees to it).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Optimizer(ABC):
    """`lr` is the base learning rate, `weight_decay` the decay of tensors that are decayed. Abstract."""

    lr: float
    weight_decay: float

    def __post_init__(self) -> None:
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr must be above 0 (given {self.lr})")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay must be at least 0 (given {self.weight_decay})")

    @abstractmethod
    def build(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """Over parameter groups as torch takes them; their own `lr` and `weight_decay` win."""


@dataclass(frozen=True)
class _Moments(Optimizer):
    """Running means of the gradient and its square, of decays `betas`; `eps` keeps the quotient finite. Abstract."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be two numbers from 0 to less than 1 (given {list(self.betas)})")
        if not 0 < self.eps < float("inf"):
            raise ValueError(f"eps must be above 0 (given {self.eps})")


@dataclass(frozen=True)
class Adam(_Moments):
    """Adam (Kingma and Ba, 2015); the decay is added to the gradient."""

    lr: float = 1e-3
    weight_decay: float = 0.0

    def build(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """See `Optimizer.build`."""
        import torch

        return torch.optim.Adam(
            groups, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay, fused=True
        )


@dataclass(frozen=True)
class AdamW(_Moments):
    """Adam whose decay shrinks the weights themselves (Loshchilov and Hutter, 2019)."""

    lr: float = 1e-3
    weight_decay: float = 0.01

    def build(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """See `Optimizer.build`."""
        import torch

        return torch.optim.AdamW(
            groups, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay, fused=True
        )


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, Nesterov's if asked for (Sutskever et al., 2013); the decay is added
    to the gradient."""

    lr: float = 1e-2
    weight_decay: float = 1e-4
    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be from 0 to less than 1 (given {self.momentum})")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")

    def build(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """See `Optimizer.build`."""
        import torch

        return torch.optim.SGD(
            groups,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            fused=True,
        )
