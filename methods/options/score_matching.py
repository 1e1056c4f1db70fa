"""Methods that match scores, with an online network for the score of what the student makes."""

from typing import Literal

from pydantic import Field, model_validator

from .base import StudentOptions
from .distillation import PairSource


class ScoreMatchingOptions(StudentOptions):
    """What all of them have. Noise levels are EDM's, sigma/alpha on other paths.

    sigma_init: the level at which the student, a copy of the teacher, reads the noise; None: the largest.
    log_sigma_mean, log_sigma_std: of the log-normal levels at which the fake-score network is trained.
    generator_levels, fake_levels: instead levels spread evenly over this part of the rho = 7 curve from
        sigma_min (0) to sigma_max (1).
    fake_updates: updates of the fake-score network for each of the student.
    warm_up: the share of the budget in which the fake-score network alone is trained, first.
    accumulate: the batch is taken in so many parts, whose gradients are added up: less memory, the same update.
    gradient_clip: the largest norm of either network's gradient.
    The learning rates rise over `warmup_steps` and fall linearly to 0 with the budget.
    """

    sigma_init: float | None = Field(2.5, gt=0)
    log_sigma_mean: float = -0.6
    log_sigma_std: float = Field(1.3, gt=0)
    generator_levels: tuple[float, float] | None = None
    fake_levels: tuple[float, float] | None = None
    fake_updates: int = Field(1, ge=1)
    warm_up: float = Field(0.1, ge=0, lt=1)
    learning_rate: float = Field(3e-4, gt=0)
    fake_learning_rate: float = Field(1e-3, gt=0)
    betas: tuple[float, float] = (0.0, 0.99)
    gradient_clip: float | None = Field(10.0, gt=0)
    accumulate: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> "ScoreMatchingOptions":
        for name in ("generator_levels", "fake_levels"):
            levels = getattr(self, name)
            if levels is not None and not 0 <= levels[0] < levels[1] <= 1:
                raise ValueError(f"{name}: give two shares of the noise levels' range, such as [0, 0.8]")
        if self.batch % self.accumulate:
            raise ValueError(f"accumulate: {self.accumulate} does not divide the batch of {self.batch}")
        return self


class SIMOptions(ScoreMatchingOptions):
    """Score Implicit Matching (Luo et al. 2024). The paper's c, w(t) and rates are not public: these are ours.

    distance: "pseudo-huber" with constant c, "l2", or "sid", SiD's loss (Zhou et al. 2024) with its `alpha`.
    of: what the distance is of, the difference of the two "denoiser"s or of the two "score"s; c is in its units.
    weight: "sid" is 1/mean|x0 - D_teacher|, per sample; powers of sigma are for scores.
    """

    distance: Literal["pseudo-huber", "l2", "sid"] = "pseudo-huber"
    c: float = Field(0.3, gt=0)
    alpha: float = 1.0
    of: Literal["denoiser", "score"] = "denoiser"
    weight: Literal["uniform", "sid", "sigma^2", "sigma^4"] = "sid"


class SiDOptions(SIMOptions):
    """SiD (Zhou et al. 2024): SIM with the squared distance, corrected by alpha. Paper: both rates 1e-5."""

    distance: Literal["pseudo-huber", "l2", "sid"] = "sid"
    alpha: float = 1.2
    generator_levels: tuple[float, float] | None = (0.0, 0.8)


class DiffInstructOptions(ScoreMatchingOptions):
    """Diff-Instruct (Luo et al. 2023). Paper: sigma_init 1, both rates 1e-5, betas (0, 0.999), batch 128."""


class DMDOptions(ScoreMatchingOptions, PairSource):
    """DMD2 without its GAN (Yin et al. 2024b); with `regression` > 0 the first DMD (Yin et al. 2024a).

    regression: the weight of |G(z) - x|^2 on pairs (z, x) of the teacher's ODE [DMD: 0.25, LPIPS]. Without it no
        pairs are made, and the options of pairs mean nothing.
    Paper: sigma_init the largest (null), fake_updates 5, both rates 2e-6, batch 280.
    """

    generator_levels: tuple[float, float] | None = (0.02, 0.98)
    fake_levels: tuple[float, float] | None = (0.0, 1.0)
    regression: float = Field(0.0, ge=0)
