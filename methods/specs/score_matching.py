"""Options of methods that match scores, with an online network for the score of what the student makes."""

from typing import Annotated

from pydantic import Field, model_validator

from ..nfe import Steps, one_evaluation
from .base import HIGHEST, LOWEST, MOST_STEPS, Betas, StudentOptions

GeneratorLevels = Annotated[
    tuple[float, float] | None,
    Field(
        description="Noise levels in the student's update: evenly spread over this part of the rho = 7 curve, from "
        "sigma_min (0) to sigma_max (1). null draws them by the log-normal law."
    ),
]
FakeLevels = Annotated[
    tuple[float, float] | None,
    Field(
        description="Noise levels in the fake-score network's update, as generator_levels. null draws them by the "
        "log-normal law."
    ),
]

GeneratorRate = Annotated[
    float,
    Field(
        gt=0,
        description="Adam's largest learning rate of the student, reached after warmup_steps; it falls linearly to 0 "
        "with the budget.",
    ),
]
FakeRate = Annotated[
    float,
    Field(gt=0, description="Adam's largest learning rate of the fake-score network, which rises and falls likewise."),
]


class ScoreMatchingOptions(StudentOptions):
    """What all of them have. Noise levels are EDM's, sigma/alpha on other paths."""

    sigma_init: float | None = Field(
        2.5,
        ge=LOWEST,
        le=HIGHEST,
        description="Noise level at which the student, a copy of the teacher, reads its noise; null is the largest.",
    )
    log_sigma_mean: float = Field(
        -0.6, ge=-20, le=20, description="Mean of the normal law of ln sigma that levels are drawn by."
    )
    log_sigma_std: float = Field(1.3, ge=0.01, le=10, description="Standard deviation of the normal law of ln sigma.")
    generator_levels: GeneratorLevels = None
    fake_levels: FakeLevels = None
    fake_updates: int = Field(
        1, ge=1, le=MOST_STEPS, description="Updates of the fake-score network for each of the student."
    )
    warm_up: float = Field(
        0.1, ge=0, lt=1, description="First share of the budget, in which the fake-score network alone is trained."
    )
    learning_rate: GeneratorRate = 1e-3
    fake_learning_rate: FakeRate = 1e-3
    betas: Betas = Field(
        (0.0, 0.99), description="Adam's decays of the mean and of the square of the gradient, of both networks."
    )
    gradient_clip: float | None = Field(
        10.0, gt=0, description="Largest norm of either network's gradient; null is no limit."
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="Parts that the batch is taken in, whose gradients are added up: less memory, the same update.",
    )

    @model_validator(mode="after")
    def _fits(self) -> "ScoreMatchingOptions":
        for name in ("generator_levels", "fake_levels"):
            levels = getattr(self, name)
            if levels is not None and not 0 <= levels[0] < levels[1] <= 1:
                raise ValueError(f"{name}: give two shares of the noise levels' range, such as [0, 0.8]")
        if self.batch % self.accumulate:
            raise ValueError(f"accumulate: {self.accumulate} does not divide the batch of {self.batch}")
        return self

    def steps_for(self, nfe: int) -> Steps:
        return one_evaluation(nfe)
