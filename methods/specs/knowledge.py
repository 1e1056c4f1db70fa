"""Knowledge distillation."""

from typing import Literal

from pydantic import Field

from ..nfe import Steps, one_evaluation
from .base import METHODS, MethodSpec
from .pairs import PairOptions


class KnowledgeOptions(PairOptions):
    """Knowledge distillation (Luhman & Luhman 2021); the paper's pairs come from DDIM with 100 steps."""

    distance: Literal["l2", "l1", "pseudo-huber"] = Field(
        "l2",
        description="Distance between the student's sample and the teacher's. Paper: l1 on CIFAR-10, l2 elsewhere.",
    )

    def steps_for(self, nfe: int) -> Steps:
        return one_evaluation(nfe)


SPEC = MethodSpec(
    name="knowledge",
    target=f"{METHODS}.distillation.knowledge:Knowledge",
    options=KnowledgeOptions,
    summary="knowledge distillation on pairs of noise and solution (Luhman & Luhman 2021)",
    trains=True,
    needs_network=True,
    conditional=True,
    display="Knowledge distillation",
    papers=("luhman2021knowledge",),
)
