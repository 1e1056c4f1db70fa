"""Progressive distillation."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

from pydantic import Field, model_validator

from ..nfe import Steps, UnreachableNFE, one_per_step
from .base import LARGEST_BATCH, METHODS, MOST_STEPS, Betas, MethodSpec, Options


def halvings(nfe: int, steps: Sequence[int]) -> int:
    """One evaluation a step, by the student of so many steps."""
    if nfe not in steps:
        known = ", ".join(map(str, steps))
        raise UnreachableNFE(f"halving the steps makes students of {known} evaluations and no other")
    return nfe


class ProgressiveOptions(Options):
    """Progressive distillation (Salimans & Ho 2022): one run makes students of start_steps/2, ..., last_steps steps.

    The student's output is its teacher's: x0 through EDM's preconditioning for the suites' own teachers; x0, eps, v
    or both for networks with that head.
    """

    start_steps: int = Field(
        16, ge=2, le=MOST_STEPS, description="Steps of the first teacher; last_steps doubled one or more times."
    )
    last_steps: int = Field(1, ge=1, description="Steps of the last student.")
    last_shares: tuple[float, ...] = Field(
        (2.0, 3.0),
        description="Shares of the budget of the last phases, in units of each earlier phase's. Paper: (2, 2); () "
        "makes all equal.",
    )
    path: Literal["edm", "vp-cosine"] = Field(
        "edm", description="Path whose DDIM steps are halved: vp-cosine is the paper's, edm that of Song et al. 2023."
    )
    weight: Literal["uniform", "snr", "truncated-snr", "snr+1", "karras"] = Field(
        "karras",
        description="Weight of the squared error of x0: snr is the paper's loss on eps (and leaves the first step from "
        "pure noise untaught), snr+1 the loss on v, truncated-snr the larger of snr and 1, karras EDM's (needs an EDM "
        "teacher).",
    )
    end: Literal["zero", "min"] = Field(
        "zero",
        description="Where the last sampling step goes: to clean data, or to sigma_min as the sampler of "
        "openai/consistency_models.",
    )
    clip_x0: bool = Field(
        True, description="Clamp x0 in sampling to the data's range, where they have one (images: [-1, 1])."
    )
    ema: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="Decay per step of the student's averaged weights, restarted in every phase. Paper: none (0).",
    )
    learning_rate: float = Field(
        3e-3, gt=0, description="Adam's learning rate at the start of a phase; it falls linearly to 0 in each."
    )
    betas: Betas = Field((0.9, 0.99), description="Adam's decays of the mean and of the square of the gradient.")
    gradient_clip: float | None = Field(
        None, gt=0, description="Largest norm of the gradient; no limit by default. Paper: 1."
    )
    batch: int = Field(64, ge=1, le=LARGEST_BATCH, description="Samples per training step.")

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

    def steps_for(self, nfe: int) -> Steps:
        return one_per_step(halvings(nfe, self.steps))


SPEC = MethodSpec(
    name="progressive",
    target=f"{METHODS}.distillation.progressive:Progressive",
    options=ProgressiveOptions,
    summary="progressive distillation (Salimans & Ho 2022): one run makes a student for each halving of the steps",
    trains=True,
    needs_network=True,
    conditional=True,
    display="Progressive distillation",
    papers=("salimans2022progressive",),
)
