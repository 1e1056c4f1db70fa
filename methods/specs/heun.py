"""EDM's second-order sampler."""

import math
from typing import Any

from pydantic import Field, field_validator, model_validator

from .. import nfe
from .solver import PACKAGE, SolverOptions, SolverSpec


class HeunOptions(SolverOptions):
    """Karras et al. 2022, algorithm 2; churn acts between the noise levels S_min and S_max."""

    S_churn: float = Field(
        0.0,
        ge=0,
        description="How much noise a run puts back: each step raises the level by the factor 1 + S_churn/steps, at "
        "most sqrt(2). 0 is deterministic; the authors take 30 on CIFAR-10 and 40 on ImageNet-64.",
    )
    S_min: float = Field(0.0, ge=0, description="Smallest noise level, as sigma/alpha, at which churn acts.")
    S_max: float | None = Field(
        None, ge=0, description="Largest noise level, as sigma/alpha, at which churn acts; no limit by default."
    )
    S_noise: float = Field(
        1.0, ge=0, description="Standard deviation of the noise put back; 1.003 to 1.007 in the paper."
    )
    alpha: float = Field(
        1.0,
        ge=0.01,
        le=1,
        description="Where in a step the second evaluation is made: 1 is Heun's method, 1/2 the midpoint method, 2/3 "
        "Ralston's (appendix D.2).",
    )

    @field_validator("S_max", mode="before")
    @classmethod
    def _unbounded(cls, level: Any) -> Any:
        """EDM's own default is infinity, the one number here that need not be finite."""
        return None if level == math.inf else level

    @model_validator(mode="after")
    def _churn_has_a_range(self) -> "HeunOptions":
        if self.S_max is not None and self.S_min > self.S_max:
            raise ValueError(f"S_min must be at most S_max: {self.S_min:g} is above {self.S_max:g}")
        return self


SPEC = SolverSpec(
    name="heun",
    target=f"{PACKAGE}.heun:heun",
    options=HeunOptions,
    summary="EDM's Heun sampler, with or without churn (Karras et al. 2022)",
    rule=nfe.heun,
    display="Heun (EDM)",
    papers=("karras2022elucidating",),
)
