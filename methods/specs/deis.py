"""DEIS, and iPNDM with the weights of unequal steps."""

from typing import Literal

from pydantic import Field, model_validator

from .multistep import CorrectedOptions, OrdersOptions
from .pndm import IPNDMOptions
from .solver import PACKAGE, SolverSpec


class DEISOptions(OrdersOptions, CorrectedOptions):
    """DEIS (Zhang & Chen 2023)."""

    quadrature: Literal["gauss-legendre", "th_deis", "diff-sampler"] = Field(
        "gauss-legendre",
        description="How the coefficients are integrated: exactly, or by the 10 000-point sums of the authors' code "
        "th_deis or of diff-sampler.",
    )

    @model_validator(mode="after")
    def _sums_stay_finite(self) -> "DEISOptions":
        infinite = {"th_deis": ("vp-linear-fitted",), "diff-sampler": ("vp-linear", "vp-linear-fitted")}
        labelled = self.quadrature == "diff-sampler" and self.grid.of_labels
        if self.grid.end != "min" and (labelled or self.path in infinite.get(self.quadrature, ())):
            where = "a chain of labels" if labelled else self.path
            raise ValueError(f"quadrature {self.quadrature} on {where} has no value at clean data: give grid.end min")
        return self


def _adams_bashforth(variable: str, degree: int) -> SolverSpec:
    return SolverSpec(
        name=f"deis-{variable.lower()}{degree}",
        target=f"{PACKAGE}.deis:deis_{variable.lower()}",
        options=DEISOptions,
        summary=f"DEIS {variable}{degree} (Zhang & Chen 2023)",
        order=degree,
        display=f"DEIS-{variable}{degree}",
        papers=("zhang2023fast",),
    )


SPECS = (
    *(_adams_bashforth(variable, degree) for variable in ("tAB", "rhoAB") for degree in (1, 2, 3)),
    SolverSpec(
        name="ipndm-v",
        target=f"{PACKAGE}.deis:ipndm_v",
        options=IPNDMOptions,
        summary="iPNDM with weights of the grid's own steps",
        display="iPNDM-v",
        papers=("zhang2023fast",),
    ),
)
