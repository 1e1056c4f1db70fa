"""Linear combinations of states, each term in one pass over its tensor."""

from collections.abc import Iterable

from torch import Tensor

from ..paths import Scalar, plus


def weighted(weights: Iterable[Scalar], values: Iterable[Tensor]) -> Tensor:
    """sum_j weights[j] values[j]."""
    (weight, value), *others = zip(weights, values, strict=True)
    total = weight * value
    for weight, value in others:
        total = plus(total, weight, value)
    return total
