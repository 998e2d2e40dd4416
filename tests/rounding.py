"""What rounding may do to a result, from the arithmetic: none of these bounds was read off a machine.

Two processors, or two numbers of processes, compute the same sums in another order. A sum of n numbers, added in any
order in a type of unit roundoff u, is off by at most n u times the sum of their magnitudes (Higham, Accuracy and
Stability of Numerical Algorithms, 2002, section 4.2; u is half of `eps`). Where numbers of random sign nearly cancel,
that sum of magnitudes is about sqrt(n) times their sum, but the errors cancel as well and sqrt(n) u takes the place of
n u (Higham and Mary, 2019): n u of the result is then the right size for both. A result that came through a chain of
such sums has the error of each, and two such results may lie twice as far apart.

What no such bound can hold for, and what tests therefore do not compare in float32:

- Weights after several steps of Adam. It divides a gradient by its own size, so a gradient that is nothing but rounding
  still makes a whole step of `lr`, in either direction: two right answers may be 2 lr steps apart.
- Gradients element by element. Where an activation is within rounding of the kink of a ReLU, or two inputs of a
  max-pooling are as near, the order of sums decides which way the gradient goes.
- Which class a pixel gets, where two are as likely but for rounding.

In float64 these happen once in about 1e8 times as many cases, and an `eps` of Adam far above the rounding makes it a
smooth function of the gradients (`adam`). So tests that two ways of training are the same mathematics run in float64.
"""

from __future__ import annotations

import torch


def unit(dtype: torch.dtype = torch.float32) -> float:
    """The unit roundoff: the largest relative error of one rounding to the nearest."""
    return torch.finfo(dtype).eps / 2


def apart(terms: int, *, chain: int = 1, dtype: torch.dtype = torch.float32) -> float:
    """How far two results may lie apart, relative to their magnitude, which were each computed by a `chain` of sums of
    at most `terms` numbers, in any order."""
    return 2 * chain * terms * unit(dtype)


def kinks(terms: int, count: int = 2) -> float:
    """How far two gradients may lie apart in the mean square, relative to their size, when `count` activations have
    taken another side of a kink: each changes one of `terms` numbers of random sign, whose sum is about sqrt(terms)
    times one of them."""
    return count / terms**0.5


def adam(gradients: float, *, lr: float, steps: int, eps: float) -> float:
    """How far weights may lie apart after steps of Adam whose gradients differ by at most `gradients`.

    A step is lr m / (sqrt(v) + eps), where m is a mean of gradients and sqrt(v) a root mean square, so each differs by
    no more than a gradient, and |m| / sqrt(v) is at most (1 - 0.9) / sqrt(1 - 0.999) = 3.2. Hence a step differs by at
    most lr (1 + 3.2) gradients / eps, and by no more than 2 * 3.2 lr whatever the gradients. The feedback of the weights
    on later gradients is of second order and left out, as `gradients` is far below `eps` where this is used.
    """
    if gradients > eps / 100:
        raise ValueError(f"gradients that differ by {gradients:g} are no small change for eps = {eps:g}")
    return steps * lr * 4.2 * gradients / eps


def loss(weights: float, *, gradient: float, parameters: int) -> float:
    """How far a loss may lie apart, to first order, when each of `parameters` weights differs by at most `weights` and
    its gradient is no longer than `gradient` in the Euclidean norm (Cauchy and Schwarz)."""
    return gradient * parameters**0.5 * weights
