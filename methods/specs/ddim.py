"""DDIM with noise, and DDPM's ancestral sampling."""

from typing import Literal

from pydantic import Field, model_validator

from .solver import PACKAGE, SolverOptions, SolverSpec


class DDIMOptions(SolverOptions):
    """DDIM (Song et al. 2021)."""

    eta: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the posterior's own noise that each step adds (eq. 16): 0 is deterministic, 1 ancestral.",
    )

    @model_validator(mode="after")
    def _steps_to_the_next_label(self) -> "DDIMOptions":
        if self.grid.spacing == "labels-linspace":
            raise ValueError(
                "diffusers' DDIM steps from a label of linspace to one that is not the next: take labels-leading or "
                "labels-trailing, or the solver euler with labels-linspace"
            )
        return self


class DDPMOptions(SolverOptions):
    """DDPM (Ho et al. 2020)."""

    variance: Literal["fixedlarge", "fixedsmall"] = Field(
        "fixedlarge",
        description="Variance of a step: beta_t (fixedlarge) or the posterior's (fixedsmall), section 3.2.",
    )
    clip_x0: bool = Field(True, description="Clamp the denoiser's output to [-1, 1], as the authors do.")


SPECS = (
    SolverSpec(
        name="ddim",
        target=f"{PACKAGE}.ddim:ddim_eta",
        options=DDIMOptions,
        summary="DDIM (Song et al. 2021); eta 0 is euler",
        display="DDIM",
        papers=("song2021denoising",),
    ),
    SolverSpec(
        name="ddpm",
        target=f"{PACKAGE}.ddim:ddpm",
        options=DDPMOptions,
        summary="DDPM's ancestral sampling (Ho et al. 2020)",
        display="DDPM",
        papers=("ho2020denoising",),
    ),
)
