"""How sure a mean over seeds is, and whether two methods differ on the same seeds."""

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
    """Mean, standard deviation (n - 1) and Student's 95 % interval. std, low, high are NaN for one value, and where one
    is not finite.
    """

    mean: float
    std: float
    low: float
    high: float
    n: int


def spread(values: Sequence[float]) -> Spread:
    n, mean = len(values), float(np.mean(values))
    if n < 2 or not np.isfinite(values).all():
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
    values, others = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    known = len(without) == len(values)
    blocks = [_rows([pair[i] for pair in without] if known else [[]] * len(values)) for i in (0, 1)]
    return bool(differ_from(values, blocks[0], others[None], blocks[1][None])[0])


def differing(values: np.ndarray, without: np.ndarray) -> np.ndarray:
    """Which of M entries differ, as `differ` says, on the seeds that both have: (M, M), bool.

    values (M, S): by seed, NaN where there is none. without (M, S, B): the values without each block of samples, NaN
    where they are unknown.
    """
    found = [differ_from(*one, values, without) for one in zip(values, without, strict=True)]
    return np.array(found)


def differ_from(values: np.ndarray, blocks: np.ndarray, others: np.ndarray, their_blocks: np.ndarray) -> np.ndarray:
    """Whether one method differs from each of n others, as `differ` says, on the seeds that both have: booleans (n,).

    values (S,), others (n, S): by seed, NaN where there is none. blocks (S, B), their_blocks (n, S, B): the values
    without each block, NaN where they are unknown or fewer.
    """
    differences = values - others
    common = ~np.isnan(differences)
    count = common.sum(1)
    found = np.where(common, differences, 0.0)
    size = np.where(common, np.abs(values), 0.0).max(1, initial=0.0)
    apart = (count > 0) & ~(np.abs(found).max(1, initial=0.0) <= ROUNDING * size)
    some = np.maximum(count, 1)
    mean = found.sum(1) / some
    squares, known = _squared_errors(blocks, their_blocks)
    luck = ERRORS * np.sqrt(np.where(common, squares, 0.0).sum(1)) / some
    apart &= ~((common <= known).all(1) & (np.abs(mean) <= luck))
    spread = np.where(common, found - mean[:, None], 0.0)
    std = np.sqrt(np.square(spread).sum(1) / np.maximum(count - 1, 1))
    quantiles = np.where(count > 2, stdtrit(np.maximum(count - 1, 1), (1 + CONFIDENCE) / 2), ERRORS)
    return np.asarray(apart & ((count < 2) | (np.abs(mean) > quantiles * std / np.sqrt(some))))


def _squared_errors(blocks: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(squared standard errors by the paired jackknife, whether they are known), by method and seed: (n, S) each."""
    own, theirs = (~np.isnan(found) for found in (blocks, others))
    counts = theirs.sum(-1)
    known = (counts > 0) & (counts == own.sum(-1))
    differences = np.where(own & theirs, blocks - others, 0.0)
    some = np.maximum(counts, 1)
    centred = np.where(own & theirs, differences - (differences.sum(-1) / some)[..., None], 0.0)
    return np.where(known, (some - 1) / some * np.square(centred).sum(-1), 0.0), known


def _rows(lists: Sequence[Sequence[float]]) -> np.ndarray:
    """The lists as rows of one array, NaN behind the shorter ones."""
    found = np.full((len(lists), max(map(len, lists), default=0)), np.nan)
    for row, values in zip(found, lists, strict=True):
        row[: len(values)] = values
    return found


def t_quantile(degrees: int) -> float:
    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
