"""Consistency models: distillation and training."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from .. import assets
from .base import Options, StudentOptions

Distance = Literal["l2", "l1", "pseudo-huber", "lpips"]
Weight = Literal["uniform", "snr", "snr+1", "karras", "truncated-snr"]


class ConsistencyStudentOptions(StudentOptions):
    """What every consistency model has.

    levels: "spread" are even on the rho = 7 curve from sigma_max (0) to `last_level` (sigma_min is 1); the
    paper's two-step choices lie between 0.44 and 0.56, ours was picked once, on two seeds of digits.
    "searched" are the paper's: ternary search for the suite's Frechet distance, one level at a time, on
    `search_samples` noises of its own, for up to `searched_nfe` evaluations. It is the last step of the training,
    which leaves as much of the budget as it takes.
    clip_x0: every output of the network is clamped to [-1, 1] when sampling, as in the released code.
    optimizer: "radam" is the papers' (Liu et al. 2020).
    """

    levels: Literal["spread", "searched"] = "spread"
    last_level: float = Field(0.6, gt=0, lt=1)
    searched_nfe: int = Field(4, ge=2)
    search_samples: int = Field(512, ge=2)
    search_rounds: int = Field(5, ge=1)
    clip_x0: bool = False
    optimizer: Literal["adam", "radam"] = "adam"

    @property
    def needs_quality(self) -> bool:
        return self.levels == "searched"


class ConsistencyOptions(ConsistencyStudentOptions):
    """Consistency distillation (Song et al. 2023), spec of each option in methods/distillation/consistency.py.

    The defaults are those of small budgets: EDM weights and a target without EMA (see the README).
    distance: "lpips" needs piq (the extra `lpips`), two files of weights, and images of one or three channels.
    """

    grid_points: int = Field(18, ge=2)
    ode_step: Literal["heun", "euler"] = "heun"
    distance: Distance = "l2"
    weight: Weight = "karras"
    target_ema: float = Field(0.0, ge=0, lt=1)

    def missing(self) -> str | None:
        return assets.missing_lpips() if self.distance == "lpips" else None


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
    """Consistency training as first published (Song et al. 2023). s0, s1: steps of the grid at the start and end.

    mu0: the target's decay at s0 steps, 0.9 or 0.95 in the paper's 800,000 iterations; ours suits a thousand and
    was picked on the 2-D mixture. mu: the decay in the released code, exp(s0 ln mu0/(N - 1)), or in the paper,
    with N. distance, weight: as for distillation.
    """

    name: Literal["ct"] = "ct"
    s0: int = Field(2, ge=1)
    s1: int = Field(50, ge=1)
    mu0: float = Field(0.01, gt=0, lt=1)
    mu: Literal["code", "paper"] = "code"
    distance: Distance = "l2"
    weight: Weight = "uniform"


class ICTOptions(_Growing):
    """Improved consistency training (Song & Dhariwal 2023).

    s0, s1: steps of the grid at the start and end, doubled in between at equal shares of the budget.
    log_sigma_mean, log_sigma_std: the levels' lognormal law. huber: c / sqrt(d) of the pseudo-Huber distance.
    """

    name: Literal["ict"] = "ict"
    s0: int = Field(10, ge=1)
    s1: int = Field(160, ge=1)
    log_sigma_mean: float = -1.1
    log_sigma_std: float = Field(2.0, gt=0)
    huber: float = Field(0.00054, ge=0)


class ECTOptions(_Variant):
    """Easy consistency tuning (Geng et al. 2024): r = t (1 - (1 + k sigmoid(-b t)) / q^(stage + 1)).

    stages: how many, at equal shares of the budget; q = 256 with one stage is the authors' fast recipe.
    huber: c of the pseudo-Huber distance itself; 0 is the norm.
    """

    name: Literal["ect"] = "ect"
    q: float = Field(2.0, gt=1)
    k: float = Field(8.0, ge=0)
    b: float = Field(1.0, gt=0)
    stages: int = Field(8, ge=1)
    log_sigma_mean: float = -1.1
    log_sigma_std: float = Field(2.0, gt=0)
    huber: float = Field(0.0, ge=0)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class ConsistencyTrainingOptions(ConsistencyStudentOptions):
    """Consistency training, which learns from data without asking the teacher: its row's options say which variant.

    init: where the student's weights come from. "random" is the paper's CT and iCT; "teacher" is what the
    released launch scripts do, and what ECT is: then the teacher's own training stands behind the row.
    """

    variant: Annotated[CTOptions | ICTOptions | ECTOptions, BeforeValidator(_named), Field(discriminator="name")] = (
        ICTOptions()
    )
    init: Literal["teacher", "random"] = "teacher"

    def missing(self) -> str | None:
        return assets.missing_lpips() if getattr(self.variant, "distance", "") == "lpips" else None
