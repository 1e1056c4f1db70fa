"""How sure a mean over seeds is, and which methods differ on the same seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95
ERRORS = 2.0
ROUNDING = 1e-5
"""Values closer than this, relatively, are one value computed in two orders (Euler and DPM-Solver++ at NFE 1)."""


@dataclass(frozen=True)
class Spread:
    """Mean, standard deviation (n - 1) and Student's 95 % interval; std, low, high are NaN for one value."""

    mean: float
    std: float
    low: float
    high: float
    n: int


def spread(values: Sequence[float]) -> Spread:
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Spread(mean, float("nan"), float("nan"), float("nan"), n)
    std = float(np.std(values, ddof=1))
    half = t_quantile(n - 1) * std / n**0.5
    return Spread(mean, std, mean - half, mean + half, n)


def differing(values: np.ndarray, without: np.ndarray) -> np.ndarray:
    """Which of M entries differ by more than luck, of the noises and of the training: (M, M), bool.

    values (M, S): on S seeds, NaN where an entry lacks one; two entries are compared on their common seeds, and do not
    differ if they have none. without (M, S, B): the values without each block of samples, NaN where unknown.

    Noises: the mean difference exceeds two standard errors by the paired jackknife, where the blocks of all common
    seeds are known. Training: over three seeds or more the differences pass Student's t test at 5 %, over two they
    exceed two standard errors, which says little. What cannot be tested passes.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.array([_differ_from(i, values, without) for i in range(len(values))])


def _differ_from(i: int, values: np.ndarray, without: np.ndarray) -> np.ndarray:
    """(M,): which entries differ from entry i."""
    common = ~np.isnan(values) & ~np.isnan(values[i])
    n = common.sum(1)
    differences = np.where(common, values[i] - values, 0.0)
    mean = np.abs(differences.sum(1) / n)
    largest = np.abs(np.where(common, values[i], 0.0)).max(1, initial=0.0)
    equal = np.abs(differences).max(1, initial=0.0) <= ROUNDING * largest

    counts = (~np.isnan(without)).sum(2)
    known = (~common | ((counts == counts[i]) & (counts > 0))).all(1)
    rest = without[i] - without
    rest -= np.nansum(rest, 2, keepdims=True) / counts[..., None]
    squares = (counts - 1) / counts * np.nansum(np.square(rest), 2)
    by_noise = mean <= ERRORS * np.where(common, squares, 0.0).sum(1) ** 0.5 / n

    std = (np.where(common, np.square(differences - (differences.sum(1) / n)[:, None]), 0.0).sum(1) / (n - 1)) ** 0.5
    quantiles = np.array([np.nan, np.nan, ERRORS, *(t_quantile(degrees) for degrees in range(2, values.shape[1]))])
    by_training = ~(mean > quantiles[n] * std / n**0.5)
    return (n > 0) & ~equal & ~(known & by_noise) & ~((n > 1) & by_training)


def t_quantile(degrees: int) -> float:
    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
