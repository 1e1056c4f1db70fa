"""What all options share: unknown keys are mistakes, values do not change."""

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def missing(self) -> str | None:
        """One line on what these options need and this machine lacks, and how to get it; None if nothing."""
        return None

    @property
    def needs_quality(self) -> bool:
        """Whether training asks the runner for the suite's Fréchet distance; what it evaluates is charged."""
        return False


class StudentOptions(Options):
    """What every student that Adam trains has; the averaged weights are sampled from."""

    ema: float = Field(0.99, ge=0, lt=1)
    learning_rate: float = Field(1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.99)
    warmup_steps: int = Field(20, ge=0)
    batch: int = Field(64, ge=1)
