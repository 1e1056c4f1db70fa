"""Adams-Bashforth: integrals of the polynomial through the last values. What DEIS, PNDM and iPNDM share."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

EQUAL_STEPS = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Weights of the last values, newest first, by how many there are; their sum is 1."""

SUM_POINTS = 10_000


def equal_steps(values: Collection[Tensor]) -> Tensor:
    """The Adams-Bashforth mean of `values`, newest first."""
    return weighted(EQUAL_STEPS[len(values) - 1], values)


def weighted(weights: Iterable[float], values: Iterable[Tensor]) -> Tensor:
    """sum_j weights[j] values[j]."""
    (weight, value), *others = zip(weights, values, strict=True)
    total = weight * value
    for weight, value in others:
        total = total + weight * value
    return total


def history(length: int) -> deque[Tensor]:
    """Values, newest first; the oldest leaves when it is full."""
    return deque(maxlen=length)


@cache
def quadrature(name: str) -> tuple[Tensor, Tensor]:
    """(positions in [0, 1], weights): 64-point Gauss-Legendre, or the sums of two published codes.

    The Gauss points are spread as 1 - v^2, which removes the singularity of dsigma/dt at clean data.
    """
    if name == "gauss-legendre":
        points, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(64))
        v = (points + 1) / 2
        return 1 - v**2, weights * v
    if name == "th_deis":
        points = torch.arange(SUM_POINTS, dtype=torch.float64) / SUM_POINTS
    else:
        points = torch.linspace(0.0, 1.0, SUM_POINTS, dtype=torch.float64)
    return points, torch.full_like(points, 1 / SUM_POINTS)


def coefficients(
    at: Sequence[float], points: int, density: Callable[[Tensor], Tensor], name: str = "gauss-legendre"
) -> list[list[float]]:
    """C[i][j] = integral from at[i] to at[i+1] of density L_j, newest first: L_j is 1 at at[i-j] and 0 at the
    others of the last min(points, i + 1) positions.
    """
    table = []
    for i, (start, end) in enumerate(zip(at[:-1], at[1:], strict=True)):
        known = [at[i - j] for j in range(min(points, i + 1))]
        # diff-sampler sums only where it interpolates: its first step is Euler's, exactly.
        exact = name == "diff-sampler" and len(known) == 1
        u, weights = quadrature("gauss-legendre" if exact else name)
        tau = start + u * (end - start)
        measure = weights * (end - start) * density(tau)
        table.append([float((measure * _lagrange(tau, known, j)).sum()) for j in range(len(known))])
    return table


def _lagrange(tau: Tensor, known: Sequence[float], j: int) -> Tensor:
    product = torch.ones_like(tau)
    for k, other in enumerate(known):
        if k != j:
            product = product * (tau - other) / (known[j] - other)
    return product
