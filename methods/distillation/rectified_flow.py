"""Rectified flow (liu2023flow, arXiv:2209.03003): a flow with straight paths, which few Euler steps follow.

Flow time r runs from 0 (noise) to 1 (data), r = 1 - t of FlowOT: x_r = r x0 + (1 - r) z. Reflow (algorithm 1, loss
eq. 1) trains the velocity on pairs (z, x0) of an earlier flow, here the teacher's ODE; distillation (section 2.2)
then trains it where a k-step sampler asks for it, on pairs of the straightened flow itself. With k = 1 the two are
eq. 5 and 6 of InstaFlow (liu2024instaflow, arXiv:2309.06380), whose distances for eq. 6 are LPIPS and L2.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..denoiser import Condition, Denoiser
from ..method import Draws
from ..nfe import whole
from ..paths import FlowOT, expand
from ..randomness import generator
from ..specs.rectified_flow import RectifiedFlowOptions, rectified_flow
from ..uses import spent_on
from .distances import l2
from .pairs import Pairs, teacher_solutions
from .student import StudentMethod

Velocity = Callable[[Tensor, Tensor], Tensor]
"""v(x, r) = dx/dr: x (B, ...), r () or (B,) flow times in [EPS, 1), like x."""

EPS = 1e-3
"""The smallest flow time, in training and sampling (the authors' code)."""


def rectified_flow_loss(velocity: Velocity, noise: Tensor, x0: Tensor, r: Tensor) -> Tensor:
    """|v(x_r, r) - (x0 - z)|^2 (eq. 1), mean over a sample's elements, (B,); x_r = r x0 + (1 - r) z at r (B,)."""
    x_r = expand(r, x0) * x0 + expand(1 - r, x0) * noise
    return l2(velocity(x_r, r), x0 - noise)


def reflow_times(u: Tensor) -> Tensor:
    """r in [EPS, 1) from uniform u in [0, 1)."""
    return EPS + (1 - EPS) * u


def distil_times(j: Tensor, steps: int) -> Tensor:
    """Where a sampler of `steps` steps evaluates: r_j = EPS + (1 - EPS) j/steps, j = 0..steps - 1."""
    return reflow_times(j.double() / steps)


def euler_flow(velocity: Velocity, noise: Tensor, steps: int) -> Tensor:
    """x0 (B, ...) from unit noise (B, ...): steps of length 1/steps, evaluated at distil_times."""
    x = noise
    for r in distil_times(torch.arange(steps, device=noise.device), steps):
        x = x + velocity(x, r) / steps
    return x


def flow_velocity(denoiser: Denoiser, x: Tensor, r: Tensor, condition: Condition = None) -> Tensor:
    """v(x, r) of the ODE of a denoiser on FlowOT, whose time runs the other way."""
    t = 1 - r
    return -denoiser.path.velocity(x, denoiser(x, t, condition), t)


class Stage(NamedTuple):
    """Reflow, or after it distillation: the share of its own budget that is used, and whether it still makes pairs."""

    distils: bool
    used: float
    makes_pairs: bool

    @property
    def kind(self) -> str:
        """The kind of its steps, which all cost the same."""
        name = "distil" if self.distils else "reflow"
        return f"{name} pairs" if self.makes_pairs else name


class RectifiedFlow(StudentMethod):
    """Reflow on the teacher's pairs; with options.distil = k, then a k-step distillation on the reflow's own.

    Each stage makes pairs in the first share of its budget, learning from each at once, and revisits them
    in the rest. The second stage starts from the reflow's averaged weights, and so do its pairs: `flow`
    keeps them.
    """

    distilling: Tensor
    on_host = ("distilling",)

    def __init__(self, teacher: Denoiser, options: RectifiedFlowOptions, seed: int = 0) -> None:
        super().__init__(teacher, copy.deepcopy(teacher.unwrapped()).on(FlowOT()), options, seed)
        self.options = options
        self.pairs = Pairs.of(teacher, "rectified flow")
        self.flow = copy.deepcopy(self.student).requires_grad_(False).eval() if options.distil else None
        self.register_buffer("distilling", torch.tensor(False))

    def stage_at(self, spent: float) -> Stage:
        """The stage of a step before which this share of the run's budget is used."""
        start = 1 - self.options.distil_share if self.options.distil else 1.0
        distils = bool(self.options.distil) and spent >= start
        used = (spent - start) / (1 - start) if distils else spent / start
        return Stage(distils, used, used < self.options.pairs_share)

    def step_kind(self, step: int) -> str:
        return self.stage_at(self.spent).kind

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        step = int(batch["step"])
        stage = self.stage_at(self.spent)
        if stage.distils and not self.distilling:
            self._begin_distillation()
        rng = generator(self.seed, "train", step)
        if stage.makes_pairs:
            noise, labels = self.pairs.starts(self.teacher, self.seed, step, self.batch_size)
            x0 = self._solutions(noise, labels)
            self.pairs.add(noise, x0, labels)
        else:
            noise, x0, labels = self.pairs.batch(self.batch_size, rng)
        if stage.distils:
            r = distil_times(torch.randint(self.options.distil, (len(x0),), generator=rng), self.options.distil)
        else:
            r = reflow_times(torch.rand(len(x0), generator=rng, dtype=torch.float64))
        velocity = partial(flow_velocity, self.student, condition=labels)
        return rectified_flow_loss(velocity, noise, x0, r.to(x0.device, non_blocking=True)).mean()

    def _begin_distillation(self) -> None:
        assert self.flow is not None
        weights = self.result().state_dict()
        self.flow.load_state_dict(weights)
        self.student.load_state_dict(weights)
        self.average.n_averaged = 0
        self.pairs.clear()
        self.distilling.fill_(True)

    @torch.no_grad()
    def _solutions(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """The ends of the current flow from `noise`: the teacher's ODE, or the reflow's by Euler steps."""
        if not self.distilling:
            return teacher_solutions(self.teacher, noise, self.options, labels)
        assert self.flow is not None
        with spent_on("pairs"):
            return euler_flow(
                partial(flow_velocity, self.flow.eval(), condition=labels), noise, self.options.solver_nfe
            )

    def learning_rate_factor(self, step: int, spent: float) -> float:
        """Warm-up in steps, then in each stage linear to 0 as its budget runs out."""
        return super().learning_rate_factor(step, self.stage_at(spent).used)

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """x0 by `nfe` Euler steps; UnreachableNFE for another number than a distilled student's."""
        nfe = whole(nfe)
        rectified_flow(nfe, self.options.distil)
        return euler_flow(partial(flow_velocity, self.averaged_student, condition=condition), noise, nfe)
