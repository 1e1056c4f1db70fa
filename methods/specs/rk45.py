"""Dormand and Prince's adaptive solver."""

from pydantic import Field

from ..nfe import Steps, UnreachableNFE
from .base import Options
from .solver import PACKAGE, SolverSpec


def adaptive(nfe: int) -> Steps:
    raise UnreachableNFE("an adaptive solver chooses its own number of evaluations")


class AdaptiveOptions(Options):
    """Dormand-Prince with one error control per sample."""

    tolerance: float = Field(
        1e-5,
        ge=1e-12,
        le=1,
        description="Largest error of a step, relative and absolute (rtol = atol), in units of the data.",
    )

    def steps_for(self, nfe: int) -> Steps:
        return adaptive(nfe)


SPEC = SolverSpec(
    name="rk45",
    target=f"{PACKAGE}.rk45:AdaptiveSolver",
    options=AdaptiveOptions,
    summary="adaptive Dormand-Prince 5(4): the truth that rmse is measured against",
    rule=None,
    display="RK45 (Dormand-Prince)",
    papers=("dormand1980family",),
)
