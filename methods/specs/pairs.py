"""Options of methods that learn from pairs of a noise and the teacher's solution from it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .. import nfe
from .base import MOST_STEPS, Options, StudentOptions

PairsShare = Annotated[
    float,
    Field(
        gt=0,
        le=1,
        description="Share of the budget in which every step makes a batch of new pairs; afterwards batches are drawn "
        "from these. 1 makes new pairs to the end.",
    ),
]


class PairSource(Options):
    """Pairs (noise, the ODE's solution), made within the budget."""

    solver: Literal["euler", "heun", "dpmpp-2m", "dpmpp-3m", "unipc-3"] = Field(
        "dpmpp-2m", description="The sampler that makes the pairs from the teacher, on its default grid."
    )
    solver_nfe: int = Field(16, ge=1, le=MOST_STEPS, description="Teacher evaluations per pair.")
    pairs_share: PairsShare = 0.35

    @model_validator(mode="after")
    def _solver_takes_so_many(self) -> "PairSource":
        if self.solver == "heun":
            nfe.heun(self.solver_nfe, 2, None, clean=True)
        return self


class PairOptions(StudentOptions, PairSource):
    """A student that learns from pairs."""
