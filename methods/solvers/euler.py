"""Euler's method on the probability-flow ODE in (x/alpha, sigma/alpha).

It is DDIM with eta = 0 (song2021denoising, arXiv:2010.02502, eq. 13) and DPM-Solver-1 (lu2022dpm,
arXiv:2206.00927, eq. 3.7): one update under three names, order 1.
"""

from itertools import pairwise

from torch import Tensor

from .base import Run, ddim


def euler(run: Run, x: Tensor) -> Tensor:
    for t, s in pairwise(run.nodes):
        x = ddim(x, run.x0(x, t), t, s)
    return x
