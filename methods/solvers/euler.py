"""Euler's method on the probability-flow ODE in (x/alpha, sigma/alpha).

It is DDIM with eta = 0 (Song et al. 2021, eq. 12): one update under two names, order 1.
"""

from torch import Tensor

from ..paths import Path
from .base import Denoise, steps_of


def euler(denoise: Denoise, path: Path, x: Tensor, times: Tensor) -> Tensor:
    for t, s in steps_of(times):
        x = path.ddim_step(x, denoise(x, t), t, s)
    return x
