"""What every training-free solver has: a time grid, options, and a rule for how it spends its evaluations."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from .. import nfe
from .base import HIGHEST, LOWEST, METHODS, Kind, MethodSpec, Options

PACKAGE = f"{METHODS}.solvers"
"""The package that the built-in solvers' targets are in."""


class Grid(Options):
    """The time grid of a solver; its formulas are in methods/solvers/grids.py."""

    spacing: Literal[
        "karras",
        "log-snr",
        "uniform",
        "quadratic",
        "ddim-uniform",
        "ddim-quad",
        "labels-leading",
        "labels-trailing",
        "labels-linspace",
        "respaced",
        "respaced-ddim",
    ] = Field(
        "karras",
        description="Where the nodes lie between the largest and the smallest noise level: karras is even in "
        "level^(1/rho), log-snr in the log of the level, uniform in t, quadratic in sqrt(t). The others are labels of "
        "the discrete path that the teacher was trained on, the last of them followed by clean data: ddim-uniform and "
        "ddim-quad are DDIM's, labels-leading, labels-trailing and labels-linspace those of diffusers' "
        "timestep_spacing, respaced and respaced-ddim those of OpenAI's timestep_respacing K and ddimK.",
    )
    offset: int = Field(
        0, ge=0, le=1000, description="Added to every label of labels-leading: diffusers' steps_offset."
    )
    parts: Literal["steps", "steps+1"] = Field(
        "steps",
        description="Into how many parts labels-leading and labels-linspace divide the chain: as many as there are "
        "steps in diffusers' DDIM and Euler, one more in its DPM-Solver and UniPC.",
    )
    rho: float = Field(
        7.0, ge=0.1, le=1000, description="Exponent of the spacing karras; 7 in the paper. 1 is even in the level."
    )
    end: Literal["zero", "append-zero", "min"] = Field(
        "zero",
        description="zero replaces the last node by noise level 0, so that no evaluation is spent at the smallest "
        "level; append-zero adds 0 after that level, as EDM does; min stops at the smallest level. After labels both "
        "zeros are clean data, and min is label 0.",
    )
    noise_min: float | None = Field(
        None, ge=LOWEST, le=HIGHEST, description="Smallest noise level, as sigma/alpha; by default the path's own."
    )
    noise_max: float | None = Field(
        None, ge=LOWEST, le=HIGHEST, description="Largest noise level, as sigma/alpha; by default the path's own."
    )

    @model_validator(mode="after")
    def _falls(self) -> "Grid":
        if self.noise_min is not None and self.noise_max is not None and self.noise_min >= self.noise_max:
            raise ValueError(f"noise_min, {self.noise_min:g}, must be less than noise_max, {self.noise_max:g}")
        return self

    @model_validator(mode="after")
    def _divides_labels(self) -> "Grid":
        if self.offset and self.spacing != "labels-leading":
            raise ValueError(f"offset belongs to labels-leading; {self.spacing} has none")
        if self.parts != "steps" and self.spacing not in ("labels-leading", "labels-linspace"):
            raise ValueError(f"parts belongs to labels-leading and labels-linspace; {self.spacing} has none")
        if self.of_labels and (given := self.ends()):
            keys = " and ".join(given)
            raise ValueError(f"{self.spacing} has the labels of its path as its ends: leave out {keys}")
        return self

    @property
    def of_labels(self) -> bool:
        """Whether the nodes are labels of a discrete path, which no other path has."""
        return self.spacing.startswith(("ddim-", "labels-", "respaced"))

    def label(self) -> str:
        spacing = f"karras-{self.rho:g}" if self.spacing == "karras" else self.spacing
        spacing += f"+{self.offset}" if self.offset else ""
        spacing += f" parts={self.parts}" if self.parts != "steps" else ""
        ends = [f"{key}={value:g}" for key, value in self.ends().items()]
        return "grid=" + " ".join([spacing, self.end, *ends])

    def ends(self) -> dict[str, float]:
        given = {"noise_min": self.noise_min, "noise_max": self.noise_max}
        return {key: value for key, value in given.items() if value is not None}


class SolverOptions(Options):
    """What every fixed-step solver has."""

    grid: Grid = Field(Grid(), description="The time grid.")
    path: Literal["trained", "vp-linear", "vp-linear-fitted", "vp-cosine", "flow-ot", "flow-cosine"] | None = Field(
        None,
        description="Path to solve on, converted exactly and entered at the teacher's largest noise level; by default "
        "the teacher's own. trained is the path that its network was trained on, from that path's largest noise "
        "level: what uniform and quadratic mean for published noise predictors. vp-linear has beta from 0.1 to 20, "
        "vp-linear-fitted those for which t = 1 and t = 0.001 are the grid's largest and smallest noise levels, as in "
        "EDM's and diff-sampler's code.",
    )
    start: Literal["scaled", "unit"] = Field(
        "scaled",
        description="scaled starts from noise of size sigma at the first node, what the path has there; unit from "
        "noise of size sqrt(alpha^2 + sigma^2), as if nothing but noise were left: diffusers' schedulers on a "
        "variance-preserving path.",
    )
    afs: bool = Field(
        False,
        description="Analytical first step (Dockhorn et al. 2022): the first eps is that of data of unit variance, "
        "x/sqrt(alpha^2 + sigma^2), which saves one evaluation.",
    )
    denoise_to_zero: bool = Field(
        False, description="Return the denoiser's output at the last node, for one evaluation more; needs grid.end min."
    )
    thresholding: float | None = Field(
        None,
        gt=0,
        description="Smallest threshold of dynamic thresholding of the denoiser's output (Saharia et al. 2022), in "
        "units of the data; none by default.",
    )

    @model_validator(mode="after")
    def _ends_once(self) -> "SolverOptions":
        if self.denoise_to_zero and self.grid.end != "min":
            raise ValueError("denoise_to_zero needs grid.end: min; other grids end at clean data by themselves")
        return self

    @model_validator(mode="after")
    def _grid_is_of_the_path(self) -> "SolverOptions":
        if self.path in (None, "trained"):
            return self
        if self.grid.of_labels:
            raise ValueError(f"{self.grid.spacing} is a grid of labels, which {self.path} does not have")
        if (self.path or "").startswith("flow") and self.grid.noise_min is None:
            if self.grid.spacing in ("karras", "log-snr"):
                raise ValueError(
                    f"{self.path} goes down to noise level 0, which a {self.grid.spacing} grid cannot reach: "
                    "give grid.noise_min, or grid.spacing: uniform"
                )
            if self.grid.end == "append-zero":
                raise ValueError(f"append-zero: {self.path} ends at clean data by itself; give grid.noise_min")
            if self.denoise_to_zero:
                raise ValueError(f"denoise_to_zero: {self.path} ends at clean data by itself; give grid.noise_min")
        return self


@dataclass(frozen=True)
class SolverSpec(MethodSpec):
    """A training-free solver; `target` is "module:function", the steps of solvers.base.Solver.

    rule: how many evaluations each step takes. order: what the rule and the steps are told.
    inner_nodes: its steps have nodes inside them, at which it evaluates too.
    stays: its step from a label to the same one leaves x as it is, so that a grid may repeat labels.
    Without a rule the solver chooses its own steps: `target` is then a class that is made with the options.
    """

    kind: Kind = "solver"
    rule: nfe.Rule | None = nfe.one_per_step
    order: int = 1
    inner_nodes: bool = False
    stays: bool = False

    def steps_for(self, evaluations: int, chosen: Options | None = None) -> Any:
        chosen = self.options() if chosen is None else chosen
        if self.rule is None or not isinstance(chosen, SolverOptions):
            return super().steps_for(evaluations, chosen)
        clean = chosen.grid.end != "min" or (chosen.path or "").startswith("flow")
        return nfe.steps_for(evaluations, self.rule, self.order, chosen, clean)
