"""How far a metric of n samples may be from its mean over all samples: the delete-block jackknife (no torch).

The samples of a seed fall into the same blocks for every method, so that two methods are compared block by block.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

BLOCKS = 20
"""The standard error is itself uncertain by about 1/sqrt(2 (BLOCKS - 1)), 16 %."""


def bounds(count: int, blocks: int = BLOCKS) -> list[tuple[int, int]]:
    """(first, past the last) sample of each block, as even as can be; fewer blocks where samples are fewer."""
    blocks = min(blocks, count)
    edges = [i * count // blocks for i in range(blocks + 1)]
    return list(pairwise(edges))


def standard_error(without: Sequence[float] | np.ndarray) -> float:
    """sqrt((B - 1)/B sum_i (v_i - mean)^2) of the values without block i; of a difference, from differences."""
    values = np.asarray(without, dtype=float)
    return float(np.sqrt((len(values) - 1) / len(values) * np.square(values - values.mean()).sum()))


def corrected(value: float, without: Sequence[float]) -> float:
    """B v - (B - 1) mean_i v_i: without the bias of order 1/n, such as that of Fréchet distances."""
    blocks = len(without)
    return float(blocks * value - (blocks - 1) * np.mean(without))
