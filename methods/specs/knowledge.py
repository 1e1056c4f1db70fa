"""Knowledge distillation."""

from typing import Literal

from pydantic import Field, model_validator

from ..nfe import Steps, UnreachableNFE, one_evaluation, one_per_step
from .base import LARGEST_BATCH, METHODS, MOST_STEPS, LearningRate, MethodSpec, Options
from .pairs import PairOptions, PairSource


class TruePaths(Options):
    """True paths of the teacher, made within the budget: those that Bespoke solvers learn from (Shaul et al. 2024)."""

    trajectories: int = Field(
        64,
        ge=1,
        le=LARGEST_BATCH,
        description="True paths to learn from; fewer where they would take more than share.",
    )
    share: float = Field(0.3, gt=0, lt=1, description="Largest share of the budget that solving the paths may take.")
    nodes: int = Field(33, ge=5, le=MOST_STEPS, description="Times at which a path is kept, even in flow time.")
    tolerance: float = Field(
        1e-5, ge=1e-12, le=1, description="Tolerance, relative and absolute, of RK45 on the paths."
    )


class KnowledgeOptions(PairOptions):
    """Knowledge distillation (Luhman & Luhman 2021); the paper's pairs come from DDIM with 100 steps."""

    learning_rate: LearningRate = 1e-2
    distance: Literal["l2", "l1", "pseudo-huber"] = Field(
        "l2",
        description="Distance between the student's sample and the teacher's. Paper: l1 on CIFAR-10, l2 elsewhere.",
    )
    loss: Literal["sample", "lte"] = Field(
        "sample",
        description="What is taught: sample is the paper's, the end of the teacher's ODE in one evaluation. lte "
        "teaches each of `steps` steps, started on a true path, to land on it: distillation on what Bespoke solvers "
        "learn from (Shaul et al. 2024).",
    )
    steps: int = Field(
        1, ge=1, le=1000, description="Steps of a student of loss lte, even in flow time; its NFE. Others have one."
    )
    truth: TruePaths = Field(TruePaths(), description="The true paths of loss lte, with Bespoke's names and defaults.")

    @model_validator(mode="after")
    def _loss_takes_what_is_given(self) -> "KnowledgeOptions":
        if self.loss == "sample":
            if self.steps > 1:
                raise ValueError(f"{self.steps} steps are taught by loss: lte; loss: sample knows only the path's ends")
            if self.truth != TruePaths():
                raise ValueError("truth describes the paths of loss: lte; leave it out")
        else:
            for name, field in PairSource.model_fields.items():
                if getattr(self, name) != field.default:
                    raise ValueError(f"{name} describes the pairs of loss: sample; loss: lte has true paths, see truth")
        return self

    def steps_for(self, nfe: int) -> Steps:
        if self.steps == 1:
            return one_evaluation(nfe)
        if nfe != self.steps:
            raise UnreachableNFE(f"the student has {self.steps} steps, an evaluation each: NFE {self.steps} only")
        return one_per_step(nfe)


SPEC = MethodSpec(
    name="knowledge",
    target=f"{METHODS}.distillation.knowledge:knowledge",
    options=KnowledgeOptions,
    summary="knowledge distillation on pairs of noise and solution (Luhman & Luhman 2021), or in steps on true paths",
    trains=True,
    needs_network=True,
    conditional=True,
    display="Knowledge distillation",
    papers=("luhman2021knowledge", "shaul2024bespoke"),
)
