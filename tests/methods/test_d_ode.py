"""D-ODE solvers: the authors' lambdas and samples, the least-squares fit, aligned targets, the two-step budget."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fewstep import datasets
from fewstep.bench.errors import TaskError
from fewstep.bench.metrics import rmse
from fewstep.bench.training import loop as training
from fewstep.bench.training.ledger import Ledger, forward_flops
from fewstep.bench.training.tracking import NoTracker
from fewstep.methods import registry, solvers
from fewstep.methods.denoiser import from_function, metered
from fewstep.methods.learned_solvers.d_ode import (
    DODE,
    VARIANTS,
    corrected,
    d_ode_base,
    fit,
    fitted,
    stored,
    teacher_states,
)
from fewstep.methods.learned_solvers.d_ode_targets import every, official, teacher_steps
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM, FlowOT, VPDiscrete, VPLinear, as_time
from fewstep.methods.randomness import noise
from fewstep.methods.solvers.grids import times
from fewstep.methods.specs.d_ode import DODEOptions
from fewstep.methods.specs.solver import Grid
from fewstep.methods.teachers.analytic import MixtureDenoiser
from fewstep.tests.methods import killing

SHAPE = (3, 4, 4)
LABELS = Grid(spacing="ddim-uniform")
LOG_SNR = Grid(spacing="log-snr", end="min")


class LinearChain(VPDiscrete):
    """The chain as th_deis has it: alpha^2, not its logarithm, is linear between the labels."""

    def _piece(self, t):
        t, squares = as_time(t), torch.exp(2 * self._log_alphas)
        i = (t * self.labels + 1e-9).floor().clamp(1, self.labels - 1).long()
        slope = squares[i + 1] - squares[i]
        square = squares[i] + (t * self.labels - i) * slope
        return square.log() / 2, slope * self.labels / square / 2

    def time_at(self, noise_level):
        square, falling = 1 / (1 + as_time(noise_level) ** 2), -torch.exp(2 * self._log_alphas)
        i = (torch.searchsorted(falling, -square.double(), right=True) - 1).clamp(1, self.labels - 1)
        return (i + (-square - falling[i]) / (falling[i + 1] - falling[i])) / self.labels


VARIANT_OF = {
    "d_ddim_noise": "ddim-noise",
    "d_ddim_edm": "ddim-data",
    "d_edm": "heun",
    "d_ipndm": "ipndm",
    **{f"d_tab_deis_o{k}": f"deis-tab{k}" for k in (1, 2, 3)},
    **{f"d_dpm_solver_o{k}": f"dpm-solver-{k}" for k in (1, 2, 3)},
}


@dataclass
class Case:
    """An entry of the references. start: the state at the first node over x_T, the student's and the teacher's."""

    options: DODEOptions
    denoiser: Any
    run: dict[str, Any]
    steps: Any
    start: float
    quadrature: dict[str, str]

    def solver(self, options):
        name, given = options.base()
        return solvers.get(name, **given, **self.quadrature)

    def noise(self, x, first):
        return x * self.start / self.denoiser.path.sigma(first)


@pytest.fixture
def case_of(laws):
    chain, linear = VPDiscrete(), LinearChain()
    mixture = laws("gmm", chain)
    th_deis = from_function(lambda x, t: linear.x0_from_eps(x, chain.eps(x, mixture(x, t), t), t), linear)

    def of(key, meta, arrays):
        family = key.split("/")[0]
        nfe, variant = meta.get("nfe", int(key.rpartition("/n")[2])), VARIANT_OF[family]
        if variant == "ddim-noise":
            labels = [arrays[f"{key}/{name}"].double().flip(0) for name in ("seq", "teacher_seq")]
            student, slow = (torch.cat([chain.time_of_label(label), torch.zeros(1)]) for label in labels)
            steps = slow, every(len(labels[1]) // nfe, nfe, len(labels[1]))
            return Case(DODEOptions(solver=variant), mixture, {"times": student}, steps, 1.0, {})
        edm, deis = family.endswith("edm"), variant.startswith(("ipndm", "deis"))
        grid = Grid(end="append-zero") if edm else Grid(spacing="uniform", end="min")
        options = DODEOptions(solver=variant, scale=meta["C"], grid=grid)
        denoiser = laws("gmm", EDM()) if edm else th_deis if deis else mixture
        steps = official(options, denoiser.path, nfe)
        quadrature = {"quadrature": "th_deis"} if variant.startswith("deis") else {}
        return Case(options, denoiser, {"nfe": nfe}, steps, denoiser.path.t_max if edm else 1.0, quadrature)

    return of


def close(value, expected, tolerance, key):
    worst = float((value - expected).abs().max()) / max(1.0, float(expected.abs().max()))
    assert worst <= tolerance, f"{key}: {worst:.1e}"


def test_reference_lambdas_targets_and_samples(reference, problem, case_of):
    """The official code starts its teacher and its student from the same state, at two noise levels."""
    arrays = reference("solvers/d_ode")
    entries = [key for key in arrays.meta if key.startswith("d_")]
    assert entries
    for key in entries:
        case = case_of(key, arrays.meta[key], arrays)
        # The authors' D-DPM-Solver rounds its lambdas to float32.
        tolerance = 1e-5 if key.startswith("d_dpm") else 1e-6
        variant, slow, base = case.options.solver, case.options.of_teacher(), case.solver(case.options)
        start = case.noise(problem["x_T"], case.steps[0][0])
        targets = teacher_states(slow.solver, case.solver(slow), case.denoiser, start, case.steps)
        if f"{key}/teacher_targets" in arrays:
            close(targets, arrays[f"{key}/teacher_targets"][1:], tolerance, key)
        first = case.run["times"][0] if "times" in case.run else case.denoiser.path.t_max
        start, other = (case.noise(x, first) for x in (problem["x_T"], problem["noise"][0]))
        lambdas: list[float] = []
        x = corrected(variant, base, fitted(targets, lambdas)).sample(case.denoiser, start, **case.run)
        close(x, arrays[f"{key}/x_first_batch"], tolerance, key)
        expected = arrays[f"{key}/lambdas"]
        if expected.ndim == 2:
            plan, _ = base.schedule(case.denoiser.path, case.run["nfe"])
            expected = torch.cat([row[:order] for row, order in zip(expected, plan, strict=True)])
        torch.testing.assert_close(torch.tensor(lambdas, dtype=torch.float64), expected, rtol=tolerance, atol=tolerance)
        again = corrected(variant, base, stored(expected.tolist())).sample(case.denoiser, other, **case.run)
        close(again, arrays[f"{key}/x_second_batch"], tolerance, key)


SETTINGS = {
    "edm": (EDM(0.002, 80.0), Grid()),
    "edm-append-zero": (EDM(0.002, 80.0), Grid(end="append-zero")),
    "edm-min": (EDM(0.002, 80.0), Grid(end="min")),
    "vp-log-snr": (VPLinear(), LOG_SNR),
    "labels": (VPDiscrete(), LABELS),
    "flow": (FlowOT(), Grid(spacing="uniform")),
}


def reachable(options, nfe):
    return registry.method("d-ode").refusal(nfe, options) is None


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("path", "grid"), SETTINGS.values(), ids=SETTINGS)
def test_with_lambda_zero_it_is_its_base_solver(path, grid, variant, laws, problem):
    if isinstance(path, FlowOT) and variant.startswith(("dpm-solver", "heun")):
        pytest.skip("these step in sigma/alpha, which is infinite at a flow's start")
    options = DODEOptions(solver=variant, grid=grid)
    base, found = d_ode_base(options), 0
    for nfe in (1, 4, 5, 7, 8):
        if reachable(options, nfe):
            found += 1
            expected = base.sample(laws("gmm", path), problem["x_T"], nfe=nfe)
            with metered() as meter:
                x = corrected(variant, base, stored([0.0] * nfe)).sample(laws("gmm", path), problem["x_T"], nfe=nfe)
            torch.testing.assert_close(x, expected, rtol=1e-12, atol=1e-12)
            assert meter.evaluations == nfe * len(x)
    assert found >= 2


def solved(options, denoiser, start, nfe):
    """(targets, lambdas, samples on the fitting batch)."""
    base, slow = d_ode_base(options), options.of_teacher()
    steps = teacher_steps(options, base, denoiser.path, nfe)
    targets = teacher_states(slow.solver, d_ode_base(slow), denoiser, start, steps)
    x, lambdas = fit(options.solver, base, denoiser, start, targets)
    return targets, lambdas, x


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_lambda_is_the_least_squares_solution_of_its_step(variant, laws, problem):
    """Against numpy's solver, and never farther from the target than the base step is. Nothing comes before the
    first D, so that there is nothing to correct it with.
    """
    options = DODEOptions(solver=variant, grid=Grid(end="min"))
    denoiser, nfe = laws("gmm", EDM()), 6
    targets, lambdas, x = solved(options, denoiser, problem["x_T"], nfe)
    remaining = iter(zip(targets, lambdas, strict=True))

    def check(plain, direction):
        target, found = next(remaining)
        missing = (target - plain).flatten()
        expected = np.linalg.lstsq(direction.reshape(-1, 1).numpy(), missing.numpy(), rcond=None)[0]
        assert float(found) == pytest.approx(float(expected[0]), rel=1e-9, abs=1e-12)
        moved = plain + found * direction
        assert (target - moved).norm() <= (target - plain).norm()
        return moved

    again = corrected(variant, d_ode_base(options), check).sample(denoiser, problem["x_T"], nfe=nfe)
    torch.testing.assert_close(again, x)
    assert not list(remaining)
    assert (lambdas[0] == 0) == variant.startswith(("ddim-data", "heun", "dpmpp", "unipc"))
    assert (lambdas[1:] != 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("path", "grid"), SETTINGS.values(), ids=SETTINGS)
def test_aligned_targets_lie_at_the_students_own_times(path, grid, variant):
    """`scale` sub-steps for each evaluation; a step from the smallest level to clean data has none inside."""
    options = DODEOptions(solver=variant, grid=grid, scale=4)
    base = d_ode_base(options)
    for nfe in (4, 5, 7, 8):
        if reachable(options, nfe):
            plan, student = base.schedule(path, nfe)
            slow, wanted = teacher_steps(options, base, path, nfe)
            ends = student[1:] if len(plan) != len(student) - 1 else student[1:].repeat_interleave(torch.tensor(plan))
            assert torch.equal(slow[wanted], ends)
            assert (slow.diff() < 0).all()
            skipped = 3 if path.sigma(student[-1]) == 0 and student[-2] <= path.t_min else 0
            assert len(slow) - 1 == 4 * nfe - skipped
            assert slow[-2] >= path.t_min


def test_on_a_grid_that_its_refinements_contain_both_targets_are_one():
    """The misalignment of the released code comes from its grids, which end twice: at sigma_min, then at 0."""
    for grid, same in ((Grid(), True), (Grid(end="min"), True), (Grid(end="append-zero"), False)):
        aligned, released = (DODEOptions(grid=grid, targets=targets) for targets in ("aligned", "official"))
        own, theirs = (teacher_steps(o, d_ode_base(o), EDM(), 5) for o in (aligned, released))
        student = times(grid, EDM(), 5)[1:]
        torch.testing.assert_close(own[0][own[1]], student)
        assert torch.allclose(theirs[0][theirs[1]], student, rtol=1e-9) == same


TABLE = {
    "edm": ({5: 0.128, 8: 0.083, 10: 0.066, 20: 0.033}, {5: 0.060, 8: 0.037, 10: 0.026, 20: 0.0066}),
    "labels": ({5: 0.142, 8: 0.108, 10: 0.093, 20: 0.054}, {5: 0.053, 8: 0.041, 10: 0.029, 20: 0.0071}),
}
"""RMSE of DDIM and aligned D-DDIM by NFE, measured once on this mixture from noises that were not kept."""


@pytest.mark.parametrize("row", TABLE)
def test_aligned_d_ddim_is_as_much_better_than_ddim_as_measured_before(row, laws, problem):
    """DDIM, too, is only within a tenth of the table: other noises. The fit adds the scatter of its own batch."""
    path, variant, grid = {
        "edm": (EDM(), "ddim-data", Grid(end="append-zero")),
        "labels": (VPDiscrete(), "ddim-noise", LABELS),
    }[row]
    batch, fresh = problem["noise"][:12].flatten(0, 1), problem["noise"][12:].flatten(0, 1)
    truth = solvers.get("rk45", tolerance=1e-7).sample(laws("gmm", path), fresh)
    for nfe, expected in TABLE[row][1].items():
        options = DODEOptions(solver=variant, grid=grid, scale=10)
        base, denoiser = d_ode_base(options), laws("gmm", path)
        _, lambdas, _ = solved(options, denoiser, batch, nfe)
        x = corrected(variant, base, stored(lambdas.tolist())).sample(denoiser, fresh, nfe=nfe)
        assert rmse(base.sample(denoiser, fresh, nfe=nfe), truth) == pytest.approx(TABLE[row][0][nfe], rel=0.1)
        assert rmse(x, truth) == pytest.approx(expected, rel=0.4)


def method_on(denoiser, nfe, shape=SHAPE, **options):
    """A fitted method, in float64, as the runner drives it."""
    denoiser.sample_shape = shape
    method = DODE(denoiser, DODEOptions(**options), nfe=nfe).double()
    while not method.finished:
        method.training_step({"step": 0}, 0)
    return method


@pytest.fixture(scope="module")
def exact(laws, problem):
    """(path, its clean end) -> (fresh noises, their exact solutions on the mixture), each solved once."""
    fresh, known = problem["noise"][:16].flatten(0, 1), {}

    def solved(path, end):
        if (path, end) not in known:
            ends = torch.tensor([path.t_max, end], dtype=torch.float64)
            known[path, end] = solvers.get("rk45", tolerance=1e-7).sample(laws("gmm", path), fresh, times=ends)
        return fresh, known[path, end]

    return solved


@pytest.mark.parametrize("variant", sorted({*VARIANTS} - {"dpmpp-3m", "unipc-2"}))
def test_every_variant_is_nearer_to_the_exact_solution_than_its_base(variant, laws, exact):
    """Fresh noises, NFE 4 to 9. Not so for Heun on EDM's grid with five evaluations (0.133 against 0.115), whatever
    the batch: nothing corrects its first stage, and what corrects the second spans one very long step.
    """
    path, grid = (VPLinear(), LOG_SNR) if variant == "heun" else (EDM(0.01, 40.0), Grid())
    denoiser, options = laws("gmm", path), DODEOptions(solver=variant, grid=grid)
    fresh, truth = exact(path, path.t_min if grid.end == "min" else 0.0)
    for nfe in range(4, 10):
        if reachable(options, nfe):
            base = d_ode_base(options).sample(denoiser, fresh, nfe=nfe)
            x = method_on(denoiser, nfe, solver=variant, grid=grid).sample(fresh, nfe)
            assert rmse(x, truth) < rmse(base, truth), nfe


def sliced_wasserstein(x, y):
    """Of order 2 over 64 directions, for as many points x as y in the plane."""
    directions = torch.randn(2, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    directions /= directions.norm(dim=0)
    return float(((x @ directions).sort(0).values - (y @ directions).sort(0).values).square().mean().sqrt())


@pytest.mark.parametrize("variant", ["ddim-noise", "ddim-data"])
def test_four_evaluations_on_the_ring_of_gaussians(variant):
    """EDM's grid, where Euler is at 0.21; samples of the law itself are 0.03 apart."""
    data, grid = datasets.get("mixture-2d"), Grid(end="append-zero")
    teacher = MixtureDenoiser(data.weights, data.means, data.stds**2, EDM(0.01, 40.0))
    fresh, real = noise(1, "fresh", range(2000), (2,)).double(), data.samples(torch.arange(2000)).double()
    method = method_on(teacher, 4, (2,), solver=variant, grid=grid)
    assert sliced_wasserstein(solvers.get("euler", grid=grid).sample(teacher, fresh, nfe=4), real) > 0.18
    assert sliced_wasserstein(method.sample(fresh, 4), real) < 0.07


def test_another_nfe_than_the_fitted_one_is_refused(laws):
    method = method_on(laws("gmm", EDM()), 4, batch=4)
    with pytest.raises(UnreachableNFE, match="fitted for 4"):
        method.sample(torch.zeros(1, *SHAPE, dtype=torch.float64), 5)


def test_it_reaches_what_its_base_solver_reaches():
    spec = registry.method("d-ode")
    assert "odd NFE only" in spec.refusal(4, DODEOptions(solver="heun"))
    assert spec.refusal(4, DODEOptions(solver="heun", grid=Grid(end="min"))) is None
    for variant in VARIANTS:
        assert all(reachable(DODEOptions(solver=variant), nfe) for nfe in (1, 3, 5, 7, 9))


def test_a_teacher_without_sample_shape_is_told_what_it_lacks(laws):
    with pytest.raises(ValueError, match="sample_shape"):
        DODE(laws("gmm", EDM()), DODEOptions())


def budget_run(folder, budget=2000.0, tracker=None, nfe=5, **options):
    teacher = killing.small_teacher()
    method = DODE(teacher, DODEOptions(**{"batch": 16, "scale": 10, **options}), nfe=nfe)
    ledger = Ledger(budget, "evaluations", forward_flops(teacher, torch.randn(2, 2)))
    training.fit(method, datasets.get("mixture-2d"), 0, ledger, folder, tracker or NoTracker())
    return method, ledger


@pytest.mark.parametrize("variant", sorted({*VARIANTS} - {"dpmpp-2m", "dpmpp-3m", "unipc-3"}))
def test_the_ledger_holds_the_teacher_and_the_student_of_one_batch(tmp_path, variant):
    with FlopCounterMode(display=False) as counter:
        method, ledger = budget_run(tmp_path, solver=variant, scale=4)
    assert ledger.flops == pytest.approx(counter.get_total_flops(), rel=0.005)
    spent = {use: flops / ledger.flops_per_evaluation for use, flops in ledger.uses.items()}
    assert spent == pytest.approx({"ground truth": 16 * 4 * 5, "student forward": 16 * 5})
    assert ledger.steps == 5
    assert method.result().lambdas.abs().max() > 0
    assert method.trainable_count() == 5


class Killed(BaseException):
    """Nothing in the house catches this, as nothing catches a kill."""


class KillAt(NoTracker):
    def __init__(self, step):
        self.step = step

    def log(self, row):
        if row["step"] == self.step:
            raise Killed


@pytest.mark.parametrize(("step", "left"), [(3, 16 * 5 + 12 * 50), (5, 16 * 5)])
def test_killed_and_resumed_it_has_the_same_lambdas(tmp_path, monkeypatch, step, left):
    """The teacher's states are in the checkpoint: they are neither solved nor charged again."""
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    undisturbed, expected = budget_run(tmp_path / "a")
    (tmp_path / "b").mkdir()
    with pytest.raises(Killed):
        budget_run(tmp_path / "b", tracker=KillAt(step))
    assert (tmp_path / "b" / training.CHECKPOINT).exists()
    with metered() as meter:
        resumed, ledger = budget_run(tmp_path / "b")
    assert torch.equal(resumed.result().lambdas, undisturbed.result().lambdas)
    assert (ledger.flops, ledger.steps) == (expected.flops, expected.steps)
    assert meter.evaluations == left + 2


@pytest.mark.parametrize(("budget", "batch"), [(111.0, 2), (221.0, 4), (439.0, 4), (441.0, 8), (900.0, 16)])
def test_the_batch_shrinks_to_what_the_budget_allows(tmp_path, budget, batch):
    """Each noise takes 10 x 5 evaluations of the teacher and 5 of the fit."""
    method, ledger = budget_run(tmp_path, budget)
    assert ledger.evaluations == pytest.approx(batch * 55)
    assert int(method.solved) == batch
    assert method.finished


def test_a_budget_below_the_smallest_batch_is_out_of_budget(tmp_path):
    with pytest.raises(TaskError, match="out of budget: one step costs"):
        budget_run(tmp_path, 90.0)
    assert not (tmp_path / training.CHECKPOINT).exists()


def test_the_loss_falls_to_what_the_fit_leaves(tmp_path):
    class Kept(NoTracker):
        losses: list[float] = []

        def log(self, row):
            self.losses.append(row["loss"])

    kept = Kept()
    budget_run(tmp_path, tracker=kept)
    before, *_, after = kept.losses
    assert 0 < after < 0.1 * before
