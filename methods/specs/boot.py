"""BOOT."""

from typing import Literal

from pydantic import Field

from .. import assets
from ..missing import Missing
from ..nfe import Steps, one_evaluation
from .base import METHODS, LearningRate, MethodSpec, StudentOptions


class BootOptions(StudentOptions):
    """BOOT (Gu et al. 2023). No official code is public: delta, weights and rates are ours, for small budgets."""

    learning_rate: LearningRate = 1e-2
    path: Literal["edm", "vp-cosine"] = Field(
        "edm",
        description="Path on which the signal is followed: edm down the rho = 7 curve of noise levels, vp-cosine "
        "evenly in the cosine path's time.",
    )
    delta: float = Field(
        0.04, ge=1e-6, lt=1, description="Length of a bootstrapping step, as a share of the way from noise to data."
    )
    step: Literal["ddim", "first-order", "heun"] = Field(
        "ddim",
        description="How the teacher moves the signal: first-order is the ODE's finite difference in t, ddim is exact "
        "for a constant prediction (on edm the two agree), heun is of second order with two evaluations.",
    )
    distance: Literal["l2", "l1", "pseudo-huber", "lpips"] = Field(
        "l2",
        description="Distance between the student's signal and its target, in both losses. lpips needs piq (the extra "
        "`lpips`), two files of weights, and images of one or three channels. Paper: l2.",
    )
    weight: Literal["uniform", "1/delta^2", "1/k^2"] = Field(
        "uniform",
        description="Weight of the bootstrapping loss: delta is the step in time, k the share of the teacher's "
        "prediction in the step.",
    )
    boundary_weight: float = Field(1.0, ge=0, description="Factor of the boundary loss.")
    boundary_share: float = Field(
        0.25, gt=0, le=1, description="Samples of the boundary loss, as a share of the batch."
    )
    clip: bool = Field(False, description="Clamp the teacher's prediction to [-1, 1]; for guided teachers of pixels.")

    def missing(self) -> Missing | None:
        return assets.missing_lpips() if self.distance == "lpips" else None

    def steps_for(self, nfe: int) -> Steps:
        return one_evaluation(nfe)


SPEC = MethodSpec(
    name="boot",
    target=f"{METHODS}.distillation.boot:Boot",
    options=BootOptions,
    summary="BOOT: data-free bootstrapping of the signal along the ODE, one step (Gu et al. 2023)",
    trains=True,
    needs_network=True,
    conditional=True,
    display="BOOT",
    papers=("gu2023boot",),
)
