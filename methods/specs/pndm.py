"""PNDM and iPNDM."""

from typing import Any

from pydantic import Field, model_validator

from ..nfe import Steps, UnreachableNFE
from .multistep import CorrectedOptions
from .solver import PACKAGE, SolverOptions, SolverSpec


class PNDMOptions(SolverOptions):
    """F-PNDM (Liu et al. 2022)."""

    integer_labels: bool = Field(
        False,
        description="On a discrete path, round the midpoint's transfer down to a label, as the authors' code does.",
    )

    @model_validator(mode="after")
    def _labels_are_of_the_path(self) -> "PNDMOptions":
        if self.integer_labels and self.path not in (None, "trained"):
            raise ValueError(f"integer_labels needs a discrete path, which {self.path} is not")
        return self


class IPNDMOptions(CorrectedOptions):
    """iPNDM (Zhang & Chen 2023)."""

    max_order: int = Field(
        4, ge=1, le=4, description="How many of the last eps are combined, once there are so many; 4 in the paper."
    )


def second_order(nfe: int, order: int, options: Any, clean: bool) -> Steps:
    """S-PNDM: two evaluations in the first step, then one a step; the first step cannot end at noise 0."""
    least = 3 if clean else 2
    if nfe < least:
        raise UnreachableNFE(f"S-PNDM's first step takes two evaluations: NFE of at least {least}")
    return (2,) + (1,) * (nfe - 2)


def fourth_order(nfe: int, order: int, options: Any, clean: bool) -> Steps:
    """F-PNDM: four evaluations in each of the first three steps, then one a step."""
    if nfe < 13:
        raise UnreachableNFE("F-PNDM's first three steps take four evaluations each: NFE of at least 13")
    return (4, 4, 4) + (1,) * (nfe - 12)


SPECS = (
    SolverSpec(
        name="pndm",
        target=f"{PACKAGE}.pndm:f_pndm",
        options=PNDMOptions,
        summary="PNDM, that is F-PNDM (Liu et al. 2022)",
        rule=fourth_order,
        display="PNDM",
        papers=("liu2022pseudo",),
    ),
    SolverSpec(
        name="f-pndm",
        target=f"{PACKAGE}.pndm:f_pndm",
        options=PNDMOptions,
        summary="F-PNDM, order 4 (Liu et al. 2022)",
        rule=fourth_order,
        display="F-PNDM",
        papers=("liu2022pseudo",),
    ),
    SolverSpec(
        name="s-pndm",
        target=f"{PACKAGE}.pndm:s_pndm",
        options=SolverOptions,
        summary="S-PNDM, order 2 (Liu et al. 2022)",
        rule=second_order,
        display="S-PNDM",
        papers=("liu2022pseudo",),
    ),
    SolverSpec(
        name="ipndm",
        target=f"{PACKAGE}.pndm:ipndm",
        options=IPNDMOptions,
        summary="iPNDM, equal-step weights (Zhang & Chen 2023)",
        display="iPNDM",
        papers=("zhang2023fast", "liu2022pseudo"),
    ),
)
