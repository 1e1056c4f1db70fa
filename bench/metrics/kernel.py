"""Kernel distances between feature sets: KID (Bińkowski et al. 2018) and CMMD (Jayasumana et al. 2024).

In float64 throughout: near the data both are differences of means that agree in their first five digits.
Computed in blocks of rows, so that no N x N matrix is held.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .arrays import TooFew, as_pair

ELEMENTS = 2**23
"""Kernel values held at a time."""

Kernel = Callable[[Tensor, Tensor], Tensor]


def kernel_distance(real: Any, fake: Any) -> float:
    """KID over all rows of features (N, D): the unbiased MMD^2 with the kernel (x.y/D + 1)^3 (section 4).

    May be below 0; 0 on average for sets of one distribution. Without the subsets' noise, which is larger
    than the differences between good samplers. Raises ValueError as `frechet_distance` does.
    """
    x, y = as_pair(real, fake)
    return _unbiased(x.double(), y.double())


def kernel_distance_subsets(
    real: Any, fake: Any, subsets: int = 100, size: int = 1000, seed: int = 2020
) -> tuple[float, float]:
    """(mean, standard deviation) of KID over random subsets, as papers report it; torch-fidelity draws the same ones.

    Raises ValueError if a set has fewer rows than a subset.
    """
    x, y = as_pair(real, fake)
    if min(len(x), len(y)) < size:
        raise TooFew(f"subsets of {size} need as many rows, not {len(x)} and {len(y)}")
    rng = np.random.RandomState(seed)
    found = []
    for _ in range(subsets):
        # The fake rows first: the order in which torch-fidelity draws.
        of_fake, of_real = (torch.from_numpy(rng.choice(len(part), size, replace=False)) for part in (y, x))
        found.append(_unbiased(x[of_real.to(x.device)].double(), y[of_fake.to(y.device)].double()))
    return float(np.mean(found)), float(np.std(found))


def cmmd(real: Any, fake: Any, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """The biased MMD^2 with the kernel exp(-|x - y|^2 / (2 sigma^2)), times `scale` (section 4).

    Of embeddings (N, D) of length 1, which the caller normalises. At least 0 up to round-off, and at most 2 scale.
    """
    x, y = (part.double() for part in as_pair(real, fake))

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squared = torch.addmm(b.square().sum(1), a, b.T, alpha=-2).add_(a.square().sum(1)[:, None])
        # Less 1, which the three means have in common: what is left of them is small, and keeps its digits.
        return torch.expm1(squared.clamp_(min=0).div_(-2 * sigma**2))

    within = _sum_within(x, kernel) / len(x) ** 2 + _sum_within(y, kernel) / len(y) ** 2
    return scale * (within - 2 * _sum_across(x, y, kernel) / (len(x) * len(y)))


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T).div_(x.shape[1]).add_(1).pow_(3)


def _unbiased(x: Tensor, y: Tensor) -> float:
    n, m = len(x), len(y)
    alone_x, alone_y = (((part.square().sum(1) / part.shape[1] + 1) ** 3).sum().item() for part in (x, y))
    within = (_sum_within(x, _cubic) - alone_x) / (n * (n - 1)) + (_sum_within(y, _cubic) - alone_y) / (m * (m - 1))
    return within - 2 * _sum_across(x, y, _cubic) / (n * m)


def _sum_within(x: Tensor, kernel: Kernel) -> float:
    """Over all pairs of rows, each with itself too; of two that mirror each other, one is computed."""
    total, step = 0.0, max(1, ELEMENTS // len(x))
    for start in range(0, len(x), step):
        rows = x[start : start + step]
        total += kernel(rows, rows).sum().item() + 2 * kernel(rows, x[start + step :]).sum().item()
    return total


def _sum_across(x: Tensor, y: Tensor, kernel: Kernel) -> float:
    return sum(kernel(rows, y).sum().item() for rows in x.split(max(1, ELEMENTS // len(y))))
