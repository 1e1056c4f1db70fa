"""Training-free solvers: `get(name, **options).sample(denoiser, noise, nfe=...)`."""

from typing import Any

from ..registry import SOLVERS, SolverSpec, pick
from .base import Solver
from .rk45 import AdaptiveSolver


def names() -> list[str]:
    return list(SOLVERS)


def get(name: str, **options: Any) -> Solver | AdaptiveSolver:
    """The solver of that name with its options (see methods/options); ValueError says what is wrong."""
    spec = pick(SOLVERS, name, "solver")
    checked = spec.options.model_validate(options)
    if not isinstance(spec, SolverSpec):
        return AdaptiveSolver(**checked.model_dump())
    return Solver(name, spec.load(), spec.rule, checked, spec.order, spec.inner_nodes)
