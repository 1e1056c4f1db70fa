"""The exact solution as a row."""

from pydantic import Field

from ..nfe import Steps, UnreachableNFE
from ..options import Options
from .base import METHODS, MethodSpec

MEASURED = 0
"""The NFE of a row whose NFE is measured, until it is."""


class GroundTruthOptions(Options):
    """The samples of the adaptive solver that rmse is measured against; its NFE is what it took, on the mean."""

    tolerance: float | None = Field(
        None,
        ge=1e-12,
        le=1,
        description="Largest error of a step, relative and absolute, in units of the data; by default that of the "
        "suite's truth.",
    )

    def steps_for(self, nfe: int) -> Steps:
        if nfe == MEASURED:
            return ()
        raise UnreachableNFE("the exact solution takes as many evaluations as it needs: leave nfe out of its row")


SPEC = MethodSpec(
    name="ground-truth",
    target=f"{METHODS}.elsewhere.ground_truth:GroundTruth",
    options=GroundTruthOptions,
    summary="the teacher's exact ODE solution (RK45), its NFE as measured",
    kind="made elsewhere",
    made="exact solution",
    display="Exact solution",
    papers=("dormand1980family",),
)
