"""Euler's method on the probability-flow ODE in (x/alpha, sigma/alpha).

It is DDIM with eta = 0 (Song et al. 2021, eq. 12) and DPM-Solver-1: one update under three names, order 1.
"""

from itertools import pairwise

from torch import Tensor

from .base import Run, ddim


def euler(run: Run, x: Tensor) -> Tensor:
    for t, s in pairwise(run.nodes):
        x = ddim(x, run.x0(x, t), t, s)
    return x
