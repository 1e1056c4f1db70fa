"""What all options share: unknown keys are mistakes, values do not change."""

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def missing(self) -> str | None:
        """One line on what these options need and this machine lacks, and how to get it; None if nothing."""
        return None

    @property
    def needs_quality(self) -> bool:
        """Whether training asks the runner for the suite's Fréchet distance; what it evaluates is charged."""
        return False
