"""What all options share: unknown keys are mistakes, values do not change. No torch."""

from pydantic import BaseModel, ConfigDict

from .missing import Missing
from .nfe import Steps, one_per_step


class Options(BaseModel):
    """Checked settings. A field's description says what it means, in what unit, and what the paper takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def steps_for(self, nfe: int) -> Steps:
        """The evaluations of each step with `nfe` in all, or UnreachableNFE with the reason."""
        return one_per_step(nfe)

    def missing(self) -> Missing | None:
        """What these options need and this machine lacks; None if nothing."""
        return None

    @property
    def needs_quality(self) -> bool:
        """Whether training asks the runner for the suite's Fréchet distance; what it evaluates is charged."""
        return False
