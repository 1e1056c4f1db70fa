"""A network that others trained, whatever its form, with all that a denoiser of it needs to know."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from ..paths import Path

Prediction = Literal["F", "x0", "eps", "v", "velocity", "score"]
"""What the network's first channels are; F is that of EDM's preconditioning with sigma_data."""


@dataclass(frozen=True)
class Pretrained:
    """What the forms in `forms` make of a file, and what `preconditioned` makes a denoiser of.

    network: called (x, time, labels) -> (B, C, H, W) or, with a variance in its second half, (B, 2C, H, W).
    x: (B, C, H, W) at the scale of `path`, in the network's dtype (F: scaled by c_in). time: (B,), what `time_of`
    makes of the path's t (B,), float32 or float64 whatever the network's dtype. labels: (B,) int64 from 0 to
    classes - 1, `classes` for the null label where `null`; None if unconditional.
    path: that it was trained on. prediction: what it says there. shape: (C, H, W) of one sample.
    null: whether it knows the null label of classifier-free guidance. sigma_data: of F alone.
    """

    network: nn.Module
    path: Path
    prediction: Prediction
    time_of: Callable[[Tensor], Tensor]
    shape: tuple[int, int, int]
    classes: int = 0
    null: bool = False
    sigma_data: float = 0.5
