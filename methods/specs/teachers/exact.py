"""The closed-form denoiser of the data law."""

from typing import Literal

from pydantic import Field

from ..base import HIGHEST, LOWEST, METHODS
from .base import TeacherOptions, TeacherSpec


class ExactOptions(TeacherOptions):
    """The closed-form denoiser of the data law: a mixture's, or the ideal denoiser of a finite image set."""

    name: Literal["exact"] = Field("exact", description="Chooses this kind of teacher.")
    bandwidth: float = Field(
        0.0,
        ge=0,
        le=HIGHEST,
        description="Standard deviation, in units of the data, of a Gaussian put on each image of a finite set; it "
        "widens the components of a mixture.",
    )
    sigma_min: float = Field(0.01, ge=LOWEST, le=HIGHEST, description="Smallest noise level that solvers go to.")
    sigma_max: float = Field(40.0, ge=LOWEST, le=HIGHEST, description="Largest noise level, where solvers start.")

    def default_label(self) -> str:
        return f"exact-h{self.bandwidth:g}" if self.bandwidth else "exact"


SPEC = TeacherSpec(
    name="exact",
    target=f"{METHODS}.teachers.analytic:exact",
    options=ExactOptions,
    summary="the closed-form denoiser of the data law: a mixture's, or the ideal denoiser of a finite image set",
    network=False,
)
