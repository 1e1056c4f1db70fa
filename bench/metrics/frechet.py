"""Fréchet distance between Gaussians fitted to two feature sets, in float64 (Heusel et al. 2017, eq. 6).

The trace of the root needs no root of a matrix, and no solver for matrices that are not symmetric:
with F F^T = S1, tr (S1 S2)^(1/2) is the sum of the root eigenvalues of F^T S2 F; with G G^T = S2 as well,
the sum of the singular values of F^T G.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .arrays import TooFew, as_features, as_pair
from .covariance import mean_and_covariance, panels, scatter


class Gaussian:
    """A mean (D,) and a covariance S (D, D)."""

    def __init__(self, mean: Tensor, cov: Tensor) -> None:
        self.mean, self.cov = mean, cov

    @cached_property
    def factor(self) -> Tensor:
        """F (D, rank) with F F^T = S, zero above its diagonal."""
        return _factor(self.cov)

    @property
    def rank(self) -> int:
        return self.factor.shape[1]

    @property
    def variance(self) -> Tensor:
        """tr S"""
        return self.cov.trace()


class FewRows(NamedTuple):
    """The Gaussian of fewer samples than dimensions, whose covariance itself would lose half of the digits."""

    mean: Tensor
    factor: Tensor

    @property
    def variance(self) -> Tensor:
        return self.factor.square().sum()


class Known(tuple[Any, Any]):
    """A reference's mean (D,) and covariance (D, D), factored once for all that is compared with them. They must not
    change.
    """

    @cached_property
    def gaussian(self) -> Gaussian:
        return _given(*self)


def frechet_distance(real: Any, fake: Any) -> float:
    """|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2) for features (N, D); covariances divide by N - 1.

    At least 0 up to round-off, without an upper bound. Accurate with fewer samples than dimensions too.
    Raises ValueError for fewer than two rows, other shapes, or values that are not finite.
    """
    x, y = as_pair(real, fake)
    return _distance(_fitted(x), _fitted(y))


def frechet_without(real: Any, fake: Any, blocks: Sequence[tuple[int, int]]) -> list[float]:
    """The distance with each block of fake rows (first, past the last) left out, in turn.

    The moments of the rest are the whole's less the block's; where that is fewer rows than dimensions, from the rows.
    """
    x, y = as_pair(real, fake)
    reference = _fitted(x)
    return [_distance(reference, rest) for rest in _rests(y, blocks)]


def frechet_to_moments(mean: Any, cov: Any, fake: Any, blocks: Sequence[tuple[int, int]]) -> tuple[float, list[float]]:
    """(distance of features (N, D) to a reference's mean (D,) and covariance (D, D); the same without each block)."""
    return frechet_to_reference((mean, cov), fake, blocks)


def frechet_to_reference(
    reference: tuple[Any, Any], fake: Any, blocks: Sequence[tuple[int, int]]
) -> tuple[float, list[float]]:
    """The same of a reference (mean, covariance), which is factored once if it is Known."""
    known, y = _known(reference).gaussian, as_features(fake, "fake")
    return _distance(known, _fitted(y)), [_distance(known, rest) for rest in _rests(y, blocks)]


def frechet_from_moments(mean1: Any, cov1: Any, mean2: Any, cov2: Any) -> float:
    """The same distance from means (D,) and covariances (D, D). Raises ValueError for values that are not finite.

    Singular covariances, as of fewer samples than dimensions, count up to their numerical rank.
    """
    return next(frechet_to((mean1, cov1), [(mean2, cov2)]))


def frechet_to(reference: tuple[Any, Any], others: Iterable[tuple[Any, Any]]) -> Iterator[float]:
    """The distance of one Gaussian (mean (D,), covariance (D, D)) to each of several; the one is factored once."""
    known = _known(reference).gaussian
    for other in others:
        yield _distance(known, _given(*other))


def _known(reference: tuple[Any, Any]) -> Known:
    return reference if isinstance(reference, Known) else Known(reference)


def _distance(a: Gaussian | FewRows, b: Gaussian | FewRows) -> float:
    return float((a.mean - b.mean).square().sum() + a.variance + b.variance - 2 * _trace_of_root(a, b))


def _trace_of_root(a: Gaussian | FewRows, b: Gaussian | FewRows) -> Tensor:
    """tr (S1 S2)^(1/2)"""
    if isinstance(a, FewRows) or isinstance(b, FewRows):
        return torch.linalg.svdvals(a.factor.T @ b.factor).sum()
    squares = torch.linalg.eigvalsh(_sandwich(a.factor, b.cov))
    # An eigenvalue that ought to be 0 adds the root of a round-off error: the factor of the lower rank leaves fewest.
    if a.rank and squares[0] < _noise(squares) and b.rank < a.rank:
        squares = torch.linalg.eigvalsh(_sandwich(b.factor, a.cov))
    return squares.clamp(min=0).sqrt().sum()


def _noise(values: Tensor) -> Tensor:
    """Eigenvalues (rising) below this, the solver's own error, say nothing."""
    return len(values) * torch.finfo(values.dtype).eps * values[-1]


def _fitted(x: Tensor) -> Gaussian | FewRows:
    if len(x) <= x.shape[1]:
        mean = x.mean(0, dtype=torch.float64)
        return FewRows(mean, (x - mean).T / (len(x) - 1) ** 0.5)
    return Gaussian(*mean_and_covariance(x))


def _rests(y: Tensor, blocks: Sequence[tuple[int, int]]) -> Iterator[Gaussian | FewRows]:
    """Of the rows without each block: the whole's moments less the block's, unless dimensions are more than rows."""
    fewest = len(y) - max(last - first for first, last in blocks)
    if fewest < 2:
        raise TooFew(f"{len(y)} rows without a block of them are fewer than two: no covariance")
    if fewest <= y.shape[1]:
        yield from (_fitted(torch.cat([y[:first], y[last:]])) for first, last in blocks)
        return
    # About a centre of their own, as subtraction is exact enough only where the mean is not the larger part.
    centre = y.mean(0, dtype=torch.float64)
    products = scatter(y, centre)
    for first, last in blocks:
        block, count = y[first:last], len(y) - (last - first)
        # The whole's sum about its own mean is 0.
        mean = -(block - centre).sum(0) / count
        cov = (products - scatter(block, centre) - count * torch.outer(mean, mean)) / (count - 1)
        yield Gaussian(centre + mean, cov)


def _given(mean: Any, cov: Any) -> Gaussian:
    m, s = (torch.as_tensor(value).detach().double() for value in (mean, cov))
    if m.ndim != 1 or s.shape != (len(m), len(m)):
        raise ValueError(f"moments must be (D,) and (D, D), not {tuple(m.shape)} and {tuple(s.shape)}")
    if not (_is_finite(m) and _is_finite(s)):
        raise ValueError("moments hold values that are not finite")
    return Gaussian(m, s if torch.equal(s, s.T) else (s + s.T) / 2)


def _is_finite(x: Tensor) -> bool:
    """By the sum first, which is quicker; that of large numbers may be infinite."""
    return bool(x.sum().isfinite() or x.isfinite().all())


def _factor(cov: Tensor) -> Tensor:
    """F (D, rank), zero above its diagonal, with F F^T = cov: Cholesky's where the covariance has full rank."""
    factor, failed = torch.linalg.cholesky_ex(cov)
    if not failed:
        return factor
    values, vectors = torch.linalg.eigh(cov)
    # The roots of the others would add up.
    kept = values > _noise(values)
    return torch.linalg.qr((vectors[:, kept] * values[kept].sqrt()).T, mode="r").R.T


def _sandwich(factor: Tensor, cov: Tensor) -> Tensor:
    """F^T S F on and below the diagonal, which is what eigvalsh reads, for an F that is zero above its own."""
    product, found = torch.empty_like(factor), factor.new_zeros(factor.shape[1], factor.shape[1])
    for a, b in panels(factor.shape[1]):
        torch.mm(cov[:, a:], factor[a:, a:b], out=product[:, a:b])
        torch.mm(factor[a:, a:b].T, product[a:, :b], out=found[a:b, :b])
    return found
