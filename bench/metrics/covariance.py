"""Means and covariances of features, in float64."""

import torch
from torch import Tensor

PANEL = 192
"""Columns at a time where half of a product is not needed. Powers of two are slower: their strides share cache sets."""

ROWS = 4096
"""Rows at a time in float64."""


def mean_and_covariance(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D) of features (N, D), which divides by N - 1, in float64."""
    mean = x.mean(0, dtype=torch.float64)
    return mean, scatter(x, mean) / (len(x) - 1)


def scatter(x: Tensor, centre: Tensor) -> Tensor:
    """Sum over rows of (x - centre)(x - centre)^T: half of it is computed, the other half copied."""
    found = centre.new_zeros(len(centre), len(centre))
    columns = panels(len(centre))
    for part in x.split(ROWS):
        rows = part - centre
        for a, b in columns:
            found[a:, a:b].addmm_(rows[:, a:].T, rows[:, a:b])
    for a, b in columns:
        found[a:b, b:] = found[b:, a:b].T
    return found


def panels(columns: int) -> list[tuple[int, int]]:
    """(first, past the last) column of each panel."""
    return [(a, min(a + PANEL, columns)) for a in range(0, columns, PANEL)]
