"""Methods that train a student network."""

from itertools import accumulate, pairwise
from typing import Literal

from pydantic import Field, model_validator

from .. import nfe
from .base import Options, StudentOptions


class ProgressiveOptions(Options):
    """Progressive distillation (Salimans & Ho 2022), from a teacher of start_steps down to a student of last_steps.

    One run makes the students of start_steps/2, start_steps/4, ..., last_steps steps; the budget covers all.
    last_shares: the last phases' shares of the budget, in units of each earlier phase's; the paper's are
    (2, 2), equal ones are (). path: "vp-cosine" is the paper's, "edm" the form of Song et al. 2023.
    weight, on the squared error of x0: "uniform", "snr" (the paper's eps-loss), "truncated-snr" (the larger of
    both), "snr+1" (the v-loss), "karras" (EDM's; needs an EDM teacher).
    The student's output is its teacher's: x0 through EDM's preconditioning for the suites' own teachers; x0,
    eps, v or both for networks with that head. "snr" leaves the first step from pure noise untaught.
    end: the last sampling step goes to clean data, or to sigma_min as openai/consistency_models' sampler.
    clip_x0: in sampling, x0 is clamped to the data's range where the data have one (images: [-1, 1]).
    ema: of the student, restarted in every phase; the paper has none (0). gradient_clip: the paper's is 1.
    """

    start_steps: int = Field(32, ge=2)
    last_steps: int = Field(1, ge=1)
    last_shares: tuple[float, ...] = (2.0, 3.0)
    path: Literal["edm", "vp-cosine"] = "edm"
    weight: Literal["uniform", "snr", "truncated-snr", "snr+1", "karras"] = "karras"
    end: Literal["zero", "min"] = "zero"
    clip_x0: bool = True
    ema: float = Field(0.99, ge=0, lt=1)
    learning_rate: float = Field(1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.99)
    gradient_clip: float | None = Field(None, gt=0)
    batch: int = Field(64, ge=1)

    @model_validator(mode="after")
    def _halves(self) -> "ProgressiveOptions":
        ratio = self.start_steps // self.last_steps
        if self.start_steps % self.last_steps or ratio < 2 or ratio & (ratio - 1):
            raise ValueError(
                f"start_steps {self.start_steps} is not last_steps {self.last_steps} doubled one or more times: "
                "take 32 and 1, or 64 and 4"
            )
        if not all(share > 0 for share in self.last_shares):
            raise ValueError("last_shares must be positive: a phase without budget trains nothing")
        return self

    @property
    def steps(self) -> tuple[int, ...]:
        """The students' steps in the order in which they are made: start_steps/2, ..., last_steps."""
        halvings = (self.start_steps // self.last_steps).bit_length() - 1
        return tuple(self.start_steps >> k for k in range(1, halvings + 1))

    @property
    def ends(self) -> tuple[float, ...]:
        """The share of the budget that is used when each phase ends, in the order of `steps`."""
        last = self.last_shares[-len(self.steps) :] if self.last_shares else ()
        shares = (1.0,) * (len(self.steps) - len(last)) + last
        return tuple(total / sum(shares) for total in accumulate(shares))


class BootOptions(StudentOptions):
    """BOOT (Gu et al. 2023). No official code is public: delta, weights and rates are ours, for small budgets.

    path: "edm" goes down the rho = 7 curve of noise levels, "vp-cosine" evenly in the cosine path's time.
    delta: the length of one bootstrapping step, as a share of the way down.
    step: how the teacher moves the signal. "first-order" is the ODE's finite difference in t, "ddim" exact for
    a constant prediction (on "edm" the same), "heun" of second order with two evaluations.
    weight: on the squared error; delta in time, k the share that the teacher takes in a step.
    boundary_weight, boundary_share: the boundary loss's factor, and its samples as a share of the batch.
    clip: the teacher's prediction is cut to [-1, 1], for guided teachers of pixels.
    """

    path: Literal["edm", "vp-cosine"] = "edm"
    delta: float = Field(0.04, gt=0, lt=1)
    step: Literal["ddim", "first-order", "heun"] = "ddim"
    weight: Literal["uniform", "1/delta^2", "1/k^2"] = "uniform"
    boundary_weight: float = Field(1.0, ge=0)
    boundary_share: float = Field(0.25, gt=0, le=1)
    clip: bool = False


class PairSource(Options):
    """Pairs (noise, the ODE's solution), made within the budget.

    solver, solver_nfe: the teacher's sampler, on its default grid, and its evaluations per pair.
    pairs_share: until this share of the budget is spent every step makes its own batch of new pairs; from
    then on batches are drawn from these. 1 makes new pairs to the end. The default was picked once, on the
    2-D mixture and on other noises of digits than the scored ones.
    """

    solver: Literal["euler", "heun", "dpmpp-2m", "dpmpp-3m", "unipc-3"] = "dpmpp-2m"
    solver_nfe: int = Field(16, ge=1)
    pairs_share: float = Field(0.35, gt=0, le=1)

    @model_validator(mode="after")
    def _solver_takes_so_many(self) -> "PairSource":
        if self.solver == "heun":
            nfe.heun(self.solver_nfe, 2, None, clean=True)
        return self


class PairOptions(StudentOptions, PairSource):
    """Learning from pairs."""


class KnowledgeOptions(PairOptions):
    """Knowledge distillation (Luhman & Luhman 2021): L1 on CIFAR-10, L2 elsewhere, DDIM-100 pairs in the paper."""

    distance: Literal["l2", "l1", "pseudo-huber"] = "l2"


class RectifiedFlowOptions(PairOptions):
    """Rectified flow (Liu, Gong & Liu 2023).

    distil: 0, or the number of Euler steps that the flow is distilled for in the last `distil_share` of the
    budget; 1 is InstaFlow (Liu et al. 2024). Its pairs are the reflow's own, by solver_nfe Euler steps.
    """

    distil: int = Field(0, ge=0)
    distil_share: float = Field(0.5, gt=0, lt=1)


class TractOptions(Options):
    """TRACT (Berthelot et al. 2023). The defaults are those of small budgets; the paper's are in brackets.

    teacher_steps: T, the steps of the first phase's teacher and of the grid of times [1024; EDM 40].
    phases: the student's steps at the end of each phase, each a divisor of the one before [(32, 1); (1,)].
    shares: each phase's share of the budget, as ratios; equal where not given [equal].
    ode_step: how the first phase's teacher steps; a student, the later phases' teacher, jumps with DDIM.
        On "vp-cosine" it is DDIM, that is "euler" [EDM: "heun"].
    self_teacher_ema: the momentum of the student's average that closes the chain [0.5].
    ema_per_phase: mu^(steps of a phase) for the average that is sampled from [1e-3].
    clip_x0: predictions of x0 inside the jumps, and samples, are clamped to the data's range where the data
        have one (images: [-1, 1]); not the student's in the loss, nor on "edm" the first teacher's [true].
    restart: each phase has a fresh optimiser, warm-up and decay [one optimiser goes through all].
    learning_rate, its decay, gradient_clip (norm): [2e-4, "constant", 1; EDM 1e-3, "constant", none].
    """

    path: Literal["edm", "vp-cosine"] = "edm"
    teacher_steps: int = Field(32, ge=2)
    phases: tuple[int, ...] = Field((4, 1), min_length=1)
    shares: tuple[float, ...] | None = None
    ode_step: Literal["euler", "heun"] = "euler"
    self_teacher_ema: float = Field(0.5, ge=0, lt=1)
    ema_per_phase: float = Field(1e-3, gt=0, lt=1)
    clip_x0: bool = False
    restart: bool = False
    learning_rate: float = Field(1e-3, gt=0)
    learning_rate_decay: Literal["linear", "constant"] = "linear"
    betas: tuple[float, float] = (0.9, 0.99)
    warmup_steps: int = Field(20, ge=0)
    gradient_clip: float | None = Field(None, gt=0)
    batch: int = Field(64, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> "TractOptions":
        for longer, shorter in pairwise((self.teacher_steps, *self.phases)):
            if shorter < 1 or shorter >= longer or longer % shorter:
                raise ValueError(f"{longer} steps cannot become {shorter}: each phase must divide the steps before it")
        if self.shares is not None and (len(self.shares) != len(self.phases) or min(self.shares) <= 0):
            raise ValueError(f"shares: give one positive number for each of the {len(self.phases)} phases")
        if self.path == "vp-cosine" and self.ode_step == "heun":
            raise ValueError("ode_step: heun is for path: edm; on vp-cosine the teacher steps with DDIM (euler)")
        return self

    @property
    def ends(self) -> tuple[float, ...]:
        """The share of the budget that is used when each phase ends."""
        shares = self.shares or (1.0,) * len(self.phases)
        return tuple(total / sum(shares) for total in accumulate(shares))
