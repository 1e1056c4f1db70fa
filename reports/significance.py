"""How sure a mean over seeds is, and whether two methods differ on the same seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95
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


def differ(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether paired values (same seeds) differ in a two-sided t test at 5 %; one pair cannot be tested: True."""
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    if np.abs(differences).max(initial=0.0) <= ROUNDING * np.abs(np.asarray(first, dtype=float)).max(initial=0.0):
        return False
    if len(differences) < 2:
        return True
    interval = spread(differences.tolist())
    return not interval.low <= 0 <= interval.high


def t_quantile(degrees: int) -> float:
    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
