"""Consistency distillation, and what every consistency model shares."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator

from .. import assets
from ..missing import Missing
from ..nfe import Steps, UnreachableNFE, one_per_step
from .base import HIGHEST, LARGEST_BATCH, LOWEST, METHODS, MOST_STEPS, LearningRate, MethodSpec, StudentOptions

Distance = Annotated[
    Literal["l2", "l1", "pseudo-huber", "lpips"],
    Field(
        description="Distance between the two outputs. lpips needs piq (the extra `lpips`), two files of weights, and "
        "images of one or three channels. Paper: lpips."
    ),
]
Weight = Annotated[
    Literal["uniform", "snr", "snr+1", "karras", "truncated-snr"],
    Field(
        description="Weight of the loss by noise level: snr is t^-2, karras snr + 1/sigma_data^2, truncated-snr the "
        "larger of snr and 1. Paper: uniform."
    ),
]


def searched_levels(nfe: int, searched_nfe: int) -> Steps:
    """Consistency models' levels, where they are searched one after another up to some NFE."""
    if nfe > searched_nfe:
        raise UnreachableNFE(f"levels are searched for up to {searched_nfe} evaluations, see searched_nfe")
    return one_per_step(nfe)


def given_levels(nfe: int, levels: Sequence[float]) -> Steps:
    """Levels that the options list, of which `nfe` evaluations take the first."""
    if nfe > len(levels):
        raise UnreachableNFE(f"the option levels lists {len(levels)}: at most {len(levels)} evaluations")
    return one_per_step(nfe)


class ConsistencyStudentOptions(StudentOptions):
    """What every consistency model has."""

    levels: Literal["spread", "searched"] | tuple[float, ...] = Field(
        "spread",
        description="Noise levels of multistep sampling: spread are even on the rho = 7 curve from sigma_max down to "
        "last_level. searched are the paper's, by ternary search for the suite's Fréchet distance, one "
        "level at a time; the search is the last step of the training, and the budget pays for it. A list gives them "
        "as sigma, of which NFE k takes the first k; such as the paper's [80, 1.3824] on ImageNet-64.",
    )
    last_level: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Where spread levels end on the curve from sigma_max (0) to sigma_min (1). The paper's two-step "
        "choices lie between 0.44 and 0.56.",
    )
    searched_nfe: int = Field(4, ge=2, le=1000, description="Largest NFE that levels are searched for.")
    search_samples: int = Field(
        512, ge=2, le=LARGEST_BATCH, description="Noises, the search's own, on which a level is judged."
    )
    search_rounds: int = Field(
        5,
        ge=1,
        le=1000,
        description="Rounds of the search per level; each judges two levels and drops a third of the interval.",
    )
    clip_x0: bool = Field(
        False, description="Clamp every output of the network to [-1, 1] in sampling, as the released code does."
    )
    optimizer: Literal["adam", "radam"] = Field(
        "adam", description="Optimiser of the student. Papers: radam (Liu et al. 2020)."
    )

    @field_validator("levels", mode="wrap")
    @classmethod
    def _levels_fall(cls, given: Any, checked: ValidatorFunctionWrapHandler) -> Any:
        try:
            levels = checked(given)
        except ValidationError:
            raise ValueError("must be spread, searched, or noise levels such as [80, 1.3824]") from None
        if not isinstance(levels, str):
            falls = all(high > low for high, low in pairwise(levels))
            if not (levels and falls and levels[-1] >= LOWEST and levels[0] <= HIGHEST):
                raise ValueError(f"must be noise levels from {HIGHEST:g} to {LOWEST:g}, each below the one before")
        return levels

    @property
    def needs_quality(self) -> bool:
        return self.levels == "searched"

    def steps_for(self, nfe: int) -> Steps:
        if not isinstance(self.levels, str):
            return given_levels(nfe, self.levels)
        return searched_levels(nfe, self.searched_nfe) if self.levels == "searched" else one_per_step(nfe)


class ConsistencyOptions(ConsistencyStudentOptions):
    """Consistency distillation (Song et al. 2023); the defaults are for small budgets."""

    learning_rate: LearningRate = 3e-3
    grid_points: int = Field(
        18,
        ge=2,
        le=MOST_STEPS,
        description="N, the noise levels of the rho = 7 grid whose neighbours are paired. Paper: 18 on CIFAR-10, 40 "
        "elsewhere.",
    )
    ode_step: Literal["heun", "euler"] = Field(
        "heun", description="The teacher's step from a level to the next: two evaluations (heun) or one. Paper: heun."
    )
    distance: Distance = "l2"
    weight: Weight = "karras"
    target_ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay per step of the target's weights; with 0 the target is the student itself. Paper: 0 on "
        "CIFAR-10.",
    )

    def missing(self) -> Missing | None:
        return assets.missing_lpips() if self.distance == "lpips" else None


SPEC = MethodSpec(
    name="consistency",
    target=f"{METHODS}.distillation.consistency:Consistency",
    options=ConsistencyOptions,
    summary="consistency distillation (Song et al. 2023)",
    trains=True,
    needs_network=True,
    conditional=True,
    display="Consistency distillation",
    papers=("song2023consistency",),
)
