"""Fréchet distance between Gaussians fitted to two feature sets, in float64 (Heusel et al. 2017, eq. 6)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def frechet_distance(real: Any, fake: Any) -> float:
    """|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2) for features (N, D); covariances divide by N - 1.

    Accurate with fewer samples than dimensions too, where the trace is the nuclear norm of X1 X2^T.
    Raises ValueError for fewer than two rows, other shapes, or values that are not finite.
    """
    x, y = as_features(real, "real"), as_features(fake, "fake")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"real features have {x.shape[1]} dimensions, fake ones {y.shape[1]}")
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = (x - mean_x) / (len(x) - 1) ** 0.5, (y - mean_y) / (len(y) - 1) ** 0.5
    if min(len(x), len(y)) <= x.shape[1]:
        root = torch.linalg.svdvals(x @ y.T).sum()
    else:
        root = _trace_of_root(x.T @ x, y.T @ y)
    return float((mean_x - mean_y).square().sum() + x.square().sum() + y.square().sum() - 2 * root)


def frechet_without(real: Any, fake: Any, blocks: Sequence[tuple[int, int]]) -> list[float]:
    """The distance with each block of fake rows (first, past the last) left out, in turn.

    The moments of the rest are the whole's less the block's; where that is fewer rows than dimensions, from the rows.
    """
    x, y = as_features(real, "real"), as_features(fake, "fake")
    if min(len(x), len(y) - max(last - first for first, last in blocks)) <= x.shape[1]:
        return [frechet_distance(x, torch.cat([y[:first], y[last:]])) for first, last in blocks]
    mean_x = x.mean(0)
    cov_x = (x - mean_x).T @ (x - mean_x) / (len(x) - 1)
    factor = _factor(cov_x)
    centre = y.mean(0)
    y = y - centre
    total, products = y.sum(0), y.T @ y
    found = []
    for first, last in blocks:
        rest, block = len(y) - (last - first), y[first:last]
        mean = (total - block.sum(0)) / rest
        cov = (products - block.T @ block - rest * torch.outer(mean, mean)) / (rest - 1)
        root = _root_of(factor, cov)
        found.append(float((mean_x - centre - mean).square().sum() + cov_x.trace() + cov.trace() - 2 * root))
    return found


def frechet_from_moments(mean1: Any, cov1: Any, mean2: Any, cov2: Any) -> float:
    """The same distance from means (D,) and covariances (D, D)."""
    m1, s1, m2, s2 = (torch.as_tensor(value, dtype=torch.float64) for value in (mean1, cov1, mean2, cov2))
    return float((m1 - m2).square().sum() + s1.trace() + s2.trace() - 2 * _trace_of_root(s1, s2))


def _trace_of_root(s1: Tensor, s2: Tensor) -> Tensor:
    """tr (S1 S2)^(1/2) as the root eigenvalues of F^T S2 F with F F^T = S1: symmetric problems only."""
    return _root_of(_factor(s1), s2)


def _factor(s1: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(s1)
    return vectors * values.clamp(min=0).sqrt()


def _root_of(factor: Tensor, s2: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(factor.T @ s2 @ factor).clamp(min=0).sqrt().sum()


def as_features(features: Any, name: str) -> Tensor:
    """A feature array (N, D) as a float64 tensor, checked."""
    x = torch.as_tensor(features).detach().to(torch.float64).cpu()
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"{name} features must be (N, D) with N >= 2, not {tuple(x.shape)}")
    if not x.isfinite().all():
        raise ValueError(f"{name} features hold values that are not finite")
    return x
