"""Linear combinations of states, each term in one pass over its tensor."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

Scalar = Any
"""A Python float, or a tensor that multiplies x where every sample has a time of its own."""


def plus(x: Tensor, c: Scalar, y: Tensor) -> Tensor:
    """x + c y."""
    return x + c * y if isinstance(c, Tensor) else torch.add(x, y, alpha=c)


def weighted(weights: Iterable[Scalar], values: Iterable[Tensor]) -> Tensor:
    """sum_j weights[j] values[j]."""
    (weight, value), *others = zip(weights, values, strict=True)
    total = weight * value
    for weight, value in others:
        total = plus(total, weight, value)
    return total
