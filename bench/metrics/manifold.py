"""Improved precision and recall (Kynkäänniemi et al. 2019)."""

from typing import Any

import torch
from torch import Tensor

from .frechet import as_features

CHUNK = 2000


def precision_recall(real: Any, fake: Any, k: int = 3) -> tuple[float, float]:
    """(precision, recall) of features (N, D).

    Precision is the share of fake points inside some real point's ball, recall the share of real points
    inside some fake point's; a ball reaches to the k-th neighbour, itself excluded, and includes its edge.
    Raises ValueError unless both sets have more than k rows.
    """
    x, y = as_features(real, "real"), as_features(fake, "fake")
    if min(len(x), len(y)) <= k:
        raise ValueError(f"precision and recall with k = {k} need more than {k} rows, not {len(x)} and {len(y)}")
    return _covered(y, x, _radii(x, k)), _covered(x, y, _radii(y, k))


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    return (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * (x @ y.T)).clamp(min=0)


def _radii(x: Tensor, k: int) -> Tensor:
    """Squared distance of each row to its k-th neighbour; the row itself is left out by index."""
    radii = []
    for start in range(0, len(x), CHUNK):
        distances = _squared_distances(x[start : start + CHUNK], x)
        rows = torch.arange(len(distances))
        distances[rows, rows + start] = torch.inf
        radii.append(distances.kthvalue(k, dim=1).values)
    return torch.cat(radii)


def _covered(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    inside = 0
    for start in range(0, len(points), CHUNK):
        inside += int((_squared_distances(points[start : start + CHUNK], centres) <= radii).any(1).sum())
    return inside / len(points)
