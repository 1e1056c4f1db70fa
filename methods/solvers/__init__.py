"""Training-free solvers: `get(name, **options).sample(denoiser, noise, nfe=...)`."""

from typing import Any

from ..register import pick
from ..registry import METHODS
from ..specs.solver import SolverSpec
from .base import Solver
from .rk45 import AdaptiveSolver


def specs() -> dict[str, SolverSpec]:
    """Every solver by name, those of installed packages among them."""
    return {name: spec for name, spec in METHODS.items() if isinstance(spec, SolverSpec)}


def names() -> list[str]:
    return list(specs())


def get(name: str, **options: Any) -> Solver | AdaptiveSolver:
    """The solver of that name with its options (see methods/specs); ValueError says what is wrong."""
    spec = pick(specs(), name, "solver")
    checked = spec.options.model_validate(options)
    if spec.rule is None:
        adaptive: AdaptiveSolver = spec.load()(**checked.model_dump())
        return adaptive
    return Solver(name, spec.load(), spec.rule, checked, spec.order, spec.inner_nodes, spec.stays)
