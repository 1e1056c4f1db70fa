"""What can stand in a suite: methods by name, with their options and the NFEs that they reach. No torch.

Another package adds a row through the entry point group `fewstep.methods`: each entry point names a
MethodSpec, in a module that does not import torch either.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

from . import nfe, options


class UnknownNameError(ValueError):
    """A name that no registry holds; the message lists the nearest."""


@dataclass(frozen=True)
class MethodSpec:
    """One method: `target` is "module:Class", imported when it runs; `steps` maps an NFE to steps or refuses it."""

    name: str
    target: str
    options: type[options.Options]
    steps: Callable[[int], int]
    summary: str
    trains: bool = False
    needs_network: bool = False

    def refusal(self, evaluations: int) -> str | None:
        """Why this method cannot sample with so many evaluations; None if it can."""
        try:
            self.steps(evaluations)
        except nfe.UnreachableNFE as error:
            return str(error)
        return None

    def load(self) -> Any:
        """The class behind `target`."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)

    @property
    def module(self) -> str:
        return self.target.partition(":")[0]


_PACKAGE = __package__


def _solver(name: str, target: str, steps: Callable[[int], int], summary: str) -> MethodSpec:
    return MethodSpec(name, f"{_PACKAGE}.solvers.{target}", options.SolverOptions, steps, summary)


SOLVERS: dict[str, MethodSpec] = {
    spec.name: spec
    for spec in [
        _solver(
            "euler",
            "euler:euler",
            nfe.one_per_step,
            "Euler on (x/alpha, sigma/alpha), which is DDIM with eta 0",
        ),
        _solver(
            "ddim",
            "euler:euler",
            nfe.one_per_step,
            "DDIM with eta 0 (Song et al. 2021); the same update as euler",
        ),
        _solver(
            "heun",
            "heun:heun",
            nfe.heun_steps,
            "EDM's deterministic Heun sampler (Karras et al. 2022, algorithm 1)",
        ),
        _solver(
            "dpmpp-2m",
            "dpm_solver:dpmpp_2m",
            nfe.one_per_step,
            "DPM-Solver++(2M) (Lu et al. 2022, algorithm 2)",
        ),
        MethodSpec(
            "rk45",
            f"{_PACKAGE}.solvers.rk45:AdaptiveSolver",
            options.AdaptiveOptions,
            nfe.adaptive,
            "adaptive Dormand-Prince 5(4): the truth that rmse is measured against",
        ),
    ]
}

TRAINED: dict[str, MethodSpec] = {
    spec.name: spec
    for spec in [
        MethodSpec(
            "consistency",
            f"{_PACKAGE}.distillation.consistency:Consistency",
            options.ConsistencyOptions,
            nfe.one_per_step,
            "consistency distillation (Song et al. 2023)",
            trains=True,
            needs_network=True,
        ),
    ]
}


@cache
def methods() -> dict[str, MethodSpec]:
    """Every method by name: the suite's own, then those of installed packages."""
    found = {**SOLVERS, **TRAINED}
    for point in entry_points(group="fewstep.methods"):
        spec = point.load()
        found[spec.name] = spec
    return found


def method(name: str) -> MethodSpec:
    return pick(methods(), name, "method")


T = TypeVar("T")


def pick(known: dict[str, T], name: str, kind: str) -> T:
    """known[name], or an error that names the nearest known one."""
    if name in known:
        return known[name]
    raise UnknownNameError(f"unknown {kind} {name!r}{did_you_mean(name, known)}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; one of {', '.join(known)}"
