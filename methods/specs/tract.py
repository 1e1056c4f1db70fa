"""TRACT, transitive closure time-distillation."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Literal

from pydantic import Field, model_validator

from ..nfe import Steps, UnreachableNFE, one_per_step
from .base import LARGEST_BATCH, METHODS, MOST_STEPS, Betas, MethodSpec, Options


def phase_end(nfe: int, phases: Sequence[int]) -> int:
    """A method trained in phases has a student at the steps where one ends."""
    if nfe not in phases:
        raise UnreachableNFE(f"no phase ends at {nfe} steps: there are students of {', '.join(map(str, phases))}")
    return nfe


class TractOptions(Options):
    """TRACT (Berthelot et al. 2023); the defaults are for small budgets."""

    path: Literal["edm", "vp-cosine"] = Field(
        "edm",
        description="Path of the DDIM jumps: vp-cosine is that of the paper's VP models, edm that of its EDM ones.",
    )
    teacher_steps: int = Field(
        32,
        ge=2,
        le=MOST_STEPS,
        description="T, the steps of the first phase's teacher and of the grid of times. Paper: 1024 (EDM: 40).",
    )
    phases: tuple[int, ...] = Field(
        (4, 1),
        min_length=1,
        description="Steps of the student at the end of each phase, each a divisor of the one before. Paper: (32, 1) "
        "(EDM: (1,)).",
    )
    shares: tuple[float, ...] | None = Field(
        None, description="Shares of the budget of the phases, as ratios; equal by default and in the paper."
    )
    ode_step: Literal["euler", "heun"] = Field(
        "euler",
        description="How the first phase's teacher steps; a student, the teacher of later phases, jumps with DDIM. On "
        "vp-cosine it is DDIM, that is euler. Paper: euler (EDM: heun).",
    )
    self_teacher_ema: float = Field(
        0.5, ge=0, lt=1, description="Momentum per step of the student's average that closes the chain. Paper: 0.5."
    )
    ema_per_phase: float = Field(
        1e-3,
        gt=0,
        lt=1,
        description="mu^(steps of a phase), for the averaged weights that are sampled from. Paper: 1e-3.",
    )
    clip_x0: bool = Field(
        False,
        description="Clamp x0 inside the jumps and in samples to the data's range, where they have one (images: "
        "[-1, 1]); not the student's output in the loss, nor on edm the first teacher's. Paper: true.",
    )
    restart: bool = Field(
        False,
        description="Give each phase a fresh optimiser, warm-up and decay. Paper: one optimiser goes through all.",
    )
    learning_rate: float = Field(
        3e-3, gt=0, description="Adam's largest learning rate, reached after the warm-up. Paper: 2e-4 (EDM: 1e-3)."
    )
    learning_rate_decay: Literal["linear", "constant"] = Field(
        "linear", description="Whether the learning rate falls linearly to 0 with the budget. Paper: constant."
    )
    betas: Betas = Field((0.9, 0.99), description="Adam's decays of the mean and of the square of the gradient.")
    warmup_steps: int = Field(20, ge=0, description="Steps in which the learning rate rises linearly from 0.")
    gradient_clip: float | None = Field(
        None, gt=0, description="Largest norm of the gradient; no limit by default. Paper: 1 (EDM: none)."
    )
    batch: int = Field(64, ge=1, le=LARGEST_BATCH, description="Samples per training step.")

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

    def steps_for(self, nfe: int) -> Steps:
        return one_per_step(phase_end(nfe, self.phases))


SPEC = MethodSpec(
    name="tract",
    target=f"{METHODS}.distillation.tract:Tract",
    options=TractOptions,
    summary="TRACT (Berthelot et al. 2023): jumps distilled in phases, a student where each ends",
    trains=True,
    needs_network=True,
    conditional=True,
    display="TRACT",
    papers=("berthelot2023tract",),
)
