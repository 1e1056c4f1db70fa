"""Features of samples by the network that is trained on their data set, read and computed in batches."""

from typing import Any

from torch import Tensor

from ..metrics.batch_size import batched, joined
from . import extractor
from .shards import Rows, fitting

ROOM = 2**25
"""Bytes of a batch in float32, at most."""


def features(network: Any, x0: Rows) -> Tensor:
    """The features (N, D) of samples (N, ...), on the CPU."""
    size = min(extractor.BATCH, fitting(x0[:1].shape[1:], ROOM))
    parts = batched(
        "features", range(len(x0)), size, lambda rows: extractor.features(network, x0[rows.start : rows.stop])
    )
    return joined(parts, len(x0))
