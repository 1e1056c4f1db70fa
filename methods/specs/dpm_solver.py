"""DPM-Solver and DPM-Solver++, multistep and singlestep."""

from typing import Annotated, Literal

from pydantic import Field

from .. import nfe
from .multistep import CorrectedOptions, OrdersOptions
from .solver import PACKAGE, SolverOptions, SolverSpec

Algorithm = Annotated[
    Literal["dpmsolver", "dpmsolver++"],
    Field(description="What the exponential integrator extrapolates: eps (dpmsolver) or D (dpmsolver++)."),
]
SecondOrder = Annotated[
    Literal["dpmsolver", "taylor"],
    Field(description="How the second order weighs its difference: as the authors' solver, or by Taylor's formula."),
]
Method = Annotated[
    Literal["singlestep", "singlestep_fixed"],
    Field(
        description="singlestep_fixed takes steps of the full order only; singlestep spends every NFE, the rest in "
        "steps of lower order, and is DPM-Solver-fast at order 3."
    ),
]


class MultistepOptions(OrdersOptions, CorrectedOptions):
    """DPM-Solver++(2M) and its relatives."""

    highest_order = 3

    algorithm_type: Algorithm = "dpmsolver++"
    solver_type: SecondOrder = "dpmsolver"
    lower_order_final: bool | Literal["always"] = Field(
        True,
        description="Whether the last steps fall to orders 2 and 1: true does so below ten steps, as the authors' "
        "code, always as diff-sampler.",
    )


class SinglestepOptions(SolverOptions):
    """DPM-Solver, each of whose steps stands alone."""

    algorithm_type: Algorithm = "dpmsolver"
    solver_type: SecondOrder = "dpmsolver"
    method: Method = "singlestep_fixed"


class FastOptions(SinglestepOptions):
    """DPM-Solver-fast."""

    method: Annotated[Literal["singlestep"], Field(description="Steps of order 3, closed by orders 2 and 1.")] = (
        "singlestep"
    )


class PlusPlusSinglestepOptions(SinglestepOptions):
    """DPM-Solver++(2S)."""

    algorithm_type: Algorithm = "dpmsolver++"


def _singlestep(k: int) -> SolverSpec:
    return SolverSpec(
        name=f"dpm-solver-{k}",
        target=f"{PACKAGE}.dpm_solver:singlestep",
        options=SinglestepOptions,
        summary=f"DPM-Solver-{k}, singlestep (Lu et al. 2022)",
        rule=nfe.singlestep,
        order=k,
        inner_nodes=True,
        display=f"DPM-Solver-{k}",
        papers=("lu2022dpm",),
    )


def _multistep(k: int) -> SolverSpec:
    return SolverSpec(
        name=f"dpmpp-{k}m",
        target=f"{PACKAGE}.dpm_solver:multistep",
        options=MultistepOptions,
        summary=f"DPM-Solver++({k}M) (Lu et al. 2022)",
        order=k,
        display=f"DPM-Solver++({k}M)",
        papers=("lu2022dpmpp",),
    )


SPECS = (
    *(_singlestep(k) for k in (1, 2, 3)),
    SolverSpec(
        name="dpm-solver-fast",
        target=f"{PACKAGE}.dpm_solver:singlestep",
        options=FastOptions,
        summary="DPM-Solver-fast: orders 3, 2, 1 (Lu et al. 2022)",
        rule=nfe.singlestep,
        order=3,
        inner_nodes=True,
        display="DPM-Solver-fast",
        papers=("lu2022dpm",),
    ),
    SolverSpec(
        name="dpmpp-1",
        target=f"{PACKAGE}.dpm_solver:multistep",
        options=MultistepOptions,
        summary="DPM-Solver++(1), which is DDIM",
        display="DPM-Solver++(1)",
        papers=("lu2022dpmpp",),
    ),
    SolverSpec(
        name="dpmpp-2s",
        target=f"{PACKAGE}.dpm_solver:singlestep",
        options=PlusPlusSinglestepOptions,
        summary="DPM-Solver++(2S) (Lu et al. 2022)",
        rule=nfe.singlestep,
        order=2,
        inner_nodes=True,
        display="DPM-Solver++(2S)",
        papers=("lu2022dpmpp",),
    ),
    *(_multistep(k) for k in (2, 3)),
)
