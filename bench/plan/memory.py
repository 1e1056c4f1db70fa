"""Whether true paths that a row learns from, which its training holds all at once, fit into this machine. No torch."""

import math
import os
from collections.abc import Sequence
from typing import Any

from ...methods.options import Options
from ..suite import units
from ..suite.schema import Budget, MethodEntry

# What does not fit has no result.
PART_OF_RESULTS = False

KEPT = 2
"""Arrays of float32 that hold a path: states and slopes."""


def lacking_memory(entry: MethodEntry, budget: Budget, shape: Sequence[int]) -> str | None:
    """What the true paths of a row take, of samples of `shape`, where this machine has less; None where it has enough
    or does not say.
    """
    most, here = max(paths_bytes(options, budget, shape) for options in entry.trials()), _bytes_here()
    if here is None or most <= here:
        return None
    takes = f"{most / 1e9:,.0f} GB of memory for its true paths, and this machine has {here / 1e9:,.0f} GB"
    return f"{takes}: give fewer trajectories, or fewer nodes"


def paths_bytes(options: Options, budget: Budget, shape: Sequence[int]) -> int:
    """Bytes of the true paths that a training run keeps; 0 for one that learns from none."""
    truth: Any = getattr(options, "truth", None) or options
    # Knowledge distillation has true paths for one of its losses.
    if not hasattr(truth, "nodes") or getattr(options, "loss", None) == "sample":
        return 0
    count = units.asked(budget, options, options.model_dump(mode="json"))[1].get("trajectories", truth.trajectories)
    return KEPT * 4 * int(truth.nodes) * int(count) * math.prod(shape)


def _bytes_here() -> int | None:
    if not hasattr(os, "sysconf"):
        return None
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
