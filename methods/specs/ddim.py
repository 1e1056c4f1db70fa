"""DDIM with noise, and DDPM's ancestral sampling."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator, model_validator

from .solver import PACKAGE, SolverOptions, SolverSpec


class DDIMOptions(SolverOptions):
    """DDIM (Song et al. 2021)."""

    eta: Annotated[float, Field(ge=0, le=1)] | Literal["sigma-hat"] = Field(
        0.0,
        description="Share of the posterior's own noise that each step adds (eq. 16): 0 is deterministic, 1 ancestral. "
        "sigma-hat has the mean of 1 and DDPM's larger variance (appendix D.3): ddpm is that with D clipped.",
    )

    @field_validator("eta", mode="wrap")
    @classmethod
    def _share_or_name(cls, eta: Any, checked: ValidatorFunctionWrapHandler) -> Any:
        try:
            return checked(eta)
        except ValidationError:
            raise ValueError("must be a number from 0 to 1, or sigma-hat") from None

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

    variance: Literal["fixedlarge", "fixedsmall", "learned"] = Field(
        "fixedlarge",
        description="Variance of a step: beta_t (fixedlarge) or the posterior's (fixedsmall), section 3.2, or what the "
        "network says between the two (learned, Nichol & Dhariwal 2021), as OpenAI's do.",
    )
    clip_x0: bool = Field(True, description="Clamp the denoiser's output to [-1, 1], as the authors do.")

    @model_validator(mode="after")
    def _variance_is_said(self) -> "DDPMOptions":
        if self.afs and self.variance == "learned":
            raise ValueError("afs spares the first evaluation, which says its step's variance; leave one of them out")
        if self.variance == "learned" and not self.grid.of_labels:
            raise ValueError("variance: learned is that of a chain of labels: give grid.spacing, such as respaced")
        return self


SPECS = (
    SolverSpec(
        name="ddim",
        target=f"{PACKAGE}.ddim:ddim_eta",
        options=DDIMOptions,
        summary="DDIM (Song et al. 2021); eta 0 is euler",
        display="DDIM",
        papers=("song2021denoising",),
        stays=True,
    ),
    SolverSpec(
        name="ddpm",
        target=f"{PACKAGE}.ddim:ddpm",
        options=DDPMOptions,
        summary="DDPM's ancestral sampling (Ho et al. 2020)",
        display="DDPM",
        papers=("ho2020denoising", "nichol2021improved"),
        stays=True,
    ),
)
