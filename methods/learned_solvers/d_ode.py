"""D-ODE solvers (kim2024distilling, arXiv:2309.16421): a solver whose every evaluation has a fitted scalar.

The latest prediction P_t is replaced by P_t + lambda (P_t - P_before). Its effect on the state is
  x_s = base step + lambda * direction,
so that the lambda that brings x_s nearest to a target is a least-squares fit in one unknown. Targets are the
states of a teacher that takes many small steps; the network is never touched. Corrections, targets and fit follow
the authors' code, file by file as named below (equation numbers unchecked).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from .. import solvers
from ..denoiser import Condition, Denoiser
from ..method import Draws, Method
from ..nfe import UnreachableNFE, whole
from ..on_host import OnHost
from ..randomness import noise
from ..solvers.adams import EQUAL_STEPS, history
from ..solvers.base import Node, Run, Solver, ddim, eps_of, transfer
from ..solvers.combinations import Combination, weighted
from ..solvers.deis import tab_coefficients
from ..solvers.dpm_solver import multistep_orders, multistep_step
from ..solvers.exponential import History, Integrator, orders_of, p
from ..solvers.unipc import unip
from ..specs.d_ode import DODEOptions
from ..uses import spent_on
from .d_ode_targets import Steps, teacher_steps

Correct = Callable[[Tensor, Tensor], Tensor]
"""correct(plain, direction) -> plain + lambda direction: called once per evaluation, in order."""

NOISE = Integrator(noise=True)


def prior_eps(run: Run, x: Tensor) -> Tensor:
    """The eps "before" the first: x / sqrt(alpha^2 + sigma^2), which on a variance-preserving path is x_T itself."""
    first = run.nodes[0]
    return x / (first.alpha**2 + first.sigma**2) ** 0.5


def d_ddim_noise(run: Run, x: Tensor, correct: Correct) -> Tensor:
    """D-DDIM on eps: the authors' for variance-preserving paths (functions/denoising.py)."""
    before = prior_eps(run, x)
    for t, s in pairwise(run.nodes):
        x0 = run.x0(x, t)
        eps = eps_of(x, x0, t)
        x = correct(ddim(x, x0, t, s), eps - before)
        before = eps
    return x


def d_ddim_data(run: Run, x: Tensor, correct: Correct) -> Tensor:
    """D-DDIM on D: the authors' for EDM (edm/distilled_sampler.py). The first step stays DDIM's."""
    before = None
    for t, s in pairwise(run.nodes):
        x0 = run.x0(x, t)
        x = correct(ddim(x, x0, t, s), _since(before, x0))
        before = x0
    return x


def d_ipndm(run: Run, x: Tensor, correct: Correct) -> Tensor:
    """D-iPNDM: the difference is that of iPNDM's means of eps (th_deis/sampler.py)."""
    longest = run.options.max_order
    rows = [EQUAL_STEPS[min(i, longest - 1)] for i in range(len(run.nodes) - 1)]
    return _corrected(run, x, correct, rows, longest)


def d_deis_tab(run: Run, x: Tensor, correct: Correct) -> Tensor:
    """D-tAB-DEIS: over the step in rho DEIS's coefficients are weights of a mean of eps (th_deis/sampler.py)."""
    points = run.order + 1
    table = tab_coefficients(run.path, [node.number for node in run.nodes], points, run.options.quadrature)
    steps = [s.level - t.level for t, s in pairwise(run.nodes)]
    rows = [[c / step for c in row] for row, step in zip(table, steps, strict=True)]
    return _corrected(run, x, correct, rows, points)


def _corrected(run: Run, x: Tensor, correct: Correct, rows: Iterable[Sequence[float]], points: int) -> Tensor:
    values, before = history(points), prior_eps(run, x)
    for row, (t, s) in zip(rows, pairwise(run.nodes), strict=True):
        x0 = run.x0(x, t)
        values.appendleft(eps_of(x, x0, t))
        eps = weighted(row, values) if t.signal else values[0]
        plain = transfer(x, eps, t, s) if t.signal else ddim(x, x0, t, s)
        x = correct(plain, eps - before)
        before = eps
    return x


def d_dpm_solver(run: Run, x: Tensor, correct: Correct) -> Tensor:
    """D-DPM-Solver-1, -2, -3 and their mixture, on eps (dpm_solver/d_sampler.py). What comes before a step's first
    evaluation is the last one of the step before.
    """
    run.needs_signal("D-DPM-Solver corrects eps, which it moves by the step in sigma/alpha, infinite")
    before, i = prior_eps(run, x), 0
    for order in run.per_step:
        x, before = DPM_STEPS[order](run, x, correct, before, run.nodes[i : i + order + 1])
        i += order
    return x


def _first_order(run: Run, x: Tensor, correct: Correct, before: Tensor, at: list[Node]) -> tuple[Tensor, Tensor]:
    t, s = at
    x0 = run.x0(x, t)
    eps = eps_of(x, x0, t)
    return correct(ddim(x, x0, t, s), _weight(t, s) * (eps - before)), eps


def _second_order(run: Run, x: Tensor, correct: Correct, before: Tensor, at: list[Node]) -> tuple[Tensor, Tensor]:
    t, middle, s = at
    h = NOISE.z(t, s)
    r1 = NOISE.z(t, middle) / h
    f0 = run.eps(x, t)
    inner = correct(transfer(x, f0, t, middle), _weight(t, middle) * (f0 - before))
    f1 = run.eps(inner, middle)
    second = -s.sigma * p(1, h) / (2 * r1) * (f1 - f0)
    return correct(transfer(x, f0, t, s) + second, second), f1


def _third_order(run: Run, x: Tensor, correct: Correct, before: Tensor, at: list[Node]) -> tuple[Tensor, Tensor]:
    t, middle, later, s = at
    h = NOISE.z(t, s)
    r1, r2 = NOISE.z(t, middle) / h, NOISE.z(t, later) / h
    f0 = run.eps(x, t)
    inner = correct(transfer(x, f0, t, middle), _weight(t, middle) * (f0 - before))
    f1 = run.eps(inner, middle)
    second = -later.sigma * (r2 / r1) * p(2, r2 * h) * (f1 - f0)
    inner = correct(transfer(x, f0, t, later) + second, second)
    f2 = run.eps(inner, later)
    weight = -s.sigma * p(2, h) / r2
    return correct(transfer(x, f0, t, s) + weight * (f2 - f0), weight * (f2 - f1)), f2


DPM_STEPS = {1: _first_order, 2: _second_order, 3: _third_order}


def _weight(t: Node, s: Node) -> float:
    """What eps is multiplied by in a first-order step, -sigma_s p_1(h): finite where s is clean data."""
    return float(s.sigma - s.alpha / t.alpha * t.sigma)


def d_multistep(run: Run, x: Tensor, correct: Correct) -> Tensor:
    """D-DPM-Solver++(2M) and (3M), which the authors do not have: as D-iPNDM, on the mean of D that each step takes."""
    form, orders = Integrator(noise=False), multistep_orders(run)
    values, before = History(max(orders)), None
    for i, (t, s) in enumerate(pairwise(run.nodes)):
        plain = multistep_step(run, form, values, orders[i], i, x, run.x0(x, t))
        mean = _mean_x0(x, plain, t, s)
        x = correct(plain, _since(before, mean))
        before = mean
    return x


def d_unipc(run: Run, x: Tensor, correct: Correct) -> Tensor:
    """D-UniPC, which the authors do not have: UniP's state is corrected as D-DPM-Solver++'s, and UniC follows with the
    evaluation made there.
    """
    o, orders = run.options, orders_of(run, run.options.lower_order_final)
    form, history, before = Integrator(noise=False), History(max(orders)), None
    x0 = run.x0(x, run.nodes[0])
    for i, (t, s) in enumerate(pairwise(run.nodes)):
        history.push(t, x0)
        predicted, unic = unip(form, history, o.variant, orders[i], Combination((1.0, x)), x0, t, s)
        mean = _mean_x0(x, predicted, t, s)
        predicted, before = correct(predicted, _since(before, mean)), mean
        if i == len(orders) - 1:
            return predicted
        x0 = run.x0(predicted, s)
        x = unic(x0).value()
    return x


def _mean_x0(x: Tensor, x_s: Tensor, t: Node, s: Node) -> Tensor:
    """The D with which a DDIM step from x lands on x_s."""
    ratio = s.sigma / t.sigma
    return (x_s - ratio * x) / (s.alpha - ratio * t.alpha)


def d_heun(run: Run, x: Tensor, correct: Correct) -> Tensor:
    """D-EDM: Heun's two stages, each corrected by the difference of the two latest D (edm/distilled_sampler.py)."""
    run.needs_signal("Heun steps in sigma/alpha, which is infinite")
    before = None
    for t, s in pairwise(run.nodes):
        x0 = run.x0(x, t)
        euler = correct(ddim(x, x0, t, s), _since(before, x0))
        if s.clean:
            return euler
        before = run.x0(euler, s)
        eps = (eps_of(x, x0, t) + eps_of(euler, before, s)) / 2
        x = correct(transfer(x, eps, t, s), before - x0)
    return x


def _since(before: Tensor | None, value: Tensor) -> Tensor:
    return torch.zeros_like(value) if before is None else value - before


Variant = Callable[[Run, Tensor, Correct], Tensor]
VARIANTS: dict[str, Variant] = {
    "ddim-noise": d_ddim_noise,
    "ddim-data": d_ddim_data,
    "ipndm": d_ipndm,
    **{f"deis-tab{degree}": d_deis_tab for degree in (1, 2, 3)},
    **{f"dpm-solver-{order}": d_dpm_solver for order in (1, 2, 3)},
    **{f"dpmpp-{order}m": d_multistep for order in (2, 3)},
    **{f"unipc-{order}": d_unipc for order in (2, 3)},
    "heun": d_heun,
}


def corrected(variant: str, base: Solver, correct: Correct) -> Solver:
    """The base solver with every evaluation's state passed through `correct`; grid and NFE stay the base's."""
    return replace(base, name=f"d-{base.name}", solve=lambda run, x: VARIANTS[variant](run, x, correct))


def stored(lambdas: Sequence[float]) -> Correct:
    """Sampling: the lambdas as they were fitted."""
    remaining = iter(lambdas)
    return lambda plain, direction: plain + next(remaining) * direction


def fitted(targets: Tensor, lambdas: list[Tensor]) -> Correct:
    """Fitting: lambda = <target - plain, direction> / |direction|^2 over the batch, in float64; 0 without a
    direction. targets: (nfe, B, ...), one per evaluation; what is found is appended to `lambdas`.
    """
    remaining = iter(targets)

    def correct(plain: Tensor, direction: Tensor) -> Tensor:
        missing, f = (next(remaining) - plain).double(), direction.double()
        size = f.square().sum()
        lambdas.append(torch.where(size > 0, (missing * f).sum() / size, 0.0))
        return plain + lambdas[-1] * direction

    return correct


def recorded(wanted: Sequence[int], states: list[Tensor]) -> Correct:
    """The teacher: nothing is corrected; the states after `wanted` evaluations (rising, repeats allowed) are kept."""
    taken = 0

    def correct(plain: Tensor, direction: Tensor) -> Tensor:
        nonlocal taken
        taken += 1
        states.extend([plain] * wanted.count(taken))
        return plain

    return correct


def d_ode_base(options: DODEOptions) -> Solver:
    """The solver that is corrected."""
    name, given = options.base()
    solver = solvers.get(name, **given)
    assert isinstance(solver, Solver)
    return solver


def teacher_states(
    variant: str, base: Solver, teacher: Denoiser, noise: Tensor, steps: Steps, condition: Condition = None
) -> Tensor:
    """The states (nfe, B, ...) that `steps` wants, of the base solver from unit noise (B, ...)."""
    (times, wanted), states = steps, list[Tensor]()
    corrected(variant, base, recorded(wanted, states)).sample(teacher, noise, times=times, condition=condition)
    return torch.stack(states)


def fit(
    variant: str, base: Solver, teacher: Denoiser, noise: Tensor, targets: Tensor, condition: Condition = None
) -> tuple[Tensor, Tensor]:
    """(samples (B, ...), lambdas (nfe,) in float64) of the solver fitted to `targets` (nfe, B, ...) from `noise`."""
    lambdas: list[Tensor] = []
    x = corrected(variant, base, fitted(targets, lambdas)).sample(teacher, noise, nfe=len(targets), condition=condition)
    return x, torch.stack(lambdas)


FIRST_SHARE = 8
"""The first lot of the batch is one of so many parts; each further lot doubles what is solved."""


class Corrections(OnHost):
    """What was learned: one lambda per evaluation, (nfe,)."""

    lambdas: Tensor
    on_host = ("lambdas",)

    def __init__(self, nfe: int) -> None:
        super().__init__()
        self.register_buffer("lambdas", torch.zeros(nfe, dtype=torch.float64))


class DODE(Method):
    """The teacher solves a batch of noises, in lots; then the lambdas are fitted, one after another.

    No gradients, no data. The batch is as large as the options say, or as the budget allows; what is left of
    the budget is not spent.
    """

    targets: Tensor
    solved: Tensor
    on_host = ("solved",)

    def __init__(self, teacher: Denoiser, options: DODEOptions, seed: int = 0, nfe: int = 4) -> None:
        super().__init__(teacher, seed)
        if teacher.sample_shape is None:
            raise ValueError("d-ode needs the teacher's sample_shape: it draws its own noise")
        self.automatic_optimization = False
        self.options = options
        self.batch_size = options.batch
        self.nfe = nfe
        self.base = d_ode_base(options)
        self.teacher_steps = teacher_steps(options, self.base, self.base.on_path(teacher)[0].path, nfe)
        self.corrections = Corrections(nfe)
        self.register_buffer("solved", torch.tensor(0))
        self.register_buffer("targets", torch.full((nfe, options.batch, *teacher.sample_shape), torch.nan))

    def next_lot(self) -> int:
        """How many noises the teacher solves in the next step: first an eighth of the batch, then as many again
        as there are, where the budget has room for them and for the fit; 0 when it is time to fit.
        """
        solved, wanted = int(self.solved), self.options.batch
        with_fit = 1 + 1 / self.options.scale
        if solved and 2 * self.spent * with_fit > 1:
            return 0
        return min(solved or -(-wanted // FIRST_SHARE), wanted - solved)

    def step_kind(self, step: int) -> str:
        lot = self.next_lot()
        return f"{lot} targets" if lot else "fit"

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The loss is the mean square of what the samples miss: all of the target before the fit."""
        first, lot = int(self.solved), self.next_lot()
        rows = range(first, first + lot) if lot else range(first)
        start = noise(self.seed, "trajectory", rows, self.targets.shape[2:]).to(self.targets, non_blocking=True)
        labels = self.teacher.conditions(self.seed, "label-trajectory", rows)
        labels = None if labels is None else labels.to(start.device, non_blocking=True)
        if lot:
            slow = self.options.of_teacher()
            with spent_on("ground truth"):
                states = teacher_states(slow.solver, d_ode_base(slow), self.teacher, start, self.teacher_steps, labels)
            self.targets[:, first : first + lot] = states
            self.solved += lot
            return states[-1].square().mean()
        x, lambdas = fit(self.options.solver, self.base, self.teacher, start, self.targets[:, :first], labels)
        self.corrections.lambdas.copy_(lambdas)
        self.finished = True
        return (x - self.targets[-1, :first]).square().mean()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """None: the fit is in closed form."""
        return []

    def result(self) -> nn.Module:
        return self.corrections

    def trainable_count(self) -> int:
        return self.corrections.lambdas.numel()

    def facts(self) -> dict[str, str]:
        return {"solver": self.options.solver, "targets": self.options.targets}

    def learned(self) -> list[tuple[str, list[float]]]:
        """lambda of each evaluation."""
        lambdas = self.corrections.lambdas.tolist()
        return [("evaluation", [float(i + 1) for i in range(len(lambdas))]), ("lambda", lambdas)]

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """x0 by the corrected solver. Raises UnreachableNFE for another NFE than the one it was fitted for."""
        if whole(nfe) != self.nfe:
            raise UnreachableNFE(f"these lambdas were fitted for {self.nfe} evaluations")
        solver = corrected(self.options.solver, self.base, stored(self.corrections.lambdas.tolist()))
        return solver.sample(self.teacher, noise, nfe=nfe, condition=condition)
