"""DFNO."""

from typing import Literal

from pydantic import Field, model_validator

from .. import assets
from ..missing import Missing
from ..nfe import Steps, one_evaluation
from .base import METHODS, MOST_STEPS, LearningRate, MethodSpec
from .pairs import PairOptions

Sampler = Literal["euler", "heun", "dpmpp-2m", "dpmpp-3m"]


class DFNOOptions(PairOptions):
    """DFNO (Zheng et al. 2023): the paper's rates, sizes and numbers of trajectories are for hundreds of GPU hours."""

    learning_rate: LearningRate = 1e-2
    frames: int = Field(
        4, ge=1, le=64, description="T, the moments of the trajectory that are predicted at once, the last the sample."
    )
    modes: int = Field(
        2,
        ge=1,
        le=33,
        description="K, the frequencies that the layers over time keep, of the T/2 + 1 that T moments have.",
    )
    solver: Sampler = Field(
        "dpmpp-2m",
        description="The sampler that makes the trajectories, on its default grid, among whose nodes the moments are "
        "evenly spaced. Paper: DDIM (euler), 512 steps on CIFAR-10, 16 on ImageNet 64.",
    )
    solver_nfe: int = Field(16, ge=1, le=MOST_STEPS, description="Teacher evaluations per trajectory.")
    pairs_share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Share of the budget in which every step makes a batch of new trajectories; afterwards batches are "
        "drawn from these. 1 makes new ones to the end.",
    )
    distance: Literal["l2", "l1", "pseudo-huber", "lpips"] = Field(
        "l2",
        description="Distance between a predicted moment and the teacher's. lpips needs piq (the extra `lpips`), two "
        "files of weights, and images of one or three channels. Paper: l1, or lpips without its learned weights.",
    )
    weight: Literal["uniform", "snr"] = Field(
        "uniform",
        description="Weight of a moment: snr is alpha/sigma clamped to [1, 10^4], which leaves little but the last. "
        "Paper: snr.",
    )

    @model_validator(mode="after")
    def _moments_can_be_told_apart(self) -> "DFNOOptions":
        if self.modes > self.frames // 2 + 1:
            raise ValueError(f"{self.frames} moments have {self.frames // 2 + 1} frequencies: modes is at most that")
        steps = (self.solver_nfe + 1) // 2 if self.solver == "heun" else self.solver_nfe
        if steps < self.frames:
            raise ValueError(f"{self.solver_nfe} evaluations are {steps} steps, fewer than the {self.frames} frames")
        return self

    def missing(self) -> Missing | None:
        return assets.missing_lpips() if self.distance == "lpips" else None

    def steps_for(self, nfe: int) -> Steps:
        return one_evaluation(nfe)


SPEC = MethodSpec(
    name="dfno",
    target=f"{METHODS}.distillation.dfno:DFNO",
    options=DFNOOptions,
    summary="DFNO: the trajectory at T times from the noise, by Fourier layers over time, one step (Zheng et al. 2023)",
    trains=True,
    needs_network=True,
    conditional=True,
    display="DFNO",
    papers=("zheng2023fast",),
)
