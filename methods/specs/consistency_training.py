"""Consistency training: CT, iCT and ECT."""

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from .. import assets
from ..missing import Missing
from .base import HIGHEST, METHODS, MOST_STEPS, LearningRate, MethodSpec, Options
from .consistency import ConsistencyStudentOptions, Distance, Weight


class _Variant(Options):
    """A way of consistency training by name: in a suite `variant: ict`, or `variant: {name: ict, s1: 80}`."""

    def label(self) -> str:
        changed = self.model_dump(exclude_defaults=True, exclude={"name"})
        return " ".join([getattr(self, "name", ""), *(f"{key}={value}" for key, value in changed.items())])


class _Growing(_Variant):
    s0: int
    s1: int

    @model_validator(mode="after")
    def _grows(self) -> "_Growing":
        if self.s1 < self.s0:
            raise ValueError(f"the number of steps grows from s0 = {self.s0} to s1: s1 cannot be {self.s1}")
        return self


class CTOptions(_Growing):
    """Consistency training as first published (Song et al. 2023)."""

    name: Literal["ct"] = Field("ct", description="Chooses this variant.")
    s0: int = Field(
        2, ge=1, le=MOST_STEPS, description="Steps of the noise grid at the start of the training. Paper: 2."
    )
    s1: int = Field(
        50,
        ge=1,
        le=MOST_STEPS,
        description="Steps of the noise grid at the end. Paper: 150 on CIFAR-10, 200 elsewhere.",
    )
    mu0: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="Decay per step of the target's weights at s0 grid steps. Paper: 0.9 or 0.95, for 800,000 "
        "iterations; ours suits a thousand and was picked on the 2-D mixture.",
    )
    mu: Literal["code", "paper"] = Field(
        "code",
        description="The decay at N grid points: exp(s0 ln mu0 / (N - 1)) as in the code, or with N as in the paper.",
    )
    distance: Distance = "l2"
    weight: Weight = "uniform"


class ICTOptions(_Growing):
    """Improved consistency training (Song & Dhariwal 2023)."""

    name: Literal["ict"] = Field("ict", description="Chooses this variant.")
    s0: int = Field(
        10, ge=1, le=MOST_STEPS, description="Steps of the noise grid at the start of the training. Paper: 10."
    )
    s1: int = Field(
        40,
        ge=1,
        le=MOST_STEPS,
        description="Steps of the noise grid at the end, reached by doubling at equal shares of the budget. Paper: "
        "1280.",
    )
    log_sigma_mean: float = Field(
        -1.1, ge=-20, le=20, description="Mean of the normal law of ln sigma by which levels are drawn. Paper: -1.1."
    )
    log_sigma_std: float = Field(
        2.0, ge=0.01, le=10, description="Standard deviation of the normal law of ln sigma. Paper: 2."
    )
    huber: float = Field(
        0.00054,
        ge=0,
        le=HIGHEST,
        description="c of the pseudo-Huber distance over sqrt(dimensions of a sample). Paper: 0.00054.",
    )


class ECTOptions(_Variant):
    """Easy consistency tuning (Geng et al. 2024): r = t (1 - (1 + k sigmoid(-b t)) / q^(stage + 1))."""

    name: Literal["ect"] = Field("ect", description="Chooses this variant.")
    q: float = Field(
        2.0,
        gt=1,
        le=HIGHEST,
        description="Factor by which the gap t - r shrinks from a stage to the next. Fast recipe: 256.",
    )
    k: float = Field(8.0, ge=0, le=HIGHEST, description="How much wider the gap is at small noise levels. Paper: 8.")
    b: float = Field(1.0, gt=0, le=HIGHEST, description="How fast that widening fades with the noise level. Paper: 1.")
    stages: int = Field(
        8,
        ge=1,
        le=64,
        description="Stages, at equal shares of the budget. The authors' fast recipe has one, with q = 256.",
    )
    log_sigma_mean: float = Field(
        -1.1, ge=-20, le=20, description="Mean of the normal law of ln sigma by which levels are drawn."
    )
    log_sigma_std: float = Field(2.0, ge=0.01, le=10, description="Standard deviation of the normal law of ln sigma.")
    huber: float = Field(
        0.0, ge=0, le=HIGHEST, description="c of the pseudo-Huber distance itself, in units of the data; 0 is the norm."
    )

    @model_validator(mode="after")
    def _gap_stays(self) -> "ECTOptions":
        # q^stages is the factor of the last stage's gap: beyond double precision r and t are one number.
        if self.stages * math.log2(self.q) > 50:
            raise ValueError(
                f"q: {self.q:g} over {self.stages} stages leaves no gap between t and r: lower one of them"
            )
        return self


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class ConsistencyTrainingOptions(ConsistencyStudentOptions):
    """Consistency training, which learns from data without asking the teacher; a row's options name its variant."""

    learning_rate: LearningRate = 1e-2
    variant: Annotated[CTOptions | ICTOptions | ECTOptions, BeforeValidator(_named)] = Field(
        ICTOptions(),
        discriminator="name",
        description="Which recipe: ct, ict or ect by name, or a mapping of the name and the recipe's own options.",
    )
    init: Literal["teacher", "random"] = Field(
        "teacher",
        description="The student's first weights. random is the papers' CT and iCT; teacher is what the released "
        "launch scripts do, and what ECT is: the row then also profits from the teacher's own training.",
    )

    def missing(self) -> Missing | None:
        return assets.missing_lpips() if getattr(self.variant, "distance", "") == "lpips" else None


SPEC = MethodSpec(
    name="consistency-training",
    target=f"{METHODS}.distillation.consistency_training:ConsistencyTraining",
    options=ConsistencyTrainingOptions,
    summary="consistency training: CT (Song et al. 2023), iCT (Song & Dhariwal 2023), ECT (Geng et al. 2024)",
    trains=True,
    needs_network=True,
    conditional=True,
    display="Consistency training",
    papers=("song2023consistency", "song2023improved", "geng2024consistency"),
)
