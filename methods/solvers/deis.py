"""DEIS (zhang2023fast, arXiv:2204.13902): x/alpha moves by the integral of eps d(rho), eps a polynomial.

In t (tAB, eq. 13 to 15) or in rho = sigma/alpha (rhoAB, eq. 17), through the last r + 1 values for degree r:
  x_{t_{i-1}} = Psi(t_{i-1}, t_i) x_{t_i} + sum_j C_ij eps(x_{t_{i+j}}, t_{i+j})   (eq. 14, C_ij of eq. 15).
On two values rhoAB1 is, with h = rho_{i-1} - rho_i and r = (rho_i - rho_{i+1})/h,
  y_{i-1} = y_i + h ((1 + 1/(2r)) eps_i - 1/(2r) eps_{i+1}),   y = x/alpha.
iPNDM-v is rhoAB by another name.
"""

import math
from collections.abc import Sequence
from functools import partial
from itertools import islice, pairwise

from torch import Tensor

from ..paths import Path
from .adams import coefficients, history, uniform
from .base import Run, ddim, eps_of
from .combinations import weighted
from .exponential import Integrator
from .unipc import UniC


def deis_tab(run: Run, x: Tensor) -> Tensor:
    """tAB of degree run.order (eq. 14)."""
    times = [node.number for node in run.nodes]
    return _steps(run, x, tab_coefficients(run.path, times, _points(run), run.options.quadrature))


def tab_coefficients(
    path: Path, times: Sequence[float], points: int | Sequence[int], quadrature: str
) -> list[list[float]]:
    """C[i][j], newest first: C_ij of eq. 15 over alpha at times[i + 1], the integral of L_j(t) d(rho).

    The published codes sum over t; Gauss' points lie in rho, which is exact for one value on every path. ValueError
    where a sum takes in clean data with dsigma/dt infinite.
    """

    def in_rho(start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        levels, weights = uniform(path.noise_level(start), path.noise_level(end))
        return path.time_at(levels), weights

    def in_t(start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        tau, weights = uniform(start, end, quadrature)
        alpha = path.alpha(tau)
        return tau, weights * (path.dsigma(tau) * alpha - path.dalpha(tau) * path.sigma(tau)) / alpha**2

    table = coefficients(times, points, in_rho if quadrature == "gauss-legendre" else in_t)
    if quadrature == "diff-sampler":
        # It sums only where it interpolates: the first step is Euler's, exactly.
        table[0] = coefficients(times[:2], 1, in_rho)[0]
    # A first step from alpha = 0 takes none of them, and may be the last.
    if float(path.alpha(times[-2])) > 0 and not all(map(math.isfinite, table[-1])):
        raise ValueError(f"quadrature {quadrature} has no value at clean data on this path: give grid.end min")
    return table


def deis_rhoab(run: Run, x: Tensor) -> Tensor:
    """rhoAB of degree run.order: Adams-Bashforth on eq. 17."""
    return _in_rho(run, x, _points(run), run.options.quadrature)


def _points(run: Run) -> int | Sequence[int]:
    """How many values each step combines, which is its order."""
    orders: Sequence[int] | None = run.options.orders
    return run.order + 1 if orders is None else orders


def ipndm_v(run: Run, x: Tensor) -> Tensor:
    """iPNDM with the exact weights of unequal steps, on at most options.max_order values."""
    return _in_rho(run, x, run.options.max_order, "gauss-legendre")


def _in_rho(run: Run, x: Tensor, points: int | Sequence[int], quadrature: str) -> Tensor:
    run.needs_signal("rhoAB integrates over sigma/alpha, which is infinite")
    levels = [node.level for node in run.nodes]
    return _steps(run, x, coefficients(levels, points, partial(uniform, name=quadrature)))


def _steps(run: Run, x: Tensor, table: list[list[float]]) -> Tensor:
    orders = [len(row) for row in table]
    values, unic = history(max(orders)), UniC.of(run, Integrator(noise=True), orders)
    for row, (t, s) in zip(table, pairwise(run.nodes), strict=True):
        if t.signal:
            values.appendleft(run.eps(x, t))
            x = x if unic is None else unic.corrected(x, values[0], t)
            x = weighted([s.alpha / t.alpha, *(s.alpha * c for c in row)], [x, *islice(values, len(row))])
        else:
            x0 = run.x0(x, t)
            values.appendleft(eps_of(x, x0, t))
            x = x if unic is None else unic.corrected(x, values[0], t)
            x = ddim(x, x0, t, s)
    return x
