"""Bespoke solvers: the paper's update, losses and gradients; identity, order, change of schedule."""

import math

import pytest
import torch

from fewstep.bench.metrics import rmse
from fewstep.bench.training.memory import LiveBytes
from fewstep.methods import solvers
from fewstep.methods.denoiser import from_function
from fewstep.methods.learned_solvers.bespoke import LIPSCHITZ_BOUNDS, LOSSES, STEPS, Bespoke, BespokeSolver, Knots
from fewstep.methods.learned_solvers.ground_truth import Flow, GroundTruth
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM, FlowCosine, FlowOT
from fewstep.methods.randomness import noise
from fewstep.methods.solvers.rk45 import DenseOutput, dormand_prince
from fewstep.methods.specs.bespoke import BespokeOptions

PATHS = {"ot": FlowOT(), "cosine": FlowCosine()}
NAMES = {"t": "theta_t", "td": "theta_dt", "s": "theta_s", "sd": "theta_ds"}


def flow_velocity(denoiser):
    """u in flow time 0 (noise) to 1 (data): the path's time runs the other way."""
    path = denoiser.path
    return lambda x, r: -path.velocity(x, denoiser(x, 1 - r), 1 - r)


def close(value, expected):
    assert float((value.detach() - expected).abs().max()) <= 1e-6 * max(1.0, float(expected.abs().max()))


def reference_solver(arrays, key):
    meta = arrays.meta[key]
    solver = BespokeSolver(meta["rk"], meta["n"]).double()
    with torch.no_grad():
        for short, name in NAMES.items():
            getattr(solver, name).copy_(arrays[f"{key}/theta_{short}"])
    return solver


@pytest.fixture
def cases(reference, laws):
    """(key, arrays, solver with the entry's parameters, velocity) of every entry."""
    arrays = reference("solvers/bespoke")
    assert arrays.meta
    return [
        (key, arrays, reference_solver(arrays, key), flow_velocity(laws("gmm", PATHS[key.split("/")[0]])))
        for key in arrays.meta
    ]


def test_reference_knots(cases):
    for key, arrays, solver, _ in cases:
        knots = solver.knots()
        for name, value in {"t": knots.t, "t_dot": knots.dt, "s": knots.s, "s_dot": knots.ds}.items():
            close(value, arrays[f"{key}/{name}"])


def test_reference_samples(cases, problem):
    for key, arrays, solver, velocity in cases:
        with torch.no_grad():
            close(torch.stack(solver.trajectory(velocity, problem["x_T"])), arrays[f"{key}/traj"])
            close(solver.solve(velocity, problem["x_T"]), arrays[f"{key}/x"])


def test_reference_lipschitz_terms_and_weights(cases):
    for key, arrays, solver, _ in cases:
        close(LIPSCHITZ_BOUNDS[solver.order](solver.knots(), solver.steps), arrays[f"{key}/L"])
        close(solver.error_weights(), arrays[f"{key}/M"])


@pytest.mark.parametrize("order", STEPS)
def test_the_lipschitz_bounds_are_met_where_all_velocities_grow_alike(order):
    """u(x) = x has the constant 1: with ds >= 0 each step is a multiplication by its L_i."""
    solver = BespokeSolver(order, 4).double()
    with torch.no_grad():
        for parameter in solver.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=torch.Generator().manual_seed(order)) + 0.2)
    knots, x = solver.knots(), torch.ones(1, dtype=torch.float64)
    grown = torch.cat([STEPS[order](knots, 4, i, lambda y, t: y, x) for i in range(4)])
    close(grown, LIPSCHITZ_BOUNDS[order](knots, 4))


def test_rk3_learns_every_parameter(laws, problem):
    teacher = laws("gmm", EDM(0.002, 80.0))
    teacher.sample_shape = (3, 4, 4)
    chosen = {"nodes": 9, "tolerance": 1e-3, "trajectories": 4, "batch": 4}
    method = Bespoke(teacher, BespokeOptions(order=3, **chosen), nfe=6).double()
    method.training_step({"step": 0}, 0).backward()
    # s at the end is a factor on x of its own, t at the end is 1.
    assert all((p.grad != 0).sum() >= p.numel() - 1 for p in method.solver.parameters())
    assert method.trainable_count() == 23


def slopes_at(solver, velocity, truth):
    times = solver.step_times().detach()
    with torch.no_grad():
        inner = [velocity(x, t) for x, t in zip(truth[1:-1], times[1:-1], strict=True)]
    return torch.stack([torch.zeros_like(truth[0]), *inner, torch.zeros_like(truth[0])])


@pytest.mark.parametrize("loss", LOSSES)
def test_reference_losses_and_gradients(cases, loss):
    for key, arrays, solver, velocity in cases:
        truth = arrays[f"{key}/gt_knots"]
        slopes = slopes_at(solver, velocity, truth)
        value = LOSSES[loss](solver, velocity, truth, slopes)
        close(value, torch.tensor(arrays.meta[key]["losses"][loss]))
        value.backward()
        for short, name in NAMES.items():
            gradient = getattr(solver, name).grad
            gradient = torch.zeros_like(getattr(solver, name)) if gradient is None else gradient
            close(gradient, arrays[f"{key}/grad_{loss}_{short}"])


def test_reference_local_errors(cases):
    for key, arrays, solver, velocity in cases:
        truth = arrays[f"{key}/gt_knots"]
        close(solver.local_errors(velocity, truth, slopes_at(solver, velocity, truth)), arrays[f"{key}/d_lte"])


@pytest.mark.parametrize(
    ("order", "steps", "count"), [(2, 4, 31), (2, 5, 39), (2, 8, 63), (2, 10, 79), (1, 4, 15), (3, 2, 23), (3, 8, 95)]
)
def test_parameter_counts_are_the_papers(order, steps, count):
    assert BespokeSolver(order, steps).parameter_count == count


def midpoint(velocity, x, n):
    for i in range(n):
        half = x + velocity(x, torch.tensor(i / n, dtype=torch.float64)) / (2 * n)
        x = x + velocity(half, torch.tensor((i + 0.5) / n, dtype=torch.float64)) / n
    return x


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_at_the_identity_it_is_its_base_solver(path, laws, problem):
    velocity = flow_velocity(laws("gmm", path))
    x = problem["x_T"]
    with torch.no_grad():
        torch.testing.assert_close(
            BespokeSolver(2, 6).double().solve(velocity, x), midpoint(velocity, x, 6), rtol=0, atol=1e-10
        )
        euler = x
        for i in range(6):
            euler = euler + velocity(euler, torch.tensor(i / 6, dtype=torch.float64)) / 6
        torch.testing.assert_close(BespokeSolver(1, 6).double().solve(velocity, x), euler, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("tableau", "order"), [("euler", 1), ("midpoint", 2), ("heun3", 3)])
def test_its_base_solver_stands_among_the_training_free_ones(tableau, order, laws, problem):
    """A leaderboard's row for the solver that a bespoke solver starts from."""
    teacher = laws("gmm", EDM(0.002, 80.0))
    teacher.sample_shape = (3, 4, 4)
    base = solvers.get("runge-kutta", tableau=tableau, path="flow-ot", grid={"spacing": "uniform", "end": "min"})
    own = Bespoke(teacher, BespokeOptions(order=order), nfe=12).double().sample(problem["x_T"], 12)
    torch.testing.assert_close(own, base.sample(teacher, problem["x_T"], nfe=12), rtol=0, atol=1e-10)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_its_error_falls_with_the_base_solvers_order(order, laws, problem, reference):
    """Theorem 2.2, at a fixed smooth time change t_r = r + 0.15 sin(2 pi r)/(2 pi), s_r = exp(0.3 r)."""
    velocity = flow_velocity(laws("gauss", FlowOT()))
    x = problem["x_T"]

    def error(n, exact):
        r = torch.arange(order * n + 1, dtype=torch.float64) / (order * n)
        knots = Knots(
            r + 0.15 * torch.sin(2 * math.pi * r) / (2 * math.pi),
            (1 + 0.15 * torch.cos(2 * math.pi * r))[:-1],
            torch.exp(0.3 * r),
            (0.3 * torch.exp(0.3 * r))[:-1],
        )
        solver = BespokeSolver(order, n).double()
        solver.knots = lambda: knots
        with torch.no_grad():
            return float((solver.solve(velocity, x) - exact).square().mean().sqrt())

    exact = reference("solvers/problem")
    mean, std = exact["gauss_mean"], exact["gauss_std"]
    truth = mean + std * x
    slope = math.log2(error(60, truth) / error(120, truth))
    assert slope == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_change_of_schedule_is_a_scale_time_transform(order, laws, problem):
    """Theorem 2.3: with the knots of OT -> cosine it is the base solver on the cosine path."""
    n, x = 5, problem["x_T"]
    r = torch.arange(order * n + 1, dtype=torch.float64) / (order * n)
    a, g = torch.sin(math.pi * r / 2), torch.cos(math.pi * r / 2)
    da, dg = math.pi / 2 * g, -math.pi / 2 * a
    knots = Knots(a / (a + g), ((da * (a + g) - a * (da + dg)) / (a + g) ** 2)[:-1], a + g, (da + dg)[:-1])
    solver = BespokeSolver(order, n).double()
    solver.knots = lambda: knots
    cosine = flow_velocity(laws("gmm", FlowCosine()))
    with torch.no_grad():
        own = solver.solve(flow_velocity(laws("gmm", FlowOT())), x)
        base = BespokeSolver(order, n).double().solve(cosine, x)
    torch.testing.assert_close(own, base, rtol=0, atol=1e-10)


def test_knots_are_valid_whatever_the_raw_parameters_are():
    solver = BespokeSolver(2, 4)
    with torch.no_grad():
        for parameter in solver.parameters():
            parameter.copy_(3 * torch.randn(8, generator=torch.Generator().manual_seed(0)))
    knots = solver.knots()
    assert (knots.t.diff() > 0).all()
    assert float(knots.t[0].detach()) == 0
    assert float(knots.t[-1].detach()) == pytest.approx(1)
    assert (knots.s > 0).all()
    assert float(knots.s[0].detach()) == 1


@pytest.mark.parametrize(("learn", "free"), [("time", {"theta_t", "theta_dt"}), ("scale", {"theta_s", "theta_ds"})])
def test_ablations_learn_only_their_half(learn, free):
    solver = BespokeSolver(2, 3, learn)
    assert {name for name, p in solver.named_parameters() if p.requires_grad} == free


def test_dense_output_is_the_solution_at_its_nodes(laws, problem):
    denoiser = laws("gmm", EDM())
    nodes = torch.tensor([2.0, 0.3, -1.7], dtype=torch.float64)

    def slope(y, s, rows):
        return y - denoiser(y, s.exp())

    start, end = math.log(80.0), math.log(0.01)
    y = 80.0 * problem["x_T"]
    dense = DenseOutput(nodes, y)
    dormand_prince(slope, y, start, end, 1e-7, dense)
    for node, states in zip(nodes, dense.states, strict=True):
        torch.testing.assert_close(states, dormand_prince(slope, y, start, float(node), 1e-9), rtol=0, atol=1e-4)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_ground_truth_is_the_closed_form_flow_of_a_gaussian(path, laws, problem):
    flow = Flow.of(laws("gauss", EDM(0.002, 80.0)), path)
    noise = problem["x_T"]
    truth = GroundTruth(len(noise), 65, noise.shape[1:]).double()
    truth.solve(flow, noise, 1e-8)
    assert int(truth.solved) == 8
    times = torch.tensor([0.0, 0.13, 0.5, 0.777, 1.0], dtype=torch.float64)
    states, slopes = truth.at(times, torch.arange(8))
    mean, variance = problem["gauss_mean"], problem["gauss_std"] ** 2

    def exact(r):
        (a0, s0), (a1, s1) = ((path.alpha(flow.time(q)), path.sigma(flow.time(q))) for q in (times[0], r))
        scale = ((a1**2 * variance + s1**2) / (a0**2 * variance + s0**2)).sqrt()
        return a1 * mean + scale * (s0 * noise - a0 * mean)

    for i, r in enumerate(times):
        torch.testing.assert_close(states[i], exact(r), rtol=0, atol=2e-4)
        if 0 < r < 1:
            derivative = (exact(r + 1e-5) - exact(r - 1e-5)) / 2e-5
            torch.testing.assert_close(slopes[i], derivative, rtol=0, atol=2e-2)


def test_a_batch_of_true_paths_is_read_without_the_others():
    truth = GroundTruth(1000, 5, (3, 4, 4))
    with LiveBytes() as memory:
        truth.at(torch.tensor([0.1, 0.6]), torch.tensor([3, 4]))
    assert memory.peak < truth.states[0].nbytes / 10


def test_flow_time_starts_at_the_teachers_largest_noise():
    flow = Flow.of(from_function(lambda x, t: 0 * x, EDM(0.01, 40.0)), FlowOT())
    assert flow.span == pytest.approx(40 / 41)
    level = FlowOT().noise_level(flow.time(torch.tensor(0.0, dtype=torch.float64)))
    assert float(level) == pytest.approx(40.0)


@pytest.fixture
def fitted(laws):
    """(loss, learn) -> (rmse before, rmse after, loss before, loss after): RK2 with four steps on the mixture."""
    teacher = laws("gmm", EDM(0.002, 80.0))
    teacher.sample_shape = (3, 4, 4)
    fresh = noise(1, "fresh", range(64), (3, 4, 4)).double()
    exact = solvers.get("rk45", tolerance=1e-8).sample(teacher, fresh)

    def fit(loss, learn="scale-time", steps=300):
        options = BespokeOptions(loss=loss, learn=learn, nodes=65, batch=32, learning_rate=1e-2)
        method = Bespoke(teacher, options, nfe=8).double()
        error = [rmse(method.sample(fresh, 8), exact)]
        optimizer, losses = method.configure_optimizers(), []
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 * method.learning_rate_factor(step, step / steps)
            optimizer.zero_grad()
            value = method.training_step({"step": step}, 0)
            value.backward()
            method.on_before_optimizer_step(optimizer)
            optimizer.step()
            losses.append(float(value.detach()))
        error.append(rmse(method.sample(fresh, 8), exact))
        return *error, losses[0], sum(losses[-20:]) / 20

    return fit


@pytest.mark.parametrize(("loss", "share"), [("rmse", 0.5), ("bound", 0.7), ("lte", 0.7)])
def test_training_cuts_the_error_of_the_base_solver(fitted, loss, share):
    """In the paper's order: the loss on the end point cuts it most, the bound and the local errors follow."""
    before, after, *_ = fitted(loss)
    assert after < share * before


@pytest.mark.slow
@pytest.mark.parametrize("nfe", [4, 8, 10])
def test_it_more_than_halves_the_error_of_plain_rk2_on_three_seeds(laws, nfe):
    """The paper's finding. Plain RK2 is the midpoint rule on the teacher's own path and grid; the loss on the end
    point more than halves its own base in flow time, too.
    """
    teacher = laws("gmm", EDM(0.01, 40.0))
    teacher.sample_shape = (3, 4, 4)
    plain = solvers.get("runge-kutta", tableau="midpoint")
    base = solvers.get("runge-kutta", tableau="midpoint", path="flow-ot", grid={"spacing": "uniform", "end": "min"})
    for seed in range(3):
        start = noise(seed, "start", range(64), (3, 4, 4)).double()
        exact = solvers.get("rk45", tolerance=1e-7).sample(teacher, start)

        def error(loss, seed=seed, start=start, exact=exact):
            method = Bespoke(teacher, BespokeOptions(loss=loss, nodes=65), seed=seed, nfe=nfe).double()
            optimizer, steps = method.configure_optimizers(), 250
            for step in range(steps):
                # The true paths are the first steps' work, and a tenth of this budget.
                method.spent = step / steps * (0.1 if method.truth.solved < 128 else 1.0)
                for group in optimizer.param_groups:
                    group["lr"] = 1e-2 * (1 - step / steps)
                optimizer.zero_grad()
                method.training_step({"step": step}, 0).backward()
                method.on_before_optimizer_step(optimizer)
                optimizer.step()
            return rmse(method.sample(start, nfe), exact)

        bound, end = error("bound"), error("rmse")
        assert bound < 0.5 * rmse(plain.sample(teacher, start, nfe=nfe), exact)
        assert end < 0.5 * rmse(base.sample(teacher, start, nfe=nfe), exact)


@pytest.mark.parametrize("learn", ["time", "scale"])
def test_either_half_of_the_transform_lowers_the_bound(fitted, learn):
    *_, before, after = fitted("bound", learn)
    assert after < 0.8 * before


@pytest.fixture
def mixture_teacher(laws):
    teacher = laws("gmm", EDM(0.002, 80.0))
    teacher.sample_shape = (3, 4, 4)
    return teacher


@pytest.mark.parametrize(("spent", "solved"), [([0.0, 0.11, 0.28], 21), ([0.0, 0.02], 40), ([0.0, 0.2], 8)])
def test_true_paths_take_no_more_than_their_share_of_the_budget(mixture_teacher, spent, solved):
    """A lot of 8, whose price tells how many 0.3 of the budget buy: 21, all 40, or 12, which is not worth a lot."""
    options = BespokeOptions(trajectories=40, truth_share=0.3, nodes=9, batch=4, tolerance=1e-3)
    method = Bespoke(mixture_teacher, options, nfe=4).double()
    kinds = []
    for step, method.spent in enumerate(spent):
        kinds.append(method.step_kind(step))
        method.training_step({"step": step}, 0)
    assert int(method.truth.solved) == solved
    assert kinds[0] == "true paths 1 to 8, step"
    assert not method.truth.states[:, :solved].isnan().any()
    assert method.truth.states[:, solved:].isnan().all()


def trained(method, steps):
    optimizer = method.configure_optimizers()
    for step in range(steps):
        optimizer.zero_grad()
        method.training_step({"step": step}, 0).backward()
        optimizer.step()
    return method


def test_the_best_parameters_are_kept_by_the_rmse_to_exact_solutions(mixture_teacher):
    """A learning rate that ruins the solver leaves the best of those seen: the base solver itself."""
    chosen = {"nodes": 9, "tolerance": 1e-4, "batch": 8, "trajectories": 8, "select_every": 2, "select_samples": 16}
    start = noise(3, "fresh", range(16), (3, 4, 4)).double()
    exact = solvers.get("rk45", tolerance=1e-6).sample(mixture_teacher, start)

    def error(select, rate):
        options = BespokeOptions(learning_rate=rate, select=select, **chosen)
        return rmse(trained(Bespoke(mixture_teacher, options, nfe=4).double(), 9).sample(start, 4), exact)

    base = rmse(Bespoke(mixture_teacher, BespokeOptions(), nfe=4).double().sample(start, 4), exact)
    assert error("last", 0.5) > 2 * base
    assert error("best-rmse", 0.5) == pytest.approx(base)
    assert error("best-rmse", 0.02) < 0.9 * base


def test_the_best_parameters_are_kept_by_the_suites_distance(mixture_teacher):
    options = BespokeOptions(
        select="best-fd", select_every=1, select_samples=4, nodes=9, tolerance=1e-3, trajectories=8
    )
    assert options.needs_quality
    method = Bespoke(mixture_teacher, options, nfe=4).double()
    seen = []

    def quality(x0):
        seen.append(method.solver.theta_s.detach().clone())
        return [3.0, 1.0, 2.0][len(seen) - 1]

    method.quality = quality
    trained(method, 3)
    assert torch.equal(method.result().theta_s, seen[1])
    assert not torch.equal(method.solver.theta_s.detach(), seen[1])


def test_another_nfe_than_the_trained_one_is_refused(laws):
    teacher = laws("gmm", EDM(0.002, 80.0))
    teacher.sample_shape = (3, 4, 4)
    with pytest.raises(UnreachableNFE, match="trained for 8"):
        Bespoke(teacher, BespokeOptions(), nfe=8).sample(torch.zeros(1, 3, 4, 4), 4)
    with pytest.raises(UnreachableNFE, match="a multiple of 2"):
        Bespoke(teacher, BespokeOptions(), nfe=5)


def test_the_network_is_not_trained(laws):
    teacher = laws("gmm", EDM(0.002, 80.0))
    teacher.sample_shape = (3, 4, 4)
    method = Bespoke(teacher, BespokeOptions(), nfe=8)
    assert sum(p.numel() for p in method.parameters()) == 32
    assert method.solver.parameter_count == 31
