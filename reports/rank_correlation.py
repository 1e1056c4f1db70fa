"""Kendall's tau-b and Spearman's rho of ranks in groups, with intervals that hold for a handful of rows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .significance import CONFIDENCE, ROUNDING

LEAST = 5
"""Rows below which no order says anything: two random orders of four are the same one time in 24."""
DRAWS = 4000
STEPS = 11
"""Halvings of the search for an end of an interval: to 1e-3."""
EQUAL = 1e-5
"""Less than any two values of a few dozen rows differ by."""

Groups = tuple[tuple[int, ...], ...]
"""Of each group, whose row each of its ranks is: rows are numbered through all groups."""
Ranks = Sequence[tuple[np.ndarray, np.ndarray]]
"""Of each group, the ranks on one side and on the other: (..., n) each."""


@dataclass(frozen=True)
class Correlation:
    """In [-1, 1], with the ends of its 95 % interval; NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan


NONE = Correlation(math.nan)


def ranks(values: Sequence[float]) -> np.ndarray:
    """From 1, the least first; ties share their mean rank.

    Tied are values that are one value computed in two orders (ROUNDING), and infinite ones.
    """
    found = np.asarray(values, dtype=float)
    first, second = found[:, None], found[None, :]
    with np.errstate(invalid="ignore"):
        apart = np.abs(second - first) > ROUNDING * np.minimum(np.abs(first), np.abs(second))
    less = apart & (second < first)
    return np.asarray(1 + less.sum(1) + ((~apart).sum(1) - 1) / 2)


def tau_b(groups: Ranks) -> np.ndarray:
    """(C - D) / sqrt((C + D + X) (C + D + Y)) over the pairs within each group (Kendall 1945).

    C, D: pairs in the same and in the opposite order; X, Y: pairs tied on the one side alone. NaN where all are tied.
    """
    signs = [tuple(np.sign(np.diff(side[..., _pairs(side.shape[-1])])[..., 0]) for side in group) for group in groups]
    return _correlation(signs)


def spearman(groups: Ranks) -> np.ndarray:
    """The correlation of the ranks within each group, over all groups. NaN where all are tied."""
    return _correlation([tuple(side - side.mean(-1, keepdims=True) for side in group) for group in groups])


def tau_interval(value: float, groups: Groups) -> Correlation:
    """Of tau-b: see `_interval`. In a normal law of correlation r tau is 2/pi asin r."""
    return _interval(value, groups, tau_b, lambda tau: math.sin(math.pi * tau / 2))


def spearman_interval(value: float, groups: Groups) -> Correlation:
    """Of Spearman's rho: see `_interval`. In a normal law of correlation r it is 6/pi asin(r/2)."""
    return _interval(value, groups, spearman, lambda rho: 2 * math.sin(math.pi * rho / 6))


def _interval(
    value: float, groups: Groups, statistic: Callable[[Ranks], np.ndarray], law: Callable[[float], float]
) -> Correlation:
    """All correlations under which a value as large, and one as small, comes in at least 2.5 % of draws.

    The rows are drawn from a normal law of two variables, which for ranks stands for every law that a monotone change
    of either variable makes normal. A row in several groups has the same two values in all, as if its other groups
    told nothing new, so that the interval is rather too wide.
    """
    if math.isnan(value):
        return NONE

    def excluded(candidate: float, above: bool) -> bool:
        drawn = statistic(_drawn(groups, law(candidate)))
        as_far = drawn >= value - EQUAL if above else drawn <= value + EQUAL
        return bool(np.mean(as_far) < (1 - CONFIDENCE) / 2)

    low = _end(lambda candidate: excluded(candidate, above=True), -1.0, value)
    high = _end(lambda candidate: excluded(candidate, above=False), 1.0, value)
    return Correlation(value, low, high)


def _end(excluded: Callable[[float], bool], outside: float, inside: float) -> float:
    """Where the candidates begin that are not excluded, from `outside` to `inside`."""
    if abs(outside - inside) < EQUAL or not excluded(outside):
        return outside
    for _ in range(STEPS):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if excluded(middle) else (outside, middle)
    return outside


def _drawn(groups: Groups, correlation: float) -> Ranks:
    """Ranks (DRAWS, n) in each group. All correlations share their random numbers, so that they vary smoothly."""
    first, second = _normals(1 + max(row for group in groups for row in group))
    other = correlation * first + math.sqrt(max(0.0, 1 - correlation**2)) * second
    return [tuple(_order(side[:, list(group)]) for side in (first, other)) for group in groups]  # type: ignore[misc]


@lru_cache(maxsize=8)
def _normals(rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(DRAWS, rows)), rng.normal(size=(DRAWS, rows))


def _order(values: np.ndarray) -> np.ndarray:
    return values.argsort(-1).argsort(-1).astype(np.float32)


@lru_cache(maxsize=64)
def _pairs(count: int) -> np.ndarray:
    """(count (count - 1) / 2, 2)."""
    return np.stack(np.triu_indices(count, 1), axis=-1)


def _correlation(groups: Sequence[tuple[np.ndarray, ...]]) -> np.ndarray:
    """sum x y / sqrt(sum x^2 sum y^2) over the last axis and the groups."""
    xy, xx, yy = (sum((group[i] * group[j]).sum(-1) for group in groups) for i, j in ((0, 1), (0, 0), (1, 1)))
    with np.errstate(invalid="ignore"):
        return np.asarray(xy / np.sqrt(xx * yy))
