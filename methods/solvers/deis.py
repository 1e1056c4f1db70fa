"""DEIS (Zhang & Chen 2023): x/alpha moves by the integral of eps d(rho), eps a polynomial through the last
values: in t (tAB) or in rho = sigma/alpha (rhoAB). Degree r uses r + 1 values; iPNDM-v is rhoAB by another name.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ..paths import Path
from .adams import coefficients, history, weighted
from .base import Run, ddim, eps_of


def deis_tab(run: Run, x: Tensor) -> Tensor:
    """tAB of degree run.order (paper, eq. 13)."""
    times, points = [float(node.time) for node in run.nodes], run.order + 1
    return _steps(run, x, tab_coefficients(run.path, times, points, run.options.quadrature), points)


def tab_coefficients(path: Path, times: Sequence[float], points: int, quadrature: str) -> list[list[float]]:
    """C[i][j], newest first: the paper's C_ij over alpha at times[i + 1], with rho = sigma/alpha in
    C[i][j] = integral of d(rho)/dt L_j(t) dt.
    """

    def density(tau: Tensor) -> Tensor:
        alpha = path.alpha(tau)
        return (path.dsigma(tau) * alpha - path.dalpha(tau) * path.sigma(tau)) / alpha**2

    return coefficients(times, points, density, quadrature)


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
