"""Explicit Runge-Kutta methods on the probability-flow ODE, in the path's t, in rho = sigma/alpha, or in
lambda = log(alpha/sigma).

In t they are the fixed-step solvers of flow matching (lipman2023flow, arXiv:2210.02747, section unchecked), and
with the tableau "heun" EDM's sampler for any sigma(t) and s(t) (karras2022elucidating, arXiv:2206.00364,
algorithm 1). In rho they are DEIS's rhoRK (zhang2023fast, arXiv:2204.13902, eq. 17), in lambda what DPM-Solver
is compared with (lu2022dpm, arXiv:2206.00927, table 1).
"""

from itertools import pairwise
from operator import attrgetter

import torch
from torch import Tensor

from ..paths import Path, axpby, plus
from .base import Node, Run, ddim, nodes

Row = tuple[float, ...]

TABLEAUX: dict[str, tuple[Row, tuple[Row, ...], Row]] = {
    "euler": ((0.0,), ((),), (1.0,)),
    "midpoint": ((0.0, 1 / 2), ((), (1 / 2,)), (0.0, 1.0)),
    "heun": ((0.0, 1.0), ((), (1.0,)), (1 / 2, 1 / 2)),
    "kutta3": ((0.0, 1 / 2, 1.0), ((), (1 / 2,), (-1.0, 2.0)), (1 / 6, 4 / 6, 1 / 6)),
    "heun3": ((0.0, 1 / 3, 2 / 3), ((), (1 / 3,), (0.0, 2 / 3)), (1 / 4, 0.0, 3 / 4)),
    "rk4": (
        (0.0, 1 / 2, 1 / 2, 1.0),
        ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    ),
    "rk4-3/8": (
        (0.0, 1 / 3, 2 / 3, 1.0),
        ((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)),
        (1 / 8, 3 / 8, 3 / 8, 1 / 8),
    ),
}
"""name -> (c, a, b) in Butcher's notation."""
POSITION = {"t": "number", "rho": "level", "lambda": "half_log_snr"}
"""A node's field that is the variable of integration."""


def runge_kutta(run: Run, x: Tensor) -> Tensor:
    """Steps of the tableau. A stage at clean data, where eps has no value, is asked just above it.

    Raises ValueError where the last step is a full one to clean data and dsigma/dt (VP, in t) or lambda is infinite
    there, in rho and lambda where the grid starts without signal.
    """
    o, in_rho = run.options, run.options.variable == "rho"
    _refuse_infinite(run)
    (c, a, b), position = TABLEAUX[o.tableau], attrgetter(POSITION[o.variable])
    stages = _stages(run, x, c)
    for i, (t, s) in enumerate(pairwise(run.nodes)):
        if s.clean and o.last_step == "euler":
            in_t = o.variable == "t"
            return plus(x, s.number - t.number, _slope(run, x, t)) if in_t else ddim(x, run.x0(x, t), t, s)
        h = position(s) - position(t)
        y = x / t.alpha if in_rho else x
        slopes: list[Tensor] = []
        for stage, row in zip(stages[i], a, strict=True):
            at = _combined(y, h, row, slopes)
            at = at * stage.alpha if in_rho else at
            slopes.append(_slope(run, at, stage))
        y = _combined(y, h, b, slopes)
        x = y * s.alpha if in_rho else y
    return x


def _refuse_infinite(run: Run) -> None:
    variable, last = run.options.variable, run.nodes[-1]
    if variable != "t":
        run.needs_signal("a method in sigma/alpha is infinite")
    if not last.clean or run.options.last_step == "euler":
        return
    if variable == "lambda":
        raise ValueError("lambda is infinite at clean data: grid.end: min, or last_step: euler")
    if variable == "t" and abs(last.dsigma) == float("inf"):
        raise ValueError("dx/dt is infinite at clean data on this path: grid.end: min, or last_step: euler")


def _slope(run: Run, x: Tensor, t: Node) -> Tensor:
    """eps = d(x/alpha)/d(rho), dx/d(lambda) = x (log alpha)'/lambda' - sigma eps with ' = d/dt, or
    dx/dt = alpha' D + sigma' (x - alpha D)/sigma.
    """
    if run.options.variable == "rho":
        return run.eps(x, t)
    if run.options.variable == "lambda":
        growth = t.dalpha / t.alpha
        return axpby(growth / (growth - t.dsigma / t.sigma), x, -t.sigma, run.eps(x, t))
    growth = t.dsigma / t.sigma
    return axpby(growth, x, t.dalpha - growth * t.alpha, run.x0(x, t))


def _combined(y: Tensor, h: float, weights: Row, slopes: list[Tensor]) -> Tensor:
    for weight, slope in zip(weights, slopes, strict=True):
        y = plus(y, h * weight, slope) if weight else y
    return y


def _stages(run: Run, x: Tensor, c: Row) -> list[list[Node]]:
    """The nodes of each step's stages."""
    shares = torch.tensor(c, dtype=torch.float64)
    ends = torch.tensor([node.number for node in run.nodes], dtype=torch.float64)
    variable = run.options.variable
    at = torch.tensor([getattr(node, POSITION[variable]) for node in run.nodes], dtype=torch.float64)
    times = _time(run.path, variable, at[:-1, None] + (at[1:] - at[:-1])[:, None] * shares)
    # The ends themselves, not as the arithmetic leaves them; a flow's path has no time beyond them.
    times = torch.where(shares == 1, ends[1:, None], torch.where(shares == 0, ends[:-1, None], times))
    nearly_clean = run.path.time_at(torch.finfo(x.dtype).eps ** 0.5).double()
    flat = torch.where(run.path.sigma(times) == 0, nearly_clean, times).flatten()
    found = nodes(run.path, flat, x)
    return [found[i : i + len(c)] for i in range(0, len(found), len(c))]


def _time(path: Path, variable: str, at: Tensor) -> Tensor:
    """The times at which the variable has these values."""
    if variable == "t":
        return at
    return path.time_at(torch.exp(-at) if variable == "lambda" else at)
