"""One metric of some samples, as results keep it. No torch."""

from pydantic import BaseModel, ConfigDict


class Measured(BaseModel):
    """A value with its protocol, or why these samples have none.

    without: the values without each of jackknife.BLOCKS blocks of samples, for metrics that have them cheaply.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float | None = None
    samples: int | None = None
    protocol: str = ""
    without: list[float] | None = None
    skipped: str | None = None
