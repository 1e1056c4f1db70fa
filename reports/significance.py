"""How sure a mean over seeds is, and whether two methods differ on the same seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from . import jackknife

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


def differ(
    first: Sequence[float],
    second: Sequence[float],
    without: Sequence[tuple[Sequence[float], Sequence[float]]] = (),
) -> bool:
    """Whether paired values (one per common seed) differ by more than luck, of the noises and of the training.

    Noises: the mean difference exceeds two standard errors by the paired jackknife, where `without` holds for each
    seed both methods' values without each block. Training: over three seeds or more the differences pass Student's
    t test at 5 %, over two they exceed two standard errors, which says little. What cannot be tested passes.
    """
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    if np.abs(differences).max(initial=0.0) <= ROUNDING * np.abs(np.asarray(first, dtype=float)).max(initial=0.0):
        return False
    mean, n = abs(float(differences.mean())), len(differences)
    if len(without) == n:
        errors = [jackknife.standard_error(np.subtract(one, other)) for one, other in without]
        if mean <= ERRORS * float(np.square(errors).sum()) ** 0.5 / n:
            return False
    if n < 2:
        return True
    quantile = t_quantile(n - 1) if n > 2 else ERRORS
    return mean > quantile * float(differences.std(ddof=1)) / n**0.5


def t_quantile(degrees: int) -> float:
    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
