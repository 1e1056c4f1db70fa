"""The modules that a method's tasks compute by, those that it looks up by name included. No torch."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from ...methods import registry
from . import source_version

SPECS = f"{source_version.PACKAGE}.methods.specs"


def method_code(spec: registry.MethodSpec, *chosen: Any) -> tuple[str, ...]:
    """The modules of a method under these options: its formulas, its options and spec, and the same of each solver that
    it looks up: those whose names are values of the options, and those that the code names (`solvers.get("euler")`).
    """
    own = [module for options in chosen for module in _modules(spec.module, type(options).__module__)]
    values = [value for options in chosen for value in _texts(options.model_dump())]
    return _with_solvers(tuple(dict.fromkeys(own)), tuple(dict.fromkeys(values)))


@cache
def _with_solvers(own: tuple[str, ...], values: tuple[str, ...]) -> tuple[str, ...]:
    found = list(own)
    for name in (*values, *source_version.looked_up(*own)):
        solver = _solver(name)
        if solver is not None:
            found += _modules(solver.module, solver.options.__module__)
    return tuple(dict.fromkeys(found))


def _modules(formulas: str, options: str) -> Iterator[str]:
    """The module of the formulas, that of the options, and the spec's, which has the name of the formulas' module."""
    yield from (formulas, options)
    spec = f"{SPECS}.{formulas.rpartition('.')[2]}"
    if formulas.startswith(f"{source_version.PACKAGE}.") and source_version.exists(spec):
        yield spec


@cache
def _solver(name: str) -> registry.MethodSpec | None:
    """The solver of that name, None if it is not one."""
    try:
        spec = registry.method(name)
    except registry.UnknownNameError:
        return None
    return spec if spec.kind == "solver" else None


def _texts(value: Any) -> Iterator[str]:
    """Every string in options as they are dumped."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
    elif isinstance(value, Iterable):
        for part in value:
            yield from _texts(part)
