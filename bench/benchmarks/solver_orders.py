"""Orders of accuracy: what each solver should show, and what it shows on two laws with a known solution.

The expected orders are those that the authors' code shows on log-SNR grids. Some are lower than the name
says: iPNDM and PNDM use the weights of equal steps, DPM-Solver++(3M) and UniPC-3 take a first or last step
of order 1, and so does DPM-Solver-fast with a budget divisible by 3. DDPM is stochastic and has none.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ...methods.denoiser import Denoiser
from ...methods.paths import VPLinear
from ...methods.solvers import get
from ...methods.solvers.grids import times
from ...methods.specs.solver import Grid
from ...methods.teachers.analytic import GaussianDenoiser, MixtureDenoiser

ORDERS = {
    "euler": 1,
    "ddim": 1,
    "heun": 2,
    "runge-kutta": 2,
    "rk4": 4,
    "dpm-solver-1": 1,
    "dpm-solver-2": 2,
    "dpm-solver-3": 3,
    "dpm-solver-fast": 2,
    "dpmpp-1": 1,
    "dpmpp-2s": 2,
    "dpmpp-2m": 2,
    "dpmpp-3m": 2,
    "deis-tab1": 2,
    "deis-tab2": 3,
    "deis-tab3": 4,
    "deis-rhoab1": 2,
    "deis-rhoab2": 3,
    "deis-rhoab3": 4,
    "pndm": 2,
    "f-pndm": 2,
    "s-pndm": 2,
    "ipndm": 2,
    "ipndm-v": 4,
    "unipc-1": 2,
    "unipc-2": 3,
    "unipc-3": 2,
}

STEPS = {"unipc-3": 1536, "dpm-solver-fast": 1536}
"""Steps of the coarse grid; where the last step's lower order shows late, more than the others' 384."""

BY_NFE = {"dpm-solver-fast"}
"""Measured at as many evaluations instead of steps: the budget decides which orders its steps have."""

PATH = VPLinear()
GRID = Grid(spacing="log-snr", end="min")


@cache
def _laws() -> dict[str, tuple[Denoiser, Tensor, Tensor]]:
    """law -> (denoiser, start noise, exact state at the grid's end)."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    ends = times(GRID, PATH, 1)
    mean, variance, noise = draw(6), 0.05 + draw(6) ** 2 / 2, draw(32, 6)
    (a0, a1), (s0, s1) = PATH.alpha(ends), PATH.sigma(ends)
    scale = ((a1**2 * variance + s1**2) / (a0**2 * variance + s0**2)).sqrt()
    gaussian = GaussianDenoiser(mean, variance, PATH)
    spreads = torch.tensor([0.6, 0.5, 0.7], dtype=torch.float64)
    mixture = MixtureDenoiser(torch.tensor([0.2, 0.3, 0.5]), draw(3, 6), spreads**2, PATH)
    truth = get("rk45", tolerance=1e-11).sample(mixture, noise, times=ends)
    return {
        "gaussian": (gaussian, noise, a1 * mean + scale * (s0 * noise - a0 * mean)),
        "mixture": (mixture, noise, truth),
    }


def error(name: str, law: str, steps: int, **options: Any) -> float:
    """RMSE of the solver `name` to the exact solution of "gaussian" or "mixture", in float64."""
    denoiser, noise, exact = _laws()[law]
    solver = get(name, grid=GRID, **options)
    if name in BY_NFE:
        x = solver.sample(denoiser, noise, nfe=steps)
    else:
        x = solver.sample(denoiser, noise, times=times(GRID, PATH, steps))
    return float((x - exact).square().mean().sqrt())


def order(name: str, law: str, steps: int | None = None, **options: Any) -> float:
    """log2 of the error's ratio when the steps are doubled."""
    steps = steps or STEPS.get(name, 384)
    return math.log2(error(name, law, steps, **options) / error(name, law, 2 * steps, **options))


def table(report: Callable[[str], None]) -> None:
    """One line a solver: the expected order and the measured ones."""
    width = max(map(len, ORDERS))
    report(f"{'solver':<{width}}  order  gaussian  mixture")
    for name, expected in ORDERS.items():
        measured = [order(name, law) for law in ("gaussian", "mixture")]
        report(f"{name:<{width}}  {expected:>5}  {measured[0]:>8.2f}  {measured[1]:>7.2f}")
