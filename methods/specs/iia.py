"""IIA, improved integration approximation."""

from typing import Literal

from pydantic import Field, model_validator

from ..nfe import Steps, UnreachableNFE
from . import ddim, dpm_solver, heun, pndm
from .base import LARGEST_BATCH, METHODS, MOST_STEPS, MethodSpec, Options
from .solver import Grid

BASES = {spec.name: spec for spec in (heun.SPEC, *ddim.SPECS, *dpm_solver.SPECS, *pndm.SPECS)}


def iia_steps(steps: int, clean: bool, own: bool) -> int:
    """The base solver's steps, if any is fitted: not one to clean data, nor a first one without columns of its own."""
    if steps - clean - (not own) < 1:
        past = "" if own else " and come after another"
        raise UnreachableNFE(f"IIA fits steps that end above noise 0{past}: with none it would be its base solver")
    return steps


class IIAOptions(Options):
    """Improved integration approximation (Zhang, Niwa & Kleijn 2024). One set of coefficients per NFE."""

    solver: Literal["heun", "heun-basic", "ddim", "dpmpp-2m", "s-pndm", "ipndm"] = Field(
        "heun",
        description="Solver whose steps are fitted; heun is IIA-EDM, heun-basic BIIA-EDM with one coefficient for both "
        "slopes.",
    )
    grid: Grid = Field(Grid(), description="The time grid of the solver.")
    r: int = Field(
        1,
        ge=0,
        le=1000,
        description="How many steps back the fitted columns reach; 0 only for Heun, which has columns in the step "
        "itself. Paper: mostly 1.",
    )
    substeps: int = Field(
        2,
        ge=2,
        le=MOST_STEPS,
        description="M, steps of the base solver inside each interval, which the coefficients imitate. The value is "
        "ours.",
    )
    batch: int = Field(
        128, ge=1, le=LARGEST_BATCH, description="Noises that the coefficients are fitted on. The value is ours."
    )

    @property
    def base(self) -> str:
        """The base solver's name."""
        return self.solver.removesuffix("-basic")

    @model_validator(mode="after")
    def _something_to_fit(self) -> "IIAOptions":
        if self.r == 0 and self.base != "heun":
            raise ValueError(f"r: 0 leaves {self.solver} nothing to fit: give r of at least 1")
        return self

    def steps_for(self, nfe: int) -> Steps:
        """The base solver's, where any of its steps is fitted."""
        base = BASES[self.base]
        steps: Steps = base.steps_for(nfe, base.options.model_validate({"grid": self.grid}))
        iia_steps(len(steps), self.grid.end != "min", self.base == "heun")
        return steps


SPEC = MethodSpec(
    name="iia",
    target=f"{METHODS}.learned_solvers.iia:IIA",
    options=IIAOptions,
    summary="IIA (Zhang et al. 2024): a solver's steps with coefficients fitted to its own finer steps, one per NFE",
    trains=True,
    per_nfe=True,
    transfers=True,
    conditional=True,
    kind="learned solver",
    display="IIA",
    papers=("zhang2024on",),
)
