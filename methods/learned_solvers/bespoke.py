"""Bespoke solvers (shaul2024bespoke, arXiv:2310.19075): a Runge-Kutta solver in a learned scale and time.

In flow time r from 0 (noise) to 1 (data) with velocity u_t(x) the path is transformed to
s_r x(t_r); one base step of size h = 1/n on it, written back in x, has t, t', s, s' at its knots as free
parameters. They start where the base solver is unchanged, and stay valid by construction. In the paper: the
transformed path eq. 7 and 14-16, RK1 eq. 17, RK2 eq. 19 and 20, constraints eq. 18 and 21, loss eq. 26, its target
(true paths by RK45) and training algorithm 2, sampler algorithm 3. The paper's RK3 is not written out: ours is derived
in the same way of Heun's third-order rule, whose three evaluations have a knot each, a third of a step apart.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..denoiser import Condition, Denoiser
from ..method import Draws, Method, Watched
from ..nfe import UnreachableNFE, whole
from ..paths import FlowCosine, FlowOT
from ..randomness import generator, noise
from ..solvers.rk45 import AdaptiveSolver
from ..specs.bespoke import BespokeOptions, bespoke_steps
from ..uses import spent_on
from .ground_truth import Flow, GroundTruth

Velocity = Callable[[Tensor, Tensor], Tensor]
"""u(x, t): x (B, ...), t a scalar flow time in [0, 1); dx/dt, like x."""

LIPSCHITZ = 1.0
"""L_tau: the bound on the velocity's Lipschitz constant, which the paper sets to 1."""


@dataclass(frozen=True)
class Knots:
    """t (m + 1,) from 0 to 1, its derivative dt (m,), scale s (m + 1,) with s_0 = 1, its derivative ds (m,)."""

    t: Tensor
    dt: Tensor
    s: Tensor
    ds: Tensor


def rk1_step(knots: Knots, n: int, i: int, velocity: Velocity, x: Tensor) -> Tensor:
    """Step i of scale-time Euler (eq. 17): from flow time t_i to t_{i+1}."""
    t, dt, s, ds, h = knots.t, knots.dt, knots.s, knots.ds, 1 / n
    return (s[i] + h * ds[i]) / s[i + 1] * x + h * dt[i] * s[i] / s[i + 1] * velocity(x, t[i])


def rk2_step(knots: Knots, n: int, i: int, velocity: Velocity, x: Tensor) -> Tensor:
    """Step i of the scale-time midpoint rule (eq. 19 and 20); there are knots at half steps."""
    t, dt, s, ds, h = knots.t, knots.dt, knots.s, knots.ds, 1 / n
    a, b, c = 2 * i, 2 * i + 1, 2 * i + 2
    z = (s[a] + h / 2 * ds[a]) * x + h / 2 * s[a] * dt[a] * velocity(x, t[a])
    slope = ds[b] / s[b] * z + dt[b] * s[b] * velocity(z / s[b], t[b])
    return s[a] / s[c] * x + h / s[c] * slope


def rk3_step(knots: Knots, n: int, i: int, velocity: Velocity, x: Tensor) -> Tensor:
    """Step i of scale-time Heun of order 3: there are knots at thirds of a step.

    On y = s x with dy/dr = f_k(y) = s'_k/s_k y + t'_k s_k u(y/s_k, t_k) at knot k it is
    y + h/4 (f_a(y) + 3 f_c(z2)), z2 = y + 2h/3 f_b(z1), z1 = y + h/3 f_a(y).
    """
    t, dt, s, ds, h = knots.t, knots.dt, knots.s, knots.ds, 1 / n
    a, b, c, d = 3 * i, 3 * i + 1, 3 * i + 2, 3 * i + 3
    first = ds[a] * x + dt[a] * s[a] * velocity(x, t[a])
    z1 = s[a] * x + h / 3 * first
    z2 = s[a] * x + 2 * h / 3 * (ds[b] / s[b] * z1 + dt[b] * s[b] * velocity(z1 / s[b], t[b]))
    third = ds[c] / s[c] * z2 + dt[c] * s[c] * velocity(z2 / s[c], t[c])
    return s[a] / s[d] * x + h / (4 * s[d]) * (first + 3 * third)


def rk1_lipschitz(knots: Knots, n: int) -> Tensor:
    """L_i of each step (n,): how much an error of x_i grows in step i (appendix D, lemma D.2)."""
    s, bound = knots.s, knots.ds.abs() / knots.s[:-1] + knots.dt * LIPSCHITZ
    return s[:-1] / s[1:] * (1 + bound / n)


def rk2_lipschitz(knots: Knots, n: int) -> Tensor:
    """L_i of each step (n,), through the half step (appendix D, lemma D.3)."""
    s, bound = knots.s, knots.ds.abs() / knots.s[:-1] + knots.dt * LIPSCHITZ
    return s[:-1:2] / s[2::2] * (1 + bound[1::2] / n * (1 + bound[::2] / (2 * n)))


def rk3_lipschitz(knots: Knots, n: int) -> Tensor:
    """L_i of each step (n,), through its three stages, as lemma D.3 does for two."""
    s, bound = knots.s, knots.ds.abs() / knots.s[:-1] + knots.dt * LIPSCHITZ
    a, b, c = bound[::3] / n, bound[1::3] / n, bound[2::3] / n
    return s[:-1:3] / s[3::3] * (1 + a / 4 + 3 * c / 4 * (1 + 2 * b / 3 * (1 + a / 3)))


STEPS = {1: rk1_step, 2: rk2_step, 3: rk3_step}
LIPSCHITZ_BOUNDS = {1: rk1_lipschitz, 2: rk2_lipschitz, 3: rk3_lipschitz}


class BespokeSolver(nn.Module):
    """n steps of a scale-time Runge-Kutta rule of order 1, 2 or 3; NFE = order x steps.

    learn: "scale-time", or only "time" (s = 1) or "scale" (t uniform), the paper's ablation.
    """

    def __init__(self, order: int = 2, steps: int = 5, learn: str = "scale-time") -> None:
        super().__init__()
        if order not in STEPS or steps < 1:
            raise ValueError(f"a bespoke solver has order 1, 2 or 3 and at least one step, not {order} and {steps}")
        self.order, self.steps = order, steps
        m = order * steps
        self.theta_t, self.theta_dt = nn.Parameter(torch.ones(m)), nn.Parameter(torch.ones(m))
        self.theta_s, self.theta_ds = nn.Parameter(torch.zeros(m)), nn.Parameter(torch.zeros(m))
        for parameter in (self.theta_t, self.theta_dt):
            parameter.requires_grad_("time" in learn)
        for parameter in (self.theta_s, self.theta_ds):
            parameter.requires_grad_("scale" in learn)

    @property
    def parameter_count(self) -> int:
        """4n - 1 (RK1), 8n - 1 (RK2) or 12n - 1 (RK3) with scale and time: the raw times have one redundant factor."""
        free = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return free - self.theta_t.requires_grad

    @property
    def nfe(self) -> int:
        return self.order * self.steps

    def knots(self) -> Knots:
        """The parameters as knots: t increases from 0 to 1 and s > 0 for all raw values (eq. 18 and 21)."""
        increments = self.theta_t.abs()
        t = torch.cat([increments.new_zeros(1), increments.cumsum(0) / increments.sum()])
        s = torch.cat([self.theta_s.new_ones(1), self.theta_s.exp()])
        return Knots(t, self.theta_dt.abs(), s, self.theta_ds)

    def step_times(self) -> Tensor:
        """t at the ends of the steps, (n + 1,)."""
        return self.knots().t[:: self.order]

    def solve(self, velocity: Velocity, x: Tensor) -> Tensor:
        """x at flow time 1 from x (B, ...) at 0 (algorithm 3)."""
        return self.trajectory(velocity, x)[-1]

    def trajectory(self, velocity: Velocity, x: Tensor) -> list[Tensor]:
        """The states at the ends of the steps, n + 1 of them."""
        knots, states = self.knots(), [x]
        for i in range(self.steps):
            states.append(STEPS[self.order](knots, self.steps, i, velocity, states[-1]))
        return states

    def local_errors(self, velocity: Velocity, truth: Tensor, slopes: Tensor) -> Tensor:
        """d_i (n, B): the RMS error of each step started on the true path (eq. 24).

        truth, slopes (n + 1, B, ...): the true path and its velocity at the current step times. The
        dependence on the learned times is kept to first order around them: x(t) + u (t - [t]) (eq. 28).
        """
        knots, t = self.knots(), self.step_times()
        shift = (t - t.detach()).reshape(-1, *[1] * (truth.ndim - 1)).to(truth)
        inner = torch.zeros_like(shift)
        inner[1:-1] = 1
        path = truth + torch.where(inner > 0, slopes, torch.zeros_like(slopes)) * shift
        steps = [STEPS[self.order](knots, self.steps, i, velocity, path[i]) for i in range(self.steps)]
        return rms(path[1:] - torch.stack(steps))

    def error_weights(self) -> Tensor:
        """M_i = prod_{j >= i} L_j, i = 1..n, M_n = 1: how much d_i can grow until the end (eq. 25)."""
        lipschitz = LIPSCHITZ_BOUNDS[self.order](self.knots(), self.steps)
        grown = lipschitz[1:].flip(0).cumprod(0).flip(0)
        return torch.cat([grown, grown.new_ones(1)])


def rms(x: Tensor) -> Tensor:
    """Root mean square over all but the first two axes: (n, B, ...) -> (n, B)."""
    return x.flatten(2).square().mean(2).sqrt()


def bound_loss(solver: BespokeSolver, velocity: Velocity, truth: Tensor, slopes: Tensor) -> Tensor:
    """RMSE-Bound, the paper's loss (eq. 26): E sum_i M_i d_i bounds the error at the end (eq. 27)."""
    return (solver.error_weights()[:, None] * solver.local_errors(velocity, truth, slopes)).sum(0).mean()


def lte_loss(solver: BespokeSolver, velocity: Velocity, truth: Tensor, slopes: Tensor) -> Tensor:
    """The local truncation errors alone: E sum_i d_i."""
    return solver.local_errors(velocity, truth, slopes).sum(0).mean()


def rmse_loss(solver: BespokeSolver, velocity: Velocity, truth: Tensor, slopes: Tensor) -> Tensor:
    """E |x(1) - x_n| through the whole solve, each step's activations recomputed in the backward pass."""
    knots, x = solver.knots(), truth[0]
    for i in range(solver.steps):
        x = checkpoint(STEPS[solver.order], knots, solver.steps, i, velocity, x, use_reentrant=False)
    return rms((truth[-1] - x)[None]).mean()


def _lost(finite: float) -> str | None:
    return None if finite else "the solver's times are not finite"


LOSSES = {"bound": bound_loss, "lte": lte_loss, "rmse": rmse_loss}
FLOWS = {"flow-ot": FlowOT(), "flow-cosine": FlowCosine()}


class Bespoke(Method):
    """A bespoke solver for one NFE, fitted to true paths of the teacher; the network is not touched.

    The paths are the training set: solving them is part of the first steps and is charged with them.
    """

    best_score: Tensor
    exact: Tensor

    def __init__(self, teacher: Denoiser, options: BespokeOptions, seed: int = 0, nfe: int = 4) -> None:
        super().__init__(teacher, seed)
        if teacher.sample_shape is None:
            raise ValueError("bespoke needs the teacher's sample_shape: it draws its own noise")
        self.options, self.shape = options, teacher.sample_shape
        self.batch_size = options.batch
        self.flow = Flow.of(teacher, FLOWS[options.path])
        self.solver = BespokeSolver(options.order, bespoke_steps(nfe, options.order), options.learn)
        labels = teacher.conditions(seed, "label-trajectory", range(options.trajectories))
        self.truth = GroundTruth(options.trajectories, options.nodes, self.shape, labels)
        self.best = self.solver
        self._has_exact = False
        if options.select != "last":
            self.best = copy.deepcopy(self.solver).requires_grad_(False)
            self.register_buffer("best_score", torch.tensor(torch.inf, dtype=torch.float64))
            self.register_buffer("exact", torch.full((options.select_samples, *self.shape), torch.nan))

    def next_lot(self) -> int:
        """How many true paths to solve before the next step."""
        return self.truth.next_lot(self.options.truth_share, self.spent)

    def selects(self, step: int) -> bool:
        return self.options.select != "last" and step % self.options.select_every == 0

    def step_kind(self, step: int) -> str:
        return self.truth.step_kind(self.next_lot()) + ("step and selection" if self.selects(step) else "step")

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        step, lot = int(batch["step"]), self.next_lot()
        if lot:
            self.truth.solve_next(self.flow, self.seed, lot, self.options.tolerance)
        if self.selects(step):
            with spent_on("selection"):
                self.keep_the_best()
        rng = generator(self.seed, "train", step)
        rows = torch.randint(int(self.truth.solved), (self.batch_size,), generator=rng).to(
            self.truth.states.device, non_blocking=True
        )
        times = self.solver.step_times()
        truth, slopes = self.truth.at(times.nan_to_num(), rows)
        velocity = partial(self.flow.velocity, condition=self.truth.labels_of(rows))
        return LOSSES[self.options.loss](self.solver, velocity, truth, slopes)

    @torch.no_grad()
    def watched(self) -> list[Watched]:
        """Whether the next step has times to start from."""
        return [] if self.trainer.should_stop else [Watched(self.solver.step_times().isfinite().all(), _lost)]

    @torch.no_grad()
    def keep_the_best(self) -> None:
        """Keep the present parameters if they are better than those kept, on noises of the selection's own."""
        indices = range(self.options.select_samples)
        start = noise(self.seed, "selection", indices, self.shape).to(self.exact, non_blocking=True)
        labels = self.teacher.conditions(self.seed, "label-selection", indices)
        labels = None if labels is None else labels.to(start.device, non_blocking=True)
        x0 = self.solver.solve(partial(self.flow.velocity, condition=labels), self.flow.start(start))
        if self.options.select == "best-fd":
            assert self.quality is not None
            score = torch.tensor(self.quality(x0))
        else:
            if not self._has_exact and self.exact.isnan().any():
                self.exact.copy_(AdaptiveSolver(self.options.tolerance).sample(self.teacher, start, condition=labels))
            self._has_exact = True
            score = rms((x0 - self.exact)[None]).mean()
        is_better = score.to(self.best_score) < self.best_score
        for kept, value in zip(self.best.parameters(), self.solver.parameters(), strict=True):
            kept.copy_(torch.where(is_better, value, kept))
        self.best_score.copy_(torch.where(is_better, score, self.best_score))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        free = [p for p in self.solver.parameters() if p.requires_grad]
        return torch.optim.Adam(free, self.options.learning_rate)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        nn.utils.clip_grad_norm_(self.solver.parameters(), self.options.gradient_clip)

    def learning_rate_factor(self, step: int, spent: float) -> float:
        """Linear to 0 as the budget runs out."""
        return 1 - spent

    def result(self) -> BespokeSolver:
        return self.best

    def trainable_count(self) -> int:
        return self.solver.parameter_count

    def facts(self) -> dict[str, int]:
        return {"order": self.solver.order, "steps": self.solver.steps}

    @torch.no_grad()
    def learned(self) -> list[tuple[str, list[float]]]:
        """t and s at the knots, beside r where they stand."""
        knots = self.best.knots()
        r = torch.linspace(0, 1, len(knots.t))
        return [("r", r.tolist()), ("t", knots.t.tolist()), ("s", knots.s.tolist())]

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """x0 by the learned solver. Raises UnreachableNFE for another NFE than the one it was trained for."""
        if whole(nfe) != self.solver.nfe:
            raise UnreachableNFE(f"this bespoke solver was trained for {self.solver.nfe} evaluations")
        return self.best.solve(partial(self.flow.velocity, condition=condition), self.flow.start(noise))
