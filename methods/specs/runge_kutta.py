"""Explicit Runge-Kutta methods in the path's t, in rho or in lambda."""

from typing import Any, Literal

from pydantic import Field

from ..nfe import Steps, UnreachableNFE
from .solver import PACKAGE, Grid, SolverOptions, SolverSpec

STAGES = {"euler": 1, "midpoint": 2, "heun": 2, "kutta3": 3, "heun3": 3, "rk4": 4, "rk4-3/8": 4}


def stages_per_step(nfe: int, order: int, options: Any, clean: bool) -> Steps:
    """As many evaluations a step as the tableau has stages; one in a last step of Euler's."""
    stages, euler_end = STAGES[options.tableau], clean and options.last_step == "euler"
    steps, rest = divmod(nfe - euler_end, stages)
    if rest:
        end = " and one in the last" if euler_end else ""
        raise UnreachableNFE(f"the tableau {options.tableau} takes {stages} evaluations a step{end}")
    return (stages,) * steps + (1,) * euler_end


class RungeKuttaOptions(SolverOptions):
    """A tableau, and the variable to integrate over."""

    grid: Grid = Field(Grid(end="min"), description="The time grid; by default it stops at the smallest noise level.")
    tableau: Literal["euler", "midpoint", "heun", "kutta3", "heun3", "rk4", "rk4-3/8"] = Field(
        "midpoint", description="Butcher tableau, of 1 (euler) to 4 (rk4, rk4-3/8) evaluations a step."
    )
    variable: Literal["t", "rho", "lambda"] = Field(
        "t",
        description="Integrate dx/dt in the path's t, d(x/alpha)/d(rho) = eps in rho = sigma/alpha, or dx/d(lambda) "
        "in lambda = log(alpha/sigma).",
    )
    last_step: Literal["full", "euler"] = Field(
        "full", description="In a step to clean data: full evaluates at its end too, euler takes one evaluation."
    )


class RK4Options(RungeKuttaOptions):
    """Runge-Kutta of order 4."""

    tableau: Literal["rk4", "rk4-3/8"] = Field(
        "rk4-3/8",
        description="rk4-3/8 is what torchdiffeq, and so the code of flow matching, calls rk4; rk4 is the classic "
        "tableau.",
    )


SPECS = (
    SolverSpec(
        name="runge-kutta",
        target=f"{PACKAGE}.runge_kutta:runge_kutta",
        options=RungeKuttaOptions,
        summary="explicit Runge-Kutta in t, rho or lambda: flow matching's fixed steps, DEIS's rhoRK",
        rule=stages_per_step,
        display="Runge-Kutta",
        papers=("lipman2023flow", "zhang2023fast"),
    ),
    SolverSpec(
        name="rk4",
        target=f"{PACKAGE}.runge_kutta:runge_kutta",
        options=RK4Options,
        summary="fourth-order Runge-Kutta in t (Lipman et al. 2023 and after)",
        rule=stages_per_step,
        display="RK4",
        papers=("lipman2023flow",),
    ),
)
