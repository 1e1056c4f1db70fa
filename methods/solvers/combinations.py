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


class Combination:
    """A sum of numbers times tensors, not worked out before `value` asks: a tensor that comes twice is one term, and
    what cancels costs nothing. A solver's formulas can so be written one after another.
    """

    def __init__(self, *terms: tuple[float, Tensor]) -> None:
        merged: dict[int, tuple[float, Tensor]] = {}
        for weight, value in terms:
            before = merged.get(id(value))
            merged[id(value)] = (weight if before is None else before[0] + weight, value)
        self._terms = [term for term in merged.values() if term[0] != 0]

    def terms(self, scale: float = 1.0) -> list[tuple[float, Tensor]]:
        """Those of `scale` times the sum."""
        return [(scale * weight, value) for weight, value in self._terms]

    def told_by(self, known: "Combination", value: Tensor) -> "Combination":
        """The same sum as `value`, what `known` is worth, and the terms in which it differs from that one."""
        return Combination((1.0, value), *self._terms, *known.terms(-1.0))

    def value(self) -> Tensor:
        """The sum, a new tensor unless it is one of its tensors itself."""
        weights, values = zip(*self._terms, strict=True)
        return values[0] if weights == (1.0,) else weighted(weights, values)
