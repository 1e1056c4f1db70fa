"""D-ODE solvers."""

from typing import Any, Literal

from pydantic import Field

from ..nfe import Steps
from . import deis, dpm_solver, euler, heun, pndm, unipc
from .base import LARGEST_BATCH, METHODS, MOST_STEPS, MethodSpec, Options
from .solver import Grid

BASES = {spec.name: spec for spec in (euler.SPEC, heun.SPEC, *deis.SPECS, *dpm_solver.SPECS, *pndm.SPECS, *unipc.SPECS)}


class DODEOptions(Options):
    """D-ODE solvers (Kim, Tang & Yu 2024). One set of scalars per NFE, fitted in closed form on one batch."""

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
        "dpmpp-2m",
        "dpmpp-3m",
        "unipc-2",
        "unipc-3",
        "heun",
    ] = Field(
        "ddim-data",
        description="Solver that is corrected; ddim-noise and ddim-data are DDIM, corrected by the difference of the "
        "last two eps or of the last two D. dpmpp and unipc are not in the paper: they are corrected as iPNDM, on D.",
    )
    targets: Literal["aligned", "official"] = Field(
        "aligned",
        description="States to reach: aligned are those of a teacher with `scale` steps for each evaluation, inside "
        "the student's own steps; official those of the released code, whose teacher has `scale` times as "
        "many steps on a grid of its own and so is elsewhere at the same count.",
    )
    scale: int = Field(40, ge=1, le=MOST_STEPS, description="Teacher steps per evaluation of the student. Paper: 10.")
    batch: int = Field(
        100,
        ge=1,
        le=LARGEST_BATCH,
        description="Noises that the scalars are fitted on; halved, up to three times, where the budget does not "
        "reach. Paper: 100.",
    )
    grid: Grid = Field(Grid(), description="The time grid of the solver.")
    path: Literal["trained"] | None = Field(
        None, description="Path to solve on: the teacher's own, or the one that its network was trained on (trained)."
    )

    def base(self) -> tuple[str, dict[str, Any]]:
        """Name and options of the base solver."""
        if self.solver.startswith("ddim"):
            return "euler", {"grid": self.grid, "path": self.path}
        fixed = {"method": "singlestep"} if self.solver.startswith("dpm-solver") else {}
        return self.solver, {"grid": self.grid, "path": self.path, **fixed}

    def of_teacher(self) -> "DODEOptions":
        """The teacher's solver: the same, but DDIM for those that take several evaluations a step."""
        several = self.solver.startswith(("dpm-solver", "heun"))
        return self.model_copy(update={"solver": "ddim-data"}) if several else self

    def steps_for(self, nfe: int) -> Steps:
        """The base solver's."""
        name, given = self.base()
        steps: Steps = BASES[name].steps_for(nfe, BASES[name].options(**given))
        return steps


SPEC = MethodSpec(
    name="d-ode",
    target=f"{METHODS}.learned_solvers.d_ode:DODE",
    options=DODEOptions,
    summary="D-ODE solvers (Kim et al. 2024): one fitted scalar per evaluation of a base solver",
    trains=True,
    per_nfe=True,
    transfers=True,
    conditional=True,
    kind="learned solver",
    display="D-ODE",
    papers=("kim2024distilling",),
)
