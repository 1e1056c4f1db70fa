"""Solvers with learned coefficients."""

from typing import Any, Literal

from pydantic import Field, model_validator

from .base import Options
from .solvers import Grid


class BespokeOptions(Options):
    """Bespoke solvers (Shaul et al. 2024). One solver per NFE, each with its own run and budget.

    loss: "bound" is the paper's RMSE-Bound, "lte" the local errors, "rmse" the error at the end.
    trajectories: true paths to learn from, solved to `tolerance` and kept at `nodes` times; fewer where they
    would take more than `truth_share` of the budget.
    select: the parameters that are kept: the last, or the best of those looked at every `select_every` steps on
    `select_samples` noises of their own, by rmse to the exact solutions or by the suite's Fréchet distance (the
    paper's figures and tables). What selecting evaluates is charged.
    """

    order: Literal[1, 2] = 2
    loss: Literal["bound", "lte", "rmse"] = "bound"
    learn: Literal["scale-time", "time", "scale"] = "scale-time"
    path: Literal["flow-ot", "flow-cosine"] = "flow-ot"
    trajectories: int = Field(128, ge=1)
    truth_share: float = Field(0.3, gt=0, lt=1)
    nodes: int = Field(33, ge=5)
    tolerance: float = Field(1e-5, gt=0)
    learning_rate: float = Field(2e-2, gt=0)
    gradient_clip: float = Field(1.0, gt=0)
    batch: int = Field(32, ge=1)
    select: Literal["last", "best-rmse", "best-fd"] = "last"
    select_every: int = Field(25, ge=1)
    select_samples: int = Field(64, ge=2)

    @property
    def needs_quality(self) -> bool:
        return self.select == "best-fd"


class DODEOptions(Options):
    """D-ODE solvers (Kim, Tang & Yu 2024). One set of scalars per NFE, fitted in closed form on one batch.

    solver: which base solver is corrected; "ddim-noise" and "ddim-data" by the difference of the last two eps
    or D. targets: "aligned" are the states of a teacher with `scale` steps for each evaluation, inside the
    student's own steps; "official" those of the released code, whose teacher has `scale` times as many steps
    on a grid of its own and so is elsewhere at the same count. scale and batch are the authors'; the batch is
    halved, up to three times, where the budget does not reach.
    """

    solver: Literal[
        "ddim-noise",
        "ddim-data",
        "ipndm",
        "deis-tab1",
        "deis-tab2",
        "deis-tab3",
        "dpm-solver-1",
        "dpm-solver-2",
        "dpm-solver-3",
        "heun",
    ] = "ddim-data"
    targets: Literal["aligned", "official"] = "aligned"
    scale: int = Field(10, ge=1)
    batch: int = Field(100, ge=1)
    grid: Grid = Grid()

    def base(self) -> tuple[str, dict[str, Any]]:
        """Name and options of the base solver."""
        if self.solver.startswith("ddim"):
            return "euler", {"grid": self.grid}
        fixed = {"method": "singlestep"} if self.solver.startswith("dpm-solver") else {}
        return self.solver, {"grid": self.grid, **fixed}

    def of_teacher(self) -> "DODEOptions":
        """The teacher's solver: the same, but DDIM for those that take several evaluations a step."""
        several = self.solver.startswith(("dpm-solver", "heun"))
        return self.model_copy(update={"solver": "ddim-data"}) if several else self


class IIAOptions(Options):
    """Improved integration approximation (Zhang, Niwa & Kleijn 2024). One set of coefficients per NFE.

    solver: the base solver; "heun" is IIA-EDM, "heun-basic" BIIA-EDM with one coefficient for both slopes.
    r: how many steps back the fitted columns reach; only Heun has columns of its own step, hence r = 0.
    substeps: M, the steps of the base solver inside each interval that the coefficients imitate.
    batch: noises that they are fitted on. r = 1 is the paper's usual choice; substeps and batch are ours.
    """

    solver: Literal["heun", "heun-basic", "ddim", "dpmpp-2m", "s-pndm", "ipndm"] = "heun"
    grid: Grid = Grid()
    r: int = Field(1, ge=0)
    substeps: int = Field(10, ge=2)
    batch: int = Field(128, ge=1)

    @property
    def base(self) -> str:
        """The base solver's name."""
        return self.solver.removesuffix("-basic")

    @model_validator(mode="after")
    def _something_to_fit(self) -> "IIAOptions":
        if self.r == 0 and self.base != "heun":
            raise ValueError(f"r: 0 leaves {self.solver} nothing to fit: give r of at least 1")
        return self
