"""Runge-Kutta methods in lambda = log(alpha/sigma), which DPM-Solver's table 1 compares with."""

import pytest
import torch

from fewstep.bench.benchmarks.solver_orders import order
from fewstep.methods import solvers
from fewstep.methods.denoiser import from_function
from fewstep.methods.paths import EDM, FlowOT, VPCosine, VPLinear
from fewstep.methods.solvers.grids import times
from fewstep.methods.specs.solver import Grid

VARIABLES = ("t", "rho", "lambda")


@pytest.fixture
def noise():
    return torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_step_in_lambda_is_the_midpoint_rule_on_the_papers_ode(toy_mixture, noise):
    """dx/d(lambda) = sigma^2 x - sigma eps on a VP path, where alpha^2 = sigmoid(2 lambda)."""
    path = VPLinear()
    denoiser = toy_mixture(path)
    grid = torch.tensor([0.9, 0.2], dtype=torch.float64)

    def slope(x, at):
        alpha, sigma = torch.sigmoid(2 * at).sqrt(), torch.sigmoid(-2 * at).sqrt()
        eps = (x - alpha * denoiser(x, path.time_at(torch.exp(-at)))) / sigma
        return sigma**2 * x - sigma * eps

    first, last = path.half_log_snr(grid)
    start = path.sigma(grid[0]) * noise
    middle = start + (last - first) / 2 * slope(start, first)
    expected = start + (last - first) * slope(middle, (first + last) / 2)
    x = solvers.get("runge-kutta", variable="lambda").sample(denoiser, noise, times=grid)
    torch.testing.assert_close(x, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("law", ["gaussian", "mixture"])
@pytest.mark.parametrize(("tableau", "expected"), [("euler", 1), ("midpoint", 2), ("heun3", 3)])
def test_tableaux_keep_their_order_in_lambda(tableau, expected, law):
    steps = 96 if tableau == "heun3" else 384
    assert order("runge-kutta", law, steps, tableau=tableau, variable="lambda") == pytest.approx(expected, abs=0.3)


@pytest.mark.parametrize("path", [EDM(0.01, 40.0), VPLinear(), VPCosine()], ids=lambda path: type(path).__name__)
def test_all_variables_lead_to_one_solution(path, toy_mixture, noise):
    grid = times(Grid(spacing="log-snr", end="min"), path, 200)
    found = [
        solvers.get("runge-kutta", tableau="rk4", variable=variable).sample(toy_mixture(path), noise, times=grid)
        for variable in VARIABLES
    ]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=1e-4)


def test_lambda_is_refused_where_it_is_infinite(noise):
    denoiser = from_function(lambda x, t: 0.5 * x, FlowOT())
    solver = solvers.get("runge-kutta", variable="lambda")
    with pytest.raises(ValueError, match=r"lambda is infinite at clean data: grid.end: min, or last_step: euler"):
        solver.sample(denoiser, noise, times=torch.tensor([0.9, 0.0]))
    with pytest.raises(ValueError, match="a method in sigma/alpha is infinite"):
        solver.sample(denoiser, noise, times=torch.tensor([1.0, 0.5]))
    x = solvers.get("runge-kutta", variable="lambda", last_step="euler").sample(
        denoiser, noise, times=torch.tensor([0.9, 0.0])
    )
    torch.testing.assert_close(x, 0.5 * 0.9 * noise)
