"""Score Implicit Matching, and SiD."""

from typing import Annotated, Literal

from pydantic import Field

from .base import HIGHEST, METHODS, MethodSpec
from .score_matching import GeneratorLevels, ScoreMatchingOptions

Distance = Annotated[
    Literal["pseudo-huber", "l2", "sid"],
    Field(
        description="Distance of the two scores: pseudo-huber with constant c, l2, or sid, SiD's loss with its alpha."
    ),
]
Alpha = Annotated[float, Field(description="SiD's correction of the squared distance; 1 is l2. Used by distance sid.")]


class SIMOptions(ScoreMatchingOptions):
    """Score Implicit Matching (Luo et al. 2024). The paper's c, w(t) and rates are not public: these are ours."""

    distance: Distance = "pseudo-huber"
    c: float = Field(
        0.3, gt=0, le=HIGHEST, description="c of the pseudo-Huber distance, in units of what `of` compares."
    )
    alpha: Alpha = 1.0
    of: Literal["denoiser", "score"] = Field(
        "denoiser", description="What is compared: the two denoisers' outputs, or the two scores."
    )
    weight: Literal["uniform", "sid", "sigma^2", "sigma^4"] = Field(
        "sid",
        description="w(t): sid is 1/mean|x0 - D_teacher|, per sample; the powers of sigma are for scores.",
    )


class SiDOptions(SIMOptions):
    """SiD (Zhou et al. 2024): SIM with the squared distance, corrected by alpha. Paper: both learning rates 1e-5."""

    distance: Distance = "sid"
    alpha: Alpha = 1.2
    generator_levels: GeneratorLevels = (0.0, 0.8)


SPECS = (
    MethodSpec(
        name="sim",
        target=f"{METHODS}.distillation.sim:SIM",
        options=SIMOptions,
        summary="Score Implicit Matching, data-free (Luo et al. 2024)",
        trains=True,
        needs_network=True,
        conditional=True,
        display="SIM",
        papers=("luo2024one",),
    ),
    MethodSpec(
        name="sid",
        target=f"{METHODS}.distillation.sim:SIM",
        options=SiDOptions,
        summary="SiD, Score identity Distillation (Zhou et al. 2024)",
        trains=True,
        needs_network=True,
        conditional=True,
        display="SiD",
        papers=("zhou2024score",),
    ),
)
