"""Grids, schedules, coefficients and exact solutions against the authors' numbers."""

import itertools

import pytest
import torch

from fewstep.methods import nfe, solvers
from fewstep.methods.denoiser import ChangeOfPath
from fewstep.methods.labels import labels
from fewstep.methods.paths import EDM, FlowCosine, FlowOT, VPDiscrete, VPLinear
from fewstep.methods.solvers.deis import tab_coefficients
from fewstep.methods.solvers.grids import refined, times
from fewstep.methods.specs.dpm_solver import SinglestepOptions
from fewstep.methods.specs.solver import Grid

DIFF_SAMPLER_LEVELS = (0.002, 80.0)
SPACING = {
    "logSNR": "log-snr",
    "time_uniform": "uniform",
    "time_quadratic": "quadratic",
    "t1": "uniform",
    "t2": "quadratic",
    "rho7": "karras",
    "log1": "log-snr",
}


@pytest.mark.parametrize(("quadrature", "tolerance"), [("th_deis", 1e-9), ("gauss-legendre", 1e-3)])
def test_reference_coefficients_of_deis(quadrature, tolerance, reference):
    """Exact integrals are within the error of the authors' sums."""
    arrays, path = reference("solvers/vp_deis"), VPLinear()
    found = [key for key in arrays.meta if "/t_ab/" in key]
    assert found
    for key in found:
        grid, expected = arrays[f"{key}/grid"], arrays[f"{key}/coef"]
        table = tab_coefficients(path, grid.tolist(), arrays.meta[key]["ab_order"] + 1, quadrature)
        for row, alpha, stored in zip(table, path.alpha(grid[1:]), expected, strict=True):
            own = torch.zeros_like(stored)
            own[: len(row)] = alpha * torch.tensor(row, dtype=torch.float64)
            assert float((own - stored).abs().max()) <= tolerance * float(stored.abs().max()), key


def test_reference_grids_of_deis(reference):
    arrays = reference("solvers/vp_deis")
    found = [key for key in arrays.meta if "/t_ab/" in key]
    assert found
    for key in found:
        expected = arrays[f"{key}/grid"]
        grid = times(Grid(spacing=SPACING[key.split("/")[3]], end="min"), VPLinear(), len(expected) - 1)
        torch.testing.assert_close(grid, expected, rtol=1e-9, atol=1e-10)


def test_reference_grids_of_dpm_solver(reference):
    arrays = reference("solvers/schedules_and_grids")
    found = [key for key in arrays.names if key.startswith("grid/dpm/")]
    assert found
    for key in found:
        _, _, skip, steps, *_ = key.split("/")
        grid = times(Grid(spacing=SPACING[skip], end="min"), VPLinear(), int(steps[1:]))
        torch.testing.assert_close(grid, arrays[key], rtol=1e-9, atol=1e-10)


def test_reference_orders_and_outer_grids_of_singlestep_dpm_solver(reference):
    arrays = reference("solvers/schedules_and_grids")
    found = [key for key in arrays.names if key.startswith("grid/dpm_singlestep/") and key.endswith("/t")]
    assert found
    for key in found:
        _, _, order, skip, steps, _ = key.split("/")
        orders = tuple(int(q) for q in arrays[key.removesuffix("/t") + "/orders"])
        grid = Grid(spacing=SPACING[skip], end="min")
        plan = nfe.singlestep(int(steps[1:]), int(order[1:]), SinglestepOptions(grid=grid, method="singlestep"), False)
        assert plan == orders
        outer = refined(grid, VPLinear(), plan)[[0, *itertools.accumulate(plan)]]
        torch.testing.assert_close(outer, arrays[key], rtol=1e-9, atol=1e-10)


def test_reference_grids_of_diff_sampler(reference):
    """Its time_uniform grid is uniform, or with exponent 2 quadratic, in the time of a VP path."""
    arrays = reference("solvers/schedules_and_grids")
    found = [key for key in arrays.names if key.startswith("grid/diff_sampler/")]
    assert found
    for key in found:
        kind, _, rho = key.split("/")[2].rpartition("_")
        path, grid = EDM(*DIFF_SAMPLER_LEVELS), Grid(spacing="log-snr", end="min")
        if kind == "polynomial":
            grid = Grid(rho=float(rho), end="min")
        elif kind == "time_uniform":
            path = VPLinear.between(*DIFF_SAMPLER_LEVELS)
            grid = Grid(spacing={"1": "uniform", "2": "quadratic"}[rho], end="min")
        own = path.noise_level(times(grid, path, len(arrays[key]) - 1))
        torch.testing.assert_close(own, arrays[key], rtol=1e-9, atol=1e-12)


def test_reference_label_grids_of_ddim(reference):
    arrays = reference("solvers/vp_discrete")
    spacing = {"uniform": "ddim-uniform", "quad": "ddim-quad"}
    found = [key for key in arrays.meta if key.startswith("ddim/") and key.split("/")[2] in spacing]
    assert found
    for key in found:
        expected = arrays[f"{key}/seq"].tolist()
        assert labels(spacing[key.split("/")[2]], 1000, len(expected)) == expected


@pytest.mark.parametrize(("name", "path"), [("vp_linear", VPLinear()), ("vp_discrete", VPDiscrete())])
def test_reference_vp_paths(name, path, reference):
    arrays = reference("solvers/schedules_and_grids")
    stored = {what: arrays[f"vp/{name}/{what}"] for what in ("t", "alpha", "sigma", "lam", "t_back")}
    for own, what in ((path.alpha, "alpha"), (path.sigma, "sigma"), (path.half_log_snr, "lam")):
        torch.testing.assert_close(own(stored["t"]), stored[what], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(path.time_at(torch.exp(-stored["lam"])), stored["t_back"], rtol=1e-10, atol=1e-10)


def test_reference_discrete_path_of_other_betas(reference):
    """Improved DDPM's cosine betas; the authors' table leaves out the noisiest labels."""
    arrays = reference("solvers/schedules_and_grids")
    expected = arrays["vp/iddpm_cosine_betas/log_alpha_array"].flatten()
    path = VPDiscrete(tuple(arrays["vp/iddpm_cosine_betas/betas"].tolist()))
    own = torch.log(path.alpha(path.time_of_label(torch.arange(len(expected)).double())))
    torch.testing.assert_close(own, expected, rtol=1e-9, atol=1e-9)


def test_reference_ground_truth_of_the_discrete_path(reference, problem, laws):
    path, expected = VPDiscrete(), reference("solvers/ground_truth")["vp_discrete/from999/x_label0"]
    ends = path.time_of_label(torch.tensor([999.0, 0.0], dtype=torch.float64))
    noise = problem["x_T"] / path.sigma(ends[0])
    x = solvers.get("rk45", tolerance=1e-9).sample(laws("gmm", path), noise, times=ends)
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "path"), [("ot", FlowOT()), ("cosine", FlowCosine())])
def test_reference_ground_truth_of_flows(name, path, reference, problem, laws):
    ends = torch.tensor([1.0, 0.0], dtype=torch.float64)
    x = solvers.get("rk45", tolerance=1e-9).sample(laws("gmm", path), problem["x_T"], times=ends)
    torch.testing.assert_close(x, reference("solvers/ground_truth")[f"fm/{name}/x1"], rtol=0, atol=1e-6)


def test_reference_change_of_schedule(reference, laws):
    """A denoiser asked on another path has that path's own velocity (flow_matching's ScheduleTransformedModel)."""
    arrays = reference("solvers/flow_matching")
    paths = {"ot": FlowOT(), "cosine": FlowCosine(), "vp": VPLinear()}
    found = [key for key in arrays.meta if key.startswith("transform/")]
    assert found
    for key in found:
        first, _, second = key.split("/")[1].partition("_to_")
        t, x, path = 1 - float(key.rpartition("/t")[2]), arrays[f"{key}/x"], paths[second]
        denoiser = ChangeOfPath(laws("gmm", paths[first]), path)
        # Their time runs from noise to data.
        velocity = -path.velocity(x, denoiser(x, t), t)
        torch.testing.assert_close(velocity, arrays[f"{key}/u"], rtol=1e-9, atol=1e-9)
