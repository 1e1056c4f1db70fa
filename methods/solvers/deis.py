"""DEIS (Zhang & Chen 2023): x/alpha moves by the integral of eps d(rho), eps a polynomial through the last
values: in t (tAB) or in rho = sigma/alpha (rhoAB). Degree r uses r + 1 values; iPNDM-v is rhoAB by another name.
"""

from itertools import pairwise

import torch
from torch import Tensor

from .adams import coefficients, history, weighted
from .base import Run, ddim, eps_of


def deis_tab(run: Run, x: Tensor) -> Tensor:
    """tAB of degree run.order (paper, eq. 13)."""
    times = [float(node.time) for node in run.nodes]

    def density(tau: Tensor) -> Tensor:
        path, alpha = run.path, run.path.alpha(tau)
        return (path.dsigma(tau) * alpha - path.dalpha(tau) * path.sigma(tau)) / alpha**2

    return _steps(run, x, coefficients(times, run.order + 1, density, run.options.quadrature), run.order + 1)


def deis_rhoab(run: Run, x: Tensor) -> Tensor:
    """rhoAB of degree run.order."""
    return _in_rho(run, x, run.order + 1, run.options.quadrature)


def ipndm_v(run: Run, x: Tensor) -> Tensor:
    """iPNDM with the exact weights of unequal steps, on at most options.max_order values."""
    return _in_rho(run, x, run.options.max_order, "gauss-legendre")


def _in_rho(run: Run, x: Tensor, points: int, quadrature: str) -> Tensor:
    run.needs_signal("rhoAB integrates over sigma/alpha, which is infinite")
    levels = [node.level for node in run.nodes]
    return _steps(run, x, coefficients(levels, points, torch.ones_like, quadrature), points)


def _steps(run: Run, x: Tensor, table: list[list[float]], points: int) -> Tensor:
    values = history(points)
    for row, (t, s) in zip(table, pairwise(run.nodes), strict=True):
        x0 = run.x0(x, t)
        values.appendleft(eps_of(x, x0, t))
        if t.signal:
            x = (s.alpha / t.alpha) * x + weighted([s.alpha * c for c in row], values)
        else:
            x = ddim(x, x0, t, s)
    return x
