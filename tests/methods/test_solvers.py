"""Training-free solvers: orders of accuracy, exact NFE, paths, batches, precision."""

from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError

from fewstep.bench.benchmarks.solver_orders import ORDERS, order
from fewstep.methods import nfe as nfe_rules
from fewstep.methods import solvers
from fewstep.methods.denoiser import Guided, NetworkDenoiser, from_function, metered
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM, FlowCosine, FlowOT, VPCosine, VPDiscrete, VPLinear
from fewstep.methods.registry import of_kind
from fewstep.methods.solvers.grids import times
from fewstep.methods.specs.solver import Grid, SolverOptions
from fewstep.methods.teachers.analytic import GaussianDenoiser
from fewstep.tests.methods.toy_networks import PredictsEps

SOLVERS = of_kind("solver")
FIXED_STEP = [name for name in solvers.names() if name != "rk45"]


def test_reference_teacher_sampling_of_the_consistency_code(reference, toy_mixture):
    arrays = reference("distill/cm_sampling")
    for name in ("euler", "heun"):
        for key in [key for key in arrays.names if key.startswith(f"teacher_{name}_")]:
            grid = times(Grid(end="append-zero"), EDM(), int(key.rpartition("_")[2]))
            x = solvers.get(name).sample(toy_mixture(EDM()), arrays["xT"] / 80, times=grid)
            expected = arrays[key]
            assert float((x - expected).abs().max()) <= 1e-6 * max(1.0, float(expected.abs().max()))


def test_reference_karras_grids(reference):
    arrays = reference("distill/cm_scalings")
    found = [key for key in arrays.names if key.startswith("karras_")]
    assert found
    for key in found:
        steps = int(key.rpartition("_")[2])
        torch.testing.assert_close(times(Grid(end="append-zero"), EDM(), steps), arrays[key], rtol=1e-12, atol=0)


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


@pytest.mark.parametrize("law", ["gaussian", "mixture"])
@pytest.mark.parametrize("name", ORDERS)
def test_solvers_converge_at_the_order_of_the_authors_code(name, law):
    assert order(name, law) == pytest.approx(ORDERS[name], abs=0.3)


def test_every_deterministic_solver_has_an_order():
    assert {*ORDERS, "ddpm", "rk45"} == set(solvers.names())


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


VARIANTS = [
    {"grid": {"end": "min"}},
    {"grid": {"end": "append-zero"}},
    {"afs": True},
    {"grid": {"end": "min"}, "denoise_to_zero": True},
    {"grid": {"spacing": "log-snr", "end": "min"}, "afs": True, "denoise_to_zero": True},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("name", FIXED_STEP)
def test_nfe_is_met_exactly_or_refused_with_options(name, options):
    denoiser, solver, spec = from_function(lambda x, t: 0.5 * x, EDM()), solvers.get(name, **options), SOLVERS[name]
    met = 0
    for nfe in range(1, 31):
        if spec.refusal(nfe, solver.options):
            with pytest.raises(UnreachableNFE):
                solver.sample(denoiser, torch.zeros(2, 2), nfe=nfe)
            continue
        with metered() as meter:
            solver.sample(denoiser, torch.zeros(2, 2, dtype=torch.float64), nfe=nfe)
        assert meter.evaluations == 2 * nfe
        met += 1
    assert met >= 7


@pytest.mark.parametrize(
    ("name", "options", "nfe", "reason"),
    [
        ("heun", {}, 4, "odd NFE only"),
        ("heun", {"grid": {"end": "min"}}, 5, "even NFE only"),
        ("heun", {"afs": True}, 5, "odd NFE only"),
        ("dpm-solver-2", {}, 6, "spends every NFE"),
        ("dpm-solver-3", {"grid": {"end": "min"}}, 7, "3 evaluations a step"),
        ("s-pndm", {}, 1, "at least 3"),
        ("s-pndm", {"grid": {"end": "min"}}, 1, "at least 2"),
        ("f-pndm", {}, 12, "at least 13"),
        ("rk4", {}, 6, "4 evaluations a step"),
        ("euler", {"grid": {"end": "min"}, "denoise_to_zero": True}, 1, "at least 2"),
        ("rk45", {}, 10, "adaptive"),
    ],
)
def test_an_unreachable_nfe_is_refused_with_its_reason(name, options, nfe, reason):
    assert reason in SOLVERS[name].refusal(nfe, SOLVERS[name].options.model_validate(options))
    with pytest.raises(UnreachableNFE, match=reason):
        solvers.get(name, **options).sample(from_function(lambda x, t: x, EDM()), torch.zeros(1, 2), nfe=nfe)


@pytest.mark.parametrize("nfe", range(1, 51))
def test_every_method_of_dpm_solver_fast_spends_its_budget_in_falling_orders(nfe):
    plan = nfe_rules.fast(nfe)
    assert sum(plan) == nfe
    assert list(plan) == sorted(plan, reverse=True)


NEEDS_SIGNAL = {"heun", "dpm-solver-2", "dpm-solver-3", "dpm-solver-fast", "dpmpp-2s", "ipndm-v", "pndm", "f-pndm"}
NEEDS_SIGNAL |= {"s-pndm", "deis-rhoab1", "deis-rhoab2", "deis-rhoab3"}


@pytest.mark.parametrize("name", [name for name in FIXED_STEP if name != "ddpm"])
@pytest.mark.parametrize("path", [FlowOT(), FlowCosine()], ids=lambda path: type(path).__name__)
def test_flows_start_without_signal_or_are_refused(name, path, toy_mixture):
    """At t = 1 alpha is 0: a solver either does not divide by it or says where to start instead."""
    noise = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = solvers.get("rk45", tolerance=1e-8).sample(toy_mixture(path), noise)
    nfe = next(n for n in range(40, 60) if not SOLVERS[name].refusal(n))
    if name in NEEDS_SIGNAL:
        with pytest.raises(ValueError, match="give the grid a noise_max"):
            solvers.get(name, grid={"spacing": "uniform"}).sample(toy_mixture(path), noise, nfe=nfe)
        x = solvers.get(name, grid={"noise_min": 0.002, "noise_max": 80.0}).sample(toy_mixture(path), noise, nfe=nfe)
    else:
        x = solvers.get(name, grid={"spacing": "uniform"}).sample(toy_mixture(path), noise, nfe=nfe)
    assert float((x - exact).square().mean().sqrt()) < 0.05


def test_append_zero_does_not_repeat_a_flows_clean_data():
    with pytest.raises(ValueError, match="ends at clean data by itself"):
        times(Grid(spacing="uniform", end="append-zero"), FlowOT(), 4)
    assert times(Grid(spacing="uniform", end="append-zero", noise_min=0.01), FlowOT(), 4)[-2:].gt(0).tolist() == [1, 0]
    with pytest.raises(ValidationError, match="ends at clean data by itself"):
        SolverOptions(path="flow-cosine", grid={"spacing": "uniform", "end": "append-zero"})


IN_NOISE_LEVELS = [name for name in FIXED_STEP if not name.startswith(("deis-tab", "rk4", "runge", "pndm", "f-pndm"))]


@pytest.mark.parametrize("name", IN_NOISE_LEVELS)
@pytest.mark.parametrize(
    "path", [VPLinear(), VPDiscrete(), VPCosine(), FlowOT(), FlowCosine()], ids=lambda p: type(p).__name__
)
def test_a_solver_in_noise_levels_does_not_see_the_path(name, path, toy_mixture):
    """x/alpha over the same levels sigma/alpha is the same on every path."""
    noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    levels = times(Grid(noise_min=0.05, noise_max=40.0, end="min"), EDM(), 8)
    on_edm = solvers.get(name).sample(toy_mixture(EDM()), noise, times=levels)
    x = solvers.get(name).sample(toy_mixture(path), noise, times=path.time_at(levels))
    torch.testing.assert_close(x / path.alpha(path.time_at(levels[-1])), on_edm, rtol=0, atol=1e-8)


def cheapest(name, least):
    """The smallest NFE from `least` on that the solver can spend."""
    return next(nfe for nfe in range(least, least + 20) if not SOLVERS[name].refusal(nfe))


@pytest.mark.parametrize("name", FIXED_STEP)
def test_a_sample_does_not_depend_on_its_batch(name, toy_mixture):
    denoiser, nfe = toy_mixture(EDM(0.01, 40.0)), cheapest(name, 9)
    noise = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    options = {"ddim": {"eta": 1.0}, "heun": {"S_churn": 5.0}}.get(name, {})
    solver = solvers.get(name, **options)
    together = solver.sample(denoiser, noise, nfe=nfe)
    alone = torch.cat([solver.sample(denoiser, row[None], nfe=nfe) for row in noise])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("path", [EDM(0.01, 40.0), VPLinear(), VPDiscrete()], ids=lambda path: type(path).__name__)
@pytest.mark.parametrize("name", FIXED_STEP)
def test_float32_is_kept_and_near_float64(name, path, laws):
    denoiser, nfe = laws("gmm", path), cheapest(name, 15)
    noise = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    single = solvers.get(name).sample(denoiser, noise, nfe=nfe)
    double = solvers.get(name).sample(denoiser, noise.double(), nfe=nfe)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-4)


PATHS = [VPLinear(), VPDiscrete(), EDM(0.01, 80.0), FlowOT()]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
def test_ddpm_with_the_posterior_variance_is_ddim_with_eta_1(path, toy_mixture):
    noise = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = path.time_at(times(Grid(noise_min=0.05, noise_max=40.0, end="append-zero"), EDM(), 6))
    ddim = solvers.get("ddim", eta=1.0).sample(toy_mixture(path), noise, times=grid)
    ddpm = solvers.get("ddpm", variance="fixedsmall", clip_x0=False).sample(toy_mixture(path), noise, times=grid)
    torch.testing.assert_close(ddim, ddpm, rtol=0, atol=1e-11)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ddpm", {"clip_x0": False}),
        ("ddpm", {"clip_x0": False, "variance": "fixedsmall"}),
        ("ddim", {"eta": 1.0}),
        ("heun", {"S_churn": 30.0}),
    ],
)
def test_stochastic_solvers_reach_the_data_law(name, options, path):
    """Mean and standard deviation of a Gaussian, on a chain fine enough for its own error to vanish."""
    mean, variance = torch.tensor([0.5, -1.0]).double(), torch.tensor([0.25, 1.0]).double()
    noise = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = path.time_at(times(Grid(noise_min=0.02, noise_max=60.0, end="append-zero"), EDM(), 150))
    generator = torch.Generator().manual_seed(1)
    x = solvers.get(name, **options).sample(
        GaussianDenoiser(mean, variance, path),
        noise,
        times=grid,
        draws=lambda j: torch.randn(noise.shape, generator=generator, dtype=torch.float64),
    )
    torch.testing.assert_close(x.mean(0), mean, rtol=0, atol=0.04)
    torch.testing.assert_close(x.std(0), variance.sqrt(), rtol=0.04, atol=0)


def test_churn_draws_one_noise_a_step_and_none_outside_its_levels(toy_mixture):
    drawn = []

    def draws(j):
        drawn.append(j)
        return torch.zeros(2, 3, 4, 4)

    grid = times(Grid(end="append-zero"), EDM(), 6)
    solver = solvers.get("heun", S_churn=2.0, S_min=0.05, S_max=50.0)
    solver.sample(toy_mixture(EDM()), torch.ones(2, 3, 4, 4), times=grid, draws=draws)
    assert drawn == [j for j in range(6) if 0.05 <= grid[j] <= 50.0]


@pytest.mark.parametrize("alpha", [0.5, 2 / 3])
def test_heuns_family_is_runge_kutta_in_rho(alpha, toy_mixture):
    noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = times(Grid(end="append-zero"), EDM(), 6)
    heun = solvers.get("heun", alpha=alpha).sample(toy_mixture(EDM()), noise, times=grid)
    if alpha == 0.5:
        other = solvers.get("runge-kutta", variable="rho", last_step="euler").sample(
            toy_mixture(EDM()), noise, times=grid
        )
        torch.testing.assert_close(heun, other, rtol=0, atol=1e-12)
    assert float((heun - solvers.get("heun").sample(toy_mixture(EDM()), noise, times=grid)).abs().max()) > 1e-4


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
    with pytest.raises(ValueError, match=r"needs grid\.end: min"):
        solvers.get("euler", denoise_to_zero=True)
    with pytest.raises(ValueError, match="needs the path VPDiscrete"):
        solvers.get("ddim", grid={"spacing": "ddim-uniform"}).sample(denoiser, noise, nfe=4)
    with pytest.raises(ValueError, match="afs divides by alpha"):
        solvers.get("euler", grid={"spacing": "uniform"}, afs=True).sample(denoiser, noise, nfe=4)
    with pytest.raises(ValueError, match="infinite at clean data"):
        solvers.get("rk4", grid={"end": "zero"}).sample(from_function(lambda x, t: x, VPLinear()), noise, nfe=4)
    with pytest.raises(ValueError, match="eta"):
        solvers.get("euler", eta=0.5)
    summed = solvers.get("deis-tab2", quadrature="diff-sampler")
    assert summed.sample(denoiser, noise, times=[1.0, 0.0]).isfinite().all()
    with pytest.raises(ValueError, match=r"no value at clean data on this path: give grid\.end min"):
        summed.sample(from_function(lambda x, t: x, VPLinear()), noise, nfe=4)
    with pytest.raises(ValueError, match="vp-linear-fitted needs finite noise levels"):
        solvers.get("euler", path="vp-linear-fitted").sample(denoiser, noise, nfe=4)


def test_label_grids_walk_ddims_labels_down_to_clean_data():
    path = VPDiscrete()
    grid = times(Grid(spacing="ddim-uniform"), path, 4)
    torch.testing.assert_close(path.label(grid), torch.tensor([750.0, 500.0, 250.0, 0.0, -1.0]).double())
    with pytest.raises(ValueError, match="repeats a label"):
        times(Grid(spacing="ddim-quad"), path, 200)


@pytest.mark.parametrize(
    ("name", "options"),
    [("euler", {}), ("ddim", {"eta": 0.5}), ("ddim", {"eta": "sigma-hat"}), ("ddpm", {"variance": "fixedlarge"})],
)
def test_a_label_that_comes_twice_is_evaluated_and_leaves_x_as_it_is(name, options, toy_mixture):
    path = VPDiscrete()
    denoiser = toy_mixture(path)
    noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    solver = solvers.get(name, grid={"spacing": "ddim-quad"}, **options)
    grid = solver.schedule(path, nfe=50)[1]
    assert path.label(grid)[-4:].tolist() == [1.0, 0.0, 0.0, -1.0]
    once = [t for t, s in pairwise(grid.tolist()) if t != s] + [0.0]
    kept = [j for j, (t, s) in enumerate(pairwise(grid.tolist())) if t != s]
    drawn = torch.randn(50, 2, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with metered() as meter:
        x = solver.sample(denoiser, noise, nfe=50, draws=lambda j: drawn[j])
    assert meter.evaluations == 2 * 50
    without = solver.sample(denoiser, noise, times=once, draws=lambda j: drawn[kept[j]])
    torch.testing.assert_close(x, without, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpmpp-2m"])
def test_solvers_run_on_ddims_labels(name, toy_mixture):
    path = VPDiscrete()
    noise = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with metered() as meter:
        x = solvers.get(name, grid={"spacing": "ddim-uniform"}).sample(toy_mixture(path), noise, nfe=10)
    assert meter.evaluations == 4 * 10
    assert x.isfinite().all()


@pytest.mark.parametrize(
    "path", [VPLinear(), VPDiscrete(), VPCosine(), EDM(), FlowOT()], ids=lambda p: type(p).__name__
)
def test_one_step_of_every_multistep_method_is_ddim(path, toy_mixture):
    """With one value there is nothing to extrapolate: the integrals must be exact on every path."""
    noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = path.time_at(torch.tensor([40.0, 0.0], dtype=torch.float64))
    expected = solvers.get("ddim").sample(toy_mixture(path), noise, times=grid)
    for name in ("dpmpp-3m", "unipc-3", "deis-tab3", "deis-rhoab3", "ipndm", "ipndm-v", "heun"):
        x = solvers.get(name).sample(toy_mixture(path), noise, times=grid)
        torch.testing.assert_close(x, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("changed", [{}, {"thresholding": 0.5}, {"afs": True}], ids=["plain", "thresholding", "afs"])
@pytest.mark.parametrize("name", ["ddim", "heun", "ipndm", "deis-tab2", "dpm-solver-2", "runge-kutta", "unipc-2"])
def test_a_network_that_predicts_eps_is_solved_as_its_denoiser_is(name, changed, toy_mixture):
    exact, path = toy_mixture(VPLinear()), VPLinear()
    x = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    solver = solvers.get(name, **changed)
    nfe = next(n for n in range(6, 12) if not solvers.specs()[name].refusal(n, solver.options))
    by_eps = solver.sample(NetworkDenoiser(PredictsEps(exact), path, "eps"), x, nfe=nfe)
    torch.testing.assert_close(by_eps, solver.sample(exact, x, nfe=nfe), rtol=1e-8, atol=1e-8)


def test_a_solver_used_on_another_teacher_has_that_teachers_grid():
    used, x = solvers.get("euler", path="vp-cosine"), torch.ones(2, 3)
    low, high = (from_function(lambda x, t: x / 10, EDM(sigma_max=level)) for level in (20.0, 80.0))
    used.sample(high, x, nfe=4)
    fresh = solvers.get("euler", path="vp-cosine").sample(low, x, nfe=4)
    assert used.sample(low, x, nfe=4).equal(fresh)
