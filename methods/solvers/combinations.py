"""Linear combinations of any number of states."""

from collections.abc import Iterable

from torch import Tensor

from ..paths import Scalar


def weighted(weights: Iterable[Scalar], values: Iterable[Tensor]) -> Tensor:
    """sum_j weights[j] values[j], in one new tensor where the weights are numbers."""
    (weight, value), *others = zip(weights, values, strict=True)
    total = weight * value
    for weight, value in others:
        total = total + weight * value if isinstance(weight, Tensor) else total.add_(value, alpha=weight)
    return total
