"""IIA: fitted coefficients and samples, the base solver inside, the gain on exact problems, what a fit costs."""

import math
from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fewstep import datasets
from fewstep.bench.errors import TaskError
from fewstep.bench.metrics import rmse
from fewstep.bench.training.ledger import Ledger, forward_flops
from fewstep.bench.training.loop import fit
from fewstep.bench.training.tracking import NoTracker
from fewstep.methods import registry, solvers
from fewstep.methods.denoiser import EDMDenoiser, from_function
from fewstep.methods.learned_solvers.iia import IIA, FittedSolver, iia_base, least_squares
from fewstep.methods.networks.mlp import ResidualMLP
from fewstep.methods.networks.unet import SmallUNet
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM, VPDiscrete, VPLinear
from fewstep.methods.randomness import noise
from fewstep.methods.solvers import grids
from fewstep.methods.solvers.rk45 import dormand_prince
from fewstep.methods.specs.iia import IIAOptions
from fewstep.methods.specs.solver import Grid
from fewstep.methods.teachers.analytic import GaussianDenoiser

SOLVERS = ["heun", "heun-basic", "ddim", "dpmpp-2m", "s-pndm", "ipndm"]
SHAPE = (3, 4, 4)


def reference_case(key, meta, arrays):
    """(options, path, times, start over x_T) of an entry."""
    if key.startswith("iia_ddim"):
        path = VPDiscrete()
        labels = arrays[f"{key}/seq"].double().sort(descending=True).values
        times = torch.cat([path.time_of_label(labels), torch.zeros(1, dtype=torch.float64)])
        options = IIAOptions(solver="ddim", substeps=meta["M"], grid=Grid(spacing="ddim-uniform"))
        return options, path, times, 1 / path.sigma(times[0])
    options = IIAOptions(
        solver="heun-basic" if key.startswith("biia_edm") else "heun",
        r=meta["r"],
        substeps=meta["M"],
        grid=Grid(end="append-zero"),
    )
    path = EDM(0.002, 80.0)
    return options, path, grids.times(options.grid, path, meta["N"]), 1.0


def close(value, expected):
    assert float((value - expected).abs().max()) <= 1e-6 * max(1.0, float(expected.abs().max()))


def test_reference_coefficients_and_samples(reference, laws, problem):
    arrays = reference("solvers/iia")
    assert arrays.meta
    for key, meta in arrays.meta.items():
        options, path, times, start = reference_case(key, meta, arrays)
        teacher, solver = laws("gmm", path), FittedSolver(options, len(times) - 1)
        fitted, _ = solver.fit(teacher, start * problem["x_T"], times)
        expected = arrays[f"{key}/coef"]
        close(solver.coefficients[: len(expected)], expected)
        assert not solver.coefficients[len(expected) :].any(), key
        close(fitted, arrays[f"{key}/x_fit"])
        close(solver.sample(teacher, start * problem["noise"][0], times=times), arrays[f"{key}/x_second_batch"])


def base_coefficients(solver, path, times):
    """Heun's own factors of its two residuals, or of its mean slope; no differences for the others."""
    coefficients = torch.zeros_like(solver.coefficients)
    levels = path.noise_level(times)
    for i, (t, s) in enumerate(pairwise(levels)):
        if s > 0 and solver.options.solver == "heun":
            coefficients[i, :2] = torch.stack([(s - t) / t, (s - t) / (2 * s)])
        elif s > 0 and solver.options.solver == "heun-basic":
            coefficients[i, 0] = 1
    return coefficients


@pytest.mark.parametrize("end", ["zero", "min"])
@pytest.mark.parametrize("path", [EDM(0.01, 40.0), VPLinear(), VPDiscrete()], ids=["edm", "vp", "vp-discrete"])
@pytest.mark.parametrize("name", SOLVERS)
def test_with_its_own_coefficients_it_is_the_base_solver(name, path, end, laws, problem):
    options = IIAOptions(solver=name, r=2, grid=Grid(spacing="log-snr", end=end))
    base, teacher, x = iia_base(options), laws("gmm", path), problem["x_T"]
    for nfe in (5, 6, 12, 13):
        try:
            times = grids.times(options.grid, path, base.steps(nfe))
        except UnreachableNFE:
            continue
        solver = FittedSolver(options, len(times) - 1)
        solver.coefficients.copy_(base_coefficients(solver, path, times))
        expected = solvers.get(options.base, grid=options.grid).sample(teacher, x, nfe=nfe)
        torch.testing.assert_close(solver.sample(teacher, x, nfe=nfe), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("solver", ["heun", "heun-basic"])
def test_on_an_isotropic_gaussian_the_fit_is_the_exact_solution(solver):
    """There z - D, D - D~ and the true increment are all multiples of z: one factor makes every step exact."""
    path, std = EDM(0.01, 40.0), 0.7
    teacher = GaussianDenoiser(torch.zeros(4, dtype=torch.float64), torch.full((4,), std**2, dtype=torch.float64), path)
    x = noise(0, "fresh", range(16), (4,)).double()
    times = torch.tensor([40.0, 9.0, 2.0, 0.5], dtype=torch.float64)
    fitted = FittedSolver(IIAOptions(solver=solver, r=0, substeps=400), 3)
    fitted.fit(teacher, noise(1, "fresh", range(3), (4,)).double(), times)
    exact = math.sqrt((std**2 + 0.5**2) / (std**2 + 40**2)) * 40 * x
    assert rmse(iia_base(fitted.options).sample(teacher, x, times=times), exact) > 0.2
    assert rmse(fitted.sample(teacher, x, times=times), exact) < 2e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_is_not_fitted(dtype):
    """In the step after a plain DDIM one the differences of D and of eps agree but for rounding."""
    d, target = (noise(seed, "fresh", range(64), SHAPE).to(dtype) for seed in (0, 1))
    state = 30 * noise(2, "fresh", range(64), SHAPE).to(dtype)
    level = 25.0
    eps = (state - (state - d)) / level
    assert not torch.equal(level * eps, d)
    own = least_squares([d, eps], target + d)
    exact = d.double()
    along = float((exact * (target.double() + exact)).sum() / exact.square().sum())
    expected = along / (1 + level**-2) * torch.tensor([1, 1 / level], dtype=torch.float64)
    torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def teacher(laws):
    """The exact mixture as a teacher."""
    denoiser = laws("gmm", EDM(0.01, 40.0))
    denoiser.sample_shape = SHAPE
    return denoiser


@pytest.fixture(scope="module")
def fresh():
    return noise(1, "fresh", range(1024), SHAPE).double()


@pytest.fixture(scope="module")
def exact(teacher, fresh):
    return solvers.get("rk45", tolerance=1e-9).sample(teacher, fresh)


def fitted(teacher, options, nfe, seed=0):
    """An IIA fitted by its one training step."""
    method = IIA(teacher, options, seed=seed, nfe=nfe)
    loss = method.training_step({"step": 0, "x0": torch.zeros(1, dtype=torch.float64)}, 0)
    assert method.finished
    assert math.isfinite(loss)
    return method


GAINS = {
    "heun": range(7, 20, 2),
    "heun-basic": range(7, 20, 2),
    "ddim": range(3, 21),
    "dpmpp-2m": range(3, 7),
    "s-pndm": range(4, 21),
    "ipndm": range(3, 8),
}
"""NFEs up to 20 at which each is nearer to the exact solution than its base; at the others see the test after."""


@pytest.mark.parametrize("name", SOLVERS)
def test_the_fit_brings_a_solver_nearer_to_the_exact_solution(name, teacher, fresh, exact):
    options = IIAOptions(solver=name, substeps=10)
    for nfe in GAINS[name]:
        before = rmse(iia_base(options).sample(teacher, fresh, nfe=nfe), exact)
        assert rmse(fitted(teacher, options, nfe).sample(fresh, nfe), exact) < before, nfe


def states(teacher, sample):
    """time -> the last state that `sample(denoiser)` asks there: Heun's prediction comes before it."""
    found = {}

    def recorded(x, t):
        found[float(t)] = x
        return teacher(x, t)

    sample(from_function(recorded, teacher.path))
    return found


@pytest.mark.parametrize(("name", "nfe"), [("heun", 3), ("heun-basic", 5), ("dpmpp-2m", 11), ("ipndm", 11)])
def test_where_the_end_is_no_nearer_every_state_on_the_way_is(name, nfe, teacher, fresh):
    """The base's last steps happen to make up for its errors before, or start where one Euler step to 0 is too long.

    A fit of each step alone has no share in that: down to noise level 0.2 its states are the nearer ones.
    """
    method = fitted(teacher, IIAOptions(solver=name, substeps=10), nfe)
    base = iia_base(method.options)
    own = states(teacher, lambda denoiser: method.solver.sample(denoiser, fresh, nfe=nfe))
    others = states(teacher, lambda denoiser: base.sample(denoiser, fresh, nfe=nfe))

    def slope(y, s, rows):
        return y - teacher(y, s.exp())

    truth, level = 40 * fresh, 40.0
    first_fitted = 0 if method.solver.variant.own else 1
    on_the_way = [t for t in method.times[first_fitted + 1 : -1].tolist() if t > 0.2]
    assert on_the_way
    for t in on_the_way:
        truth, level = dormand_prince(slope, truth, math.log(level), math.log(t), 1e-9), t
        assert rmse(own[t], truth) < 0.95 * rmse(others[t], truth), t


def test_one_euler_step_from_the_exact_state_is_no_better_than_three_evaluations_of_heun(teacher, fresh, exact):
    """Hence no fit of the steps before it lowers the error of so few evaluations."""
    level = float(IIA(teacher, IIAOptions(), nfe=3).times[-2])

    def slope(y, s, rows):
        return y - teacher(y, s.exp())

    truth = dormand_prince(slope, 40 * fresh, math.log(40), math.log(level), 1e-9)
    assert rmse(teacher(truth, level), exact) > rmse(solvers.get("heun").sample(teacher, fresh, nfe=3), exact)


@pytest.mark.parametrize("name", SOLVERS)
def test_no_other_coefficients_of_a_step_come_nearer_to_its_fine_run(name, teacher):
    """The last fitted step's distance to its fine run, against that with each coefficient moved either way."""
    options = IIAOptions(solver=name, batch=16)
    method = fitted(teacher, options, 7)
    solver, start = method.solver, noise(0, "trajectory", range(16), SHAPE).double()
    i = len(solver.coefficients) - 2
    t, s = method.times[i : i + 2]
    inner = grids.within(options.grid.model_copy(update=solver.variant.fine_grid), teacher.path, t, s, options.substeps)
    fine = solvers.get(options.base, grid=options.grid, **solver.variant.fine_options)

    def residual():
        found = states(teacher, lambda denoiser: solver.sample(denoiser, start, nfe=7))
        before, after = found[float(t)], found[float(s)]
        return float((after - fine.sample(teacher, before / t, times=inner)).square().mean())

    best = residual()
    for column in range(solver.variant.columns(i, options.r)):
        kept = solver.coefficients[i, column].clone()
        for factor in (0.99, 1.01):
            solver.coefficients[i, column] = factor * kept
            assert residual() > best
        solver.coefficients[i, column] = kept


def test_a_restored_fit_samples_the_same(teacher, fresh):
    method = fitted(teacher, IIAOptions(solver="dpmpp-2m"), 6)
    other = IIA(teacher, IIAOptions(solver="dpmpp-2m"), nfe=6)
    other.result().load_state_dict(method.result().state_dict())
    assert torch.equal(other.sample(fresh, 6), method.sample(fresh, 6))


def test_the_seed_determines_the_fit(teacher):
    options = IIAOptions(solver="ddim", batch=4)
    first, same, other = (fitted(teacher, options, 5, seed).solver.coefficients for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("r", [1, 2])
def test_every_counted_coefficient_is_fitted_and_no_other(name, r, teacher):
    method = fitted(teacher, IIAOptions(solver=name, r=r, batch=4), 9)
    assert int(method.solver.coefficients.count_nonzero()) == method.trainable_count()


def test_labels_inside_a_step_are_whole_and_each_is_there_once():
    path = VPDiscrete()
    times = grids.within(Grid(spacing="ddim-uniform"), path, path.time_of_label(16), path.time_of_label(12), 10)
    assert path.label(times).round(decimals=9).tolist() == [16, 15, 14, 13, 12]


@pytest.mark.parametrize(
    ("solver", "nfe", "why"),
    [
        ("heun", 6, "odd NFE only"),
        ("heun", 1, "would be its base solver"),
        ("ddim", 2, "come after another"),
        ("dpmpp-2m", 1, "come after another"),
        ("s-pndm", 2, "at least 3"),
        ("s-pndm", 3, "come after another"),
    ],
)
def test_evaluations_that_leave_nothing_to_fit_are_refused(solver, nfe, why, teacher):
    options = IIAOptions(solver=solver)
    assert why in registry.method("iia").refusal(nfe, options)
    with pytest.raises(UnreachableNFE, match=why):
        IIA(teacher, options, nfe=nfe)


def test_wrong_inputs_are_told(teacher):
    with pytest.raises(ValueError, match="r: 0 leaves ddim nothing to fit"):
        IIAOptions(solver="ddim", r=0)
    method = IIA(teacher, IIAOptions(), nfe=5)
    with pytest.raises(UnreachableNFE, match="fitted for 5"):
        method.sample(torch.zeros(1, *SHAPE), 7)
    with pytest.raises(RuntimeError, match="not fitted yet"):
        method.sample(torch.zeros(1, *SHAPE), 5)
    with pytest.raises(ValueError, match="sample_shape"):
        IIA(from_function(lambda x, t: x, EDM()), IIAOptions(), nfe=5)


def network(kind):
    torch.manual_seed(0)
    net, shape = (
        (SmallUNet(1, 8, (1, 2)), (1, 8, 8)) if kind == "digits" else (ResidualMLP(2, width=16, blocks=1), (2,))
    )
    denoiser = EDMDenoiser(net, 0.75, EDM(0.01, 40.0)).requires_grad_(False)
    denoiser.sample_shape = shape
    return denoiser


def run(folder, data, budget, **options):
    """(method, ledger, FLOPs counted around the whole fit)."""
    denoiser = network(data)
    method = IIA(denoiser, IIAOptions(batch=8, **options), nfe=9)
    ledger = Ledger(budget, "evaluations", forward_flops(denoiser, torch.randn(2, *denoiser.sample_shape)))
    with FlopCounterMode(display=False) as counter:
        fit(method, datasets.get(data), 0, ledger, folder, NoTracker())
    return method, ledger, counter.get_total_flops()


FINE = {"heun": 4 * 2 * 5, "heun-basic": 4 * 2 * 5, "ddim": 7 * 5, "dpmpp-2m": 7 * 5, "s-pndm": 6 * 6, "ipndm": 7 * 5}
"""Evaluations of the fine runs at NFE 9, M = 5: fitted steps times what M steps of the base solver take."""


@pytest.mark.parametrize(
    ("data", "name"), [*(("mixture-2d", name) for name in SOLVERS), ("digits", "heun"), ("digits", "dpmpp-2m")]
)
def test_the_ledger_is_a_flop_counter_around_the_fit_and_names_the_fine_runs(tmp_path, data, name):
    method, ledger, counted = run(tmp_path, data, 1000.0, solver=name, substeps=5)
    assert ledger.flops == pytest.approx(counted, rel=0.005)
    assert (ledger.steps, ledger.images) == (1, 8)
    assert ledger.evaluations == pytest.approx(8 * (FINE[name] + 9), rel=0.005)
    assert ledger.uses["ground truth"] / ledger.flops_per_evaluation == pytest.approx(8 * FINE[name], rel=0.005)
    assert set(ledger.uses) == {"ground truth", "student forward"}
    assert method.sample(torch.randn(2, *method.teacher.sample_shape), 9).isfinite().all()


def test_a_fit_above_the_budget_is_out_of_budget(tmp_path):
    with pytest.raises(TaskError, match="out of budget: one step costs"):
        run(tmp_path, "mixture-2d", 300.0, solver="ddim", substeps=5)
