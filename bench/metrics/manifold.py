"""Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020) of feature sets.

A set's manifold is the union of balls around its rows, each out to the row's k-th neighbour.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .arrays import TooFew, as_pair

ELEMENTS = 2**24
"""Distances held at a time, at most: 64 MB in float32."""
STRIPS = 16
"""Parts of the rows that are compared with all columns in turn; of symmetric distances (1 + 1/STRIPS) / 2 are computed.
"""
ROWS = 256
"""Rows squared, or added up in float64, at a time: a copy that stays in the cache."""
GROUP = 16
"""Distances whose least is taken first where the k least of many are sought."""


class ManifoldScores(NamedTuple):
    precision: float
    recall: float
    density: float
    coverage: float


def manifold_scores(real: Any, fake: Any, k: int = 3) -> ManifoldScores:
    """(precision, recall, density, coverage) of features (N, D); all in [0, 1] but density, which may exceed 1.

    precision: share of fake rows inside some real row's ball; recall: share of real rows inside some fake row's
    (eq. 1 and 2 of the first paper, which has k = 3). density: real balls that a fake row is in, mean over rows,
    over k; coverage: share of real rows whose ball holds a fake row (section 3 of the second, which has k = 5).

    A ball leaves out the row itself, by index, and includes its edge. Values depend on both sets' sizes.
    Computed in the precision of the features, half in float32: that may move a count by one or two.
    Raises ValueError unless both sets have more than k rows, and as `frechet_distance` does.
    """
    x, y = as_pair(real, fake)
    if not 1 <= k < min(len(x), len(y)):
        raise TooFew(f"manifolds of k = {k} neighbours need more than {k} rows, not {len(x)} and {len(y)}")
    centre = _centre(x)
    with _full_precision():
        x, y = x - centre, y - centre
        return _scores(x, y, _radii(x, k), _radii(y, k), k)


def precision_recall(real: Any, fake: Any, k: int = 3) -> tuple[float, float]:
    """(precision, recall) of `manifold_scores`."""
    scores = manifold_scores(real, fake, k)
    return scores.precision, scores.recall


def _scores(x: Tensor, y: Tensor, x_radii: Tensor, y_radii: Tensor, k: int) -> ManifoldScores:
    holding = torch.zeros(len(y), dtype=torch.int64, device=y.device)
    recalled = covered = 0
    for start, distances in _distances(x, y):
        radii = x_radii[start : start + len(distances)]
        holding += _count(distances <= radii[:, None])
        covered += int((distances.amin(1) <= radii).sum())
        recalled += int((distances <= y_radii).view(torch.uint8).amax(1).sum())
    return ManifoldScores(
        precision=int((holding > 0).sum()) / len(y),
        recall=recalled / len(x),
        density=int(holding.sum()) / (k * len(y)),
        coverage=covered / len(x),
    )


def _count(inside: Tensor) -> Tensor:
    """How many of each column (rows, N) are true: (N,). In bytes, which are summed ten times as fast as integers."""
    return torch.stack([part.sum(0, dtype=torch.uint8) for part in inside.view(torch.uint8).split(255)]).sum(0)


def _radii(x: Tensor, k: int) -> Tensor:
    """Squared distance of each row to its k-th neighbour, itself left out; each distance is computed for both rows."""
    nearest = x.new_full((len(x), k), torch.inf)
    step = _step(len(x), len(x))
    squares = _squares(x)
    for first in range(0, len(x), step):
        last = min(first + step, len(x))
        distances = _distance(x[first:last], x[first:], squares[first:last], squares[first:])
        distances.fill_diagonal_(torch.inf)
        _keep(nearest[first:last], _least(distances, k, 1))
        if last < len(x):
            _keep(nearest[last:], _least(distances[:, last - first :], k, 0).T)
    return nearest.amax(1)


def _keep(nearest: Tensor, found: Tensor) -> None:
    """The least of the distances known (N, k) and found (N, any number)."""
    nearest.copy_(torch.cat([nearest, found], 1).topk(nearest.shape[1], largest=False).values)


def _least(distances: Tensor, k: int, dim: int) -> Tensor:
    """The k least along a dimension, or all if they are fewer: they are in the k groups with the least minima."""
    groups, size = distances.shape[dim] // GROUP, distances.shape[dim]
    if groups <= k:
        return distances.topk(min(k, size), dim, largest=False).values
    whole = distances.narrow(dim, 0, groups * GROUP).unflatten(dim, (groups, GROUP))
    chosen = whole.amin(dim + 1, keepdim=True).topk(k, dim, largest=False).indices
    shape = [-1] * whole.ndim
    shape[dim + 1] = GROUP
    candidates = whole.gather(dim, chosen.expand(shape)).flatten(dim, dim + 1)
    rest = distances.narrow(dim, groups * GROUP, size - groups * GROUP)
    return torch.cat([candidates, rest], dim).topk(k, dim, largest=False).values


def _distances(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(first row, squared distances (rows, N) of the next rows of x to all of y)."""
    of_x, of_y = _squares(x), _squares(y)
    step = _step(len(x), len(y))
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        yield start, _distance(x[rows], y, of_x[rows], of_y)


def _squares(x: Tensor) -> Tensor:
    """|x|^2 of each row, (N,)."""
    return torch.cat([part.square().sum(1) for part in x.split(ROWS)])


def _step(rows: int, columns: int) -> int:
    return max(1, min(ELEMENTS // columns, -(-rows // STRIPS)))


def _distance(x: Tensor, y: Tensor, of_x: Tensor, of_y: Tensor) -> Tensor:
    """|x|^2 + |y|^2 - 2 x y of the rows, whose squares are given: (rows of x, rows of y)."""
    return torch.addmm(of_y, x, y.T, alpha=-2).add_(of_x[:, None]).clamp_(min=0)


def _centre(x: Tensor) -> Tensor:
    """The mean, in whole multiples of a power of two that is no less than the features' spread.

    |a|^2 + |b|^2 - 2ab loses digits far from the origin, and near is good enough. The multiples keep features that
    lie on a grid on it: distances that are equal stay equal, and so does who is on a ball's edge.
    """
    mean = sum(part.sum(0, dtype=torch.float64) for part in x.split(ROWS)) / len(x)
    spread = x.var(0).double().mean().sqrt()
    if not spread > 0:
        return mean.to(x.dtype)
    unit = torch.exp2(torch.log2(spread).ceil())
    return ((mean / unit).round() * unit).to(x.dtype)


@contextmanager
def _full_precision() -> Iterator[None]:
    """No TF32 in products of float32, whatever training has set."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
