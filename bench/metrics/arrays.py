"""Feature arrays as the metrics take them: checked, in a precision that can be computed in."""

from typing import Any

import torch
from torch import Tensor


class TooFew(ValueError):
    """A metric is not defined for so few samples."""


def as_features(features: Any, name: str) -> Tensor:
    """An array (N, D) as a tensor on its own device: float32 and float64 stay, half becomes float32, integers float64.

    Raises ValueError for fewer than two rows, other shapes, or values that are not finite.
    """
    x = torch.as_tensor(features).detach()
    if not x.is_floating_point():
        x = x.double()
    elif x.dtype != torch.float64:
        x = x.float()
    if x.ndim != 2 or x.shape[1] < 1:
        raise ValueError(f"{name} features must be (N, D) with N >= 2 and D >= 1, not {tuple(x.shape)}")
    if len(x) < 2:
        raise TooFew(f"{name} features must be (N, D) with N >= 2 and D >= 1, not {tuple(x.shape)}")
    # isfinite() would hold two more arrays of this size; a NaN or an infinity shows in the extremes.
    if not all(extreme.isfinite() for extreme in x.aminmax()):
        raise ValueError(f"{name} features hold values that are not finite")
    return x


def as_pair(real: Any, fake: Any) -> tuple[Tensor, Tensor]:
    """Both arrays, of the same D, in the higher of their precisions and where the real one is."""
    x, y = as_features(real, "real"), as_features(fake, "fake")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"real features have {x.shape[1]} dimensions, fake ones {y.shape[1]}")
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype), y.to(x.device, dtype)
