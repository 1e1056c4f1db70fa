"""--only: the cells of a plan that a user asks for."""

from collections.abc import Sequence

from ...methods.register import did_you_mean
from ..errors import InputError
from .cells import Cell, Plan

KEYS = ("method", "variant", "dataset", "teacher", "budget", "seed", "nfe")


def select(plan: Plan, only: Sequence[str]) -> Plan:
    """The cells that match: values of one key are alternatives, keys must all match."""
    wanted: dict[str, set[str]] = {}
    for condition in only:
        key, equals, value = condition.partition("=")
        if not equals or key not in KEYS:
            raise InputError(f"--only {condition}: expected KEY=VALUE with KEY one of {', '.join(KEYS)}")
        known = {_value(cell, key) for cell in plan.cells}
        if value not in known:
            raise InputError(f"--only {condition}: the suite has no such {key}{did_you_mean(value, sorted(known))}")
        wanted.setdefault(key, set()).add(value)
    cells = [cell for cell in plan.cells if all(_value(cell, key) in values for key, values in wanted.items())]
    if not cells:
        raise InputError(f"--only {' '.join(only)}: no cell of the suite matches all of these")
    return Plan(plan.suite, cells)


def _value(cell: Cell, key: str) -> str:
    return str(getattr(cell, key))
