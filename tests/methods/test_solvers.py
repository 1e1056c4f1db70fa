"""Training-free solvers: the authors' numbers, orders of accuracy, exact NFE."""

import math
from itertools import pairwise

import pytest
import torch

from fewstep.methods import solvers
from fewstep.methods.denoiser import Guided, from_function, metered
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.options import Grid
from fewstep.methods.paths import EDM, FlowCosine, FlowOT, VPCosine, VPLinear
from fewstep.methods.registry import SOLVERS
from fewstep.methods.solvers.grids import times
from fewstep.methods.teachers.analytic import GaussianDenoiser

FIXED_STEP = [name for name in solvers.names() if name != "rk45"]
SPACING = {"logSNR": "log-snr", "time_uniform": "uniform", "time_quadratic": "quadratic"}


def assert_reference(x, expected):
    assert float((x - expected).abs().max()) <= 1e-6 * max(1.0, float(expected.abs().max()))


def entries(arrays, *wanted):
    """(law, entry key) of the entries whose second part is in `wanted`."""
    found = [(key.split("/")[0], key) for key in arrays.meta if key.split("/")[1] in wanted]
    assert found, f"no entries {wanted}"
    return found


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_reference_edm(name, reference, problem, laws):
    arrays = reference("solvers/edm_official")
    for law, key in entries(arrays, name):
        grid = arrays[f"{key}/grid"]
        with metered() as meter:
            x = solvers.get(name).sample(laws(law, EDM()), problem["x_T"], times=grid)
        assert_reference(x, arrays[f"{key}/x"])
        assert meter.evaluations == arrays.meta[key]["nfe"] * len(x)


@pytest.mark.parametrize(("name", "entry"), [("euler", "euler"), ("dpmpp-2m", "dpmpp_2m")])
def test_reference_k_diffusion(name, entry, reference, problem, laws):
    arrays = reference("solvers/ve_k_diffusion")
    for law, key in entries(arrays, entry):
        x = solvers.get(name).sample(laws(law, EDM()), problem["x_T"], times=arrays[f"{key}/sigmas"])
        assert_reference(x, arrays[f"{key}/x"])


def test_reference_dpm_solver_multistep_2m(reference, problem, laws):
    arrays = reference("solvers/vp_dpm_solver")
    path = VPLinear()
    found = [key for key in arrays.meta if "/dpmsolver++/multistep/o2/" in key]
    assert found
    for key in found:
        meta = arrays.meta[key]
        grid = times(Grid(spacing=SPACING[meta["skip_type"]], end="min"), path, meta["steps"])
        # The authors start from x_T itself, not from sigma(1) x_T.
        noise = problem["x_T"] / path.sigma(grid[0])
        x = solvers.get("dpmpp-2m").sample(laws(key.split("/")[0], path), noise, times=grid)
        assert_reference(x, arrays[f"{key}/x"])


def test_reference_teacher_sampling_of_the_consistency_code(reference, toy_mixture):
    arrays = reference("distill/cm_sampling")
    for name in ("euler", "heun"):
        for key in [key for key in arrays.names if key.startswith(f"teacher_{name}_")]:
            grid = times(Grid(end="append-zero"), EDM(), int(key.rpartition("_")[2]))
            x = solvers.get(name).sample(toy_mixture(EDM()), arrays["xT"] / 80, times=grid)
            assert_reference(x, arrays[key])


def test_reference_karras_grids(reference):
    arrays = reference("distill/cm_scalings")
    found = [key for key in arrays.names if key.startswith("karras_")]
    assert found
    for key in found:
        steps = int(key.rpartition("_")[2])
        torch.testing.assert_close(times(Grid(end="append-zero"), EDM(), steps), arrays[key], rtol=1e-12, atol=0)


def test_reference_grids_of_dpm_solver(reference):
    arrays = reference("solvers/schedules_and_grids")
    found = [key for key in arrays.names if key.startswith("grid/dpm/")]
    assert found
    for key in found:
        _, _, skip, steps, *_ = key.split("/")
        grid = times(Grid(spacing=SPACING[skip], end="min"), VPLinear(), int(steps[1:]))
        torch.testing.assert_close(grid, arrays[key], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("path", [VPLinear(), VPCosine(), FlowOT(), FlowCosine()], ids=lambda p: type(p).__name__)
def test_ddim_on_any_path_is_euler_on_the_rescaled_state(path, toy_mixture):
    """DDIM on (alpha, sigma) and Euler on (x/alpha, sigma/alpha) are one method."""
    noise = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = torch.linspace(0.95, 0.05, 7, dtype=torch.float64)
    x = solvers.get("ddim").sample(toy_mixture(path), noise, times=grid)
    levels = path.noise_level(grid)
    y = path.sigma(grid[0]) * noise / path.alpha(grid[0])
    denoiser = toy_mixture(EDM())
    for high, low in pairwise(levels):
        y = y + (low - high) * (y - denoiser(y, high)) / high
    torch.testing.assert_close(x / path.alpha(grid[-1]), y, rtol=1e-12, atol=1e-12)


def gaussian_error(name, path, steps, grid):
    """RMSE of a solver to the closed-form flow of a Gaussian."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(6, generator=generator, dtype=torch.float64)
    variance = 0.05 + torch.rand(6, generator=generator, dtype=torch.float64)
    noise = torch.randn(64, 6, generator=generator, dtype=torch.float64)
    t = times(grid, path, steps)
    x = solvers.get(name).sample(GaussianDenoiser(mean, variance, path), noise, times=t)
    a0, s0, a1, s1 = path.alpha(t[0]), path.sigma(t[0]), path.alpha(t[-1]), path.sigma(t[-1])
    scale = ((a1**2 * variance + s1**2) / (a0**2 * variance + s0**2)).sqrt()
    exact = a1 * mean + scale * (s0 * noise - a0 * mean)
    return float((x - exact).square().mean().sqrt())


@pytest.mark.parametrize(
    ("name", "order", "path"),
    [
        ("euler", 1, EDM()),
        ("euler", 1, VPLinear()),
        ("heun", 2, EDM()),
        ("heun", 2, VPLinear()),
        ("dpmpp-2m", 2, VPLinear()),
        ("dpmpp-2m", 2, EDM()),
    ],
)
def test_solvers_converge_at_their_order(name, order, path):
    grid = Grid(spacing="log-snr", end="min", noise_min=0.02, noise_max=20.0)
    coarse, fine = (gaussian_error(name, path, steps, grid) for steps in (80, 160))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize("path", [EDM(), VPLinear(), VPCosine()], ids=lambda path: type(path).__name__)
@pytest.mark.parametrize("name", FIXED_STEP)
@pytest.mark.parametrize("guided", [False, True])
def test_nfe_is_met_exactly_or_refused(name, path, guided):
    denoiser = from_function(lambda x, t: 0.5 * x, path)
    denoiser = Guided(denoiser, 2.0) if guided else denoiser
    solver = solvers.get(name)
    for nfe in range(1, 51):
        if reason := SOLVERS[name].refusal(nfe):
            with pytest.raises(UnreachableNFE, match=reason):
                solver.sample(denoiser, torch.zeros(3, 2), nfe=nfe)
            continue
        with metered() as meter:
            solver.sample(denoiser, torch.zeros(3, 2, dtype=torch.float64), nfe=nfe)
        assert meter.evaluations == 3 * nfe
        assert meter.forwards == 3 * nfe * (2 if guided else 1)


def test_heun_refuses_even_nfe():
    with pytest.raises(UnreachableNFE, match="odd"):
        solvers.get("heun").steps(4)


@pytest.mark.parametrize("name", FIXED_STEP)
@pytest.mark.parametrize("path", [FlowOT(), FlowCosine()], ids=lambda path: type(path).__name__)
def test_flows_start_without_signal_or_are_refused(name, path, toy_mixture):
    """At t = 1 alpha is 0: a solver either does not divide by it or says where to start instead."""
    noise = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = solvers.get("rk45", tolerance=1e-8).sample(toy_mixture(path), noise)
    grid = {"spacing": "uniform"}
    if name == "heun":
        with pytest.raises(ValueError, match="give the grid a noise_max"):
            solvers.get(name, grid=grid).sample(toy_mixture(path), noise, nfe=41)
        grid = {"noise_min": 0.002, "noise_max": 80.0}
    x = solvers.get(name, grid=grid).sample(toy_mixture(path), noise, nfe=41)
    assert float((x - exact).square().mean().sqrt()) < 0.05


def test_the_default_grid_spends_no_evaluation_at_the_smallest_noise(toy_mixture):
    """The spec's section 3: EDM's own grid wastes its last evaluation, four times the error at few NFE."""
    noise = torch.randn(64, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    path = EDM(0.01, 40.0)
    exact = solvers.get("rk45", tolerance=1e-8).sample(toy_mixture(path), noise)

    def error(end):
        x = solvers.get("euler", grid=Grid(end=end)).sample(toy_mixture(path), noise, nfe=2)
        return float((x - exact).square().mean().sqrt())

    assert error("zero") < 0.8 * error("append-zero")


def test_wrong_calls_say_what_is_wrong():
    denoiser, noise = from_function(lambda x, t: x, FlowOT()), torch.zeros(1, 2)
    with pytest.raises(ValueError, match="did you mean 'heun'"):
        solvers.get("huen")
    with pytest.raises(ValueError, match="give nfe or times"):
        solvers.get("euler").sample(denoiser, noise)
    with pytest.raises(ValueError, match="at least 1"):
        solvers.get("euler").sample(denoiser, noise, nfe=0)
    with pytest.raises(ValueError, match="finite noise levels"):
        solvers.get("euler").sample(denoiser, noise, nfe=4)
    with pytest.raises(ValueError, match="nois_max"):
        solvers.get("euler", grid={"nois_max": 3})
