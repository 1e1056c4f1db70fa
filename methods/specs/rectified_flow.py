"""Rectified flow, and its distillation."""

from pydantic import Field

from ..nfe import Steps, UnreachableNFE, one_per_step
from .base import METHODS, MOST_STEPS, LearningRate, MethodSpec
from .pairs import PairOptions, PairsShare


def rectified_flow(nfe: int, distilled: int = 0) -> Steps:
    """Euler's steps, any number of them, or the one number that the flow was distilled for (0: it was not)."""
    if distilled and nfe != distilled:
        raise UnreachableNFE(f"the flow was distilled to be sampled at NFE {distilled} only")
    return one_per_step(nfe)


class RectifiedFlowOptions(PairOptions):
    """Rectified flow (Liu, Gong & Liu 2023); distilled for one step it is InstaFlow (Liu et al. 2024)."""

    learning_rate: LearningRate = 3e-3
    pairs_share: PairsShare = 0.2
    distil: int = Field(
        0,
        ge=0,
        le=MOST_STEPS,
        description="Euler steps that the flow is distilled for after the reflow, from pairs of its own by solver_nfe "
        "Euler steps; 0 leaves the flow as it is, 1 is InstaFlow.",
    )
    distil_share: float = Field(0.5, gt=0, lt=1, description="Last share of the budget, which the distillation takes.")

    def steps_for(self, nfe: int) -> Steps:
        return rectified_flow(nfe, self.distil)


SPEC = MethodSpec(
    name="rectified-flow",
    target=f"{METHODS}.distillation.rectified_flow:RectifiedFlow",
    options=RectifiedFlowOptions,
    summary="reflow of the teacher's ODE (Liu et al. 2023), distilled for k steps if asked (InstaFlow)",
    trains=True,
    needs_network=True,
    conditional=True,
    display="Rectified flow",
    papers=("liu2023flow", "liu2024instaflow"),
)
