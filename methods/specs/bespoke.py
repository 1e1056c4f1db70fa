"""Bespoke solvers."""

from typing import Literal

from pydantic import Field

from ..nfe import Steps, UnreachableNFE
from .base import LARGEST_BATCH, METHODS, MOST_STEPS, MethodSpec, Options


def bespoke_steps(nfe: int, order: int) -> int:
    """A Runge-Kutta step takes as many evaluations as its order."""
    if nfe % order:
        raise UnreachableNFE(f"RK{order} takes {order} evaluations a step: a multiple of {order}")
    return nfe // order


class BespokeOptions(Options):
    """Bespoke solvers (Shaul et al. 2024). One solver per NFE, each with its own run and budget."""

    order: Literal[1, 2, 3] = Field(
        2,
        description="Order of the Runge-Kutta rule, and its evaluations per step: 1 is Euler, 2 the midpoint method, 3 "
        "Heun's rule of order 3. The paper's tables name RK3 without its formulas.",
    )
    loss: Literal["bound", "lte", "rmse"] = Field(
        "bound",
        description="bound is the paper's RMSE-Bound, lte the sum of the steps' local errors, rmse the error at the "
        "end.",
    )
    learn: Literal["scale-time", "time", "scale"] = Field(
        "scale-time", description="What is learned: the scale and the time of the path, or one of the two."
    )
    path: Literal["flow-ot", "flow-cosine"] = Field(
        "flow-ot", description="Path that is scaled and retimed; the teacher is converted to it exactly."
    )
    trajectories: int = Field(
        64,
        ge=1,
        le=LARGEST_BATCH,
        description="True paths to learn from; fewer where they would take more than truth_share.",
    )
    truth_share: float = Field(
        0.3, gt=0, lt=1, description="Largest share of the budget that solving the true paths may take."
    )
    nodes: int = Field(33, ge=5, le=MOST_STEPS, description="Times at which a true path is kept.")
    tolerance: float = Field(
        1e-5, ge=1e-12, le=1, description="Tolerance, relative and absolute, of RK45 on the true paths."
    )
    learning_rate: float = Field(
        3e-2, gt=0, description="Adam's learning rate at the start; it falls linearly to 0 with the budget."
    )
    gradient_clip: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    batch: int = Field(32, ge=1, le=LARGEST_BATCH, description="True paths per training step.")
    select: Literal["last", "best-rmse", "best-fd"] = Field(
        "last",
        description="Which parameters are kept: the last, or the best by rmse to the exact solutions or by the suite's "
        "Fréchet distance (the paper's figures and tables). The budget pays for what selecting evaluates.",
    )
    select_every: int = Field(25, ge=1, description="Training steps from one look at the parameters to the next.")
    select_samples: int = Field(
        64, ge=2, le=LARGEST_BATCH, description="Noises, the selection's own, on which the parameters are judged."
    )

    @property
    def needs_quality(self) -> bool:
        return self.select == "best-fd"

    def steps_for(self, nfe: int) -> Steps:
        return (self.order,) * bespoke_steps(nfe, self.order)


SPEC = MethodSpec(
    name="bespoke",
    target=f"{METHODS}.learned_solvers.bespoke:Bespoke",
    options=BespokeOptions,
    summary="Bespoke solvers (Shaul et al. 2024): a Runge-Kutta rule in a learned scale and time, one per NFE",
    trains=True,
    per_nfe=True,
    transfers=True,
    conditional=True,
    kind="learned solver",
    display="Bespoke",
    papers=("shaul2024bespoke",),
)
