"""Adams-Bashforth: integrals of the polynomial through the last values. What DEIS, PNDM and iPNDM share."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from .combinations import weighted

EQUAL_STEPS = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Weights of the last values, newest first, by how many there are; their sum is 1."""

SUM_POINTS = 10_000

STEPS_AT_ONCE = 64
"""In one tensor of positions, which has up to SUM_POINTS for each step."""


def equal_steps(values: Collection[Tensor]) -> Tensor:
    """The Adams-Bashforth mean of `values`, newest first."""
    return weighted(EQUAL_STEPS[len(values) - 1], values)


def history(length: int) -> deque[Tensor]:
    """Values, newest first; the oldest leaves when it is full."""
    return deque(maxlen=length)


@cache
def quadrature(name: str) -> tuple[Tensor, Tensor]:
    """(positions in [0, 1], weights): 64-point Gauss-Legendre, or the sums of two published codes.

    The Gauss points are spread as 1 - v^2, closer at the end, where a step's functions vary fastest.
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


Measure = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(start, end), each (K, 1) -> (positions between them, the weight of each in the integral), each (K, points)."""


def uniform(start: Tensor, end: Tensor, name: str = "gauss-legendre") -> tuple[Tensor, Tensor]:
    """The measure of length."""
    u, weights = quadrature(name)
    return start + u * (end - start), weights * (end - start)


def coefficients(at: Sequence[float], points: int | Sequence[int], measure: Measure) -> list[list[float]]:
    """C[i][j] = integral from at[i] to at[i+1] of L_j, newest first: L_j is 1 at at[i-j] and 0 at the
    others of the last min(points, i + 1) positions, or of the last points[i] where each step has its own number.
    """
    positions = torch.tensor(at, dtype=torch.float64)
    if not isinstance(points, int):
        windows = [positions[None, i + 1 - count : i + 2] for i, count in enumerate(points)]
        return [row for window in windows for row in _integrals(window, measure)]
    table: list[list[float]] = []
    for i in range(min(points, len(at) - 1)):
        last = i + 2 if i + 1 < points else len(at)
        table += _integrals(positions[:last].unfold(0, i + 2, 1), measure)
    return table


def _integrals(windows: Tensor, measure: Measure) -> list[list[float]]:
    """A row of C for each row of `windows` (K, points + 1), which ends at at[i], at[i + 1]."""
    found = []
    for window in windows.split(STEPS_AT_ONCE):
        *known, start, end = window.T[..., None]
        known = [start, *reversed(known)]
        tau, weights = measure(start, end)
        products = [(weights * _lagrange(tau, known, j)).sum(1) for j in range(len(known))]
        found += torch.stack(products, dim=1).tolist()
    return found


def _lagrange(tau: Tensor, known: Sequence[Tensor], j: int) -> Tensor:
    product = torch.ones_like(tau)
    for k, other in enumerate(known):
        if k != j:
            product = product * (tau - other) / (known[j] - other)
    return product
