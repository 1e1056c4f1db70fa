"""Budgets in the papers' units: which a method has, and what a run is then asked for. No torch.

Whatever the unit, the run's ledger counts evaluations.
"""

import math
from typing import Any

from ...methods.options import Options
from .schema import Budget, MethodEntry

EVERYWHERE = ("evaluations", "flops", "images", "seconds", "teacher")
SHARES = ("shares", "last_shares")
"""The options that say what of its budget each phase has."""
FITTED_ON_A_BATCH = ("d-ode",)
STEPS_OF_A_FIT = 64
"""More than a fit in closed form takes, which ends by itself."""
ALL = 0.999
"""Of the iterations, which so many true paths never fill."""


def units(entry: MethodEntry, options: Options) -> tuple[str, ...]:
    """Those that the method has with these options."""
    fields = type(options).model_fields
    own = {
        # What has no optimiser has no iterations.
        "iterations": "learning_rate" in fields,
        "phase_iterations": _shares(options) is not None,
        "trajectories": "trajectories" in fields,
        "batches": entry.name in FITTED_ON_A_BATCH,
    }
    return (*EVERYWHERE, *(unit for unit, has in own.items() if has))


def phases(options: Options) -> int:
    """How many students are trained one after another."""
    return len(options.ends)  # type: ignore[attr-defined]


def _shares(options: Options) -> str | None:
    if not hasattr(options, "ends"):
        return None
    return next((name for name in SHARES if name in type(options).model_fields), None)


def asked(budget: Budget, options: Options, dumped: dict[str, Any]) -> tuple[dict[str, float], dict[str, Any]]:
    """(the limit of the run, in a unit of its ledger; its options as they are dumped).

    phase_iterations: the shares of the phases, whose students get exactly as many steps. trajectories: so many true
    paths, each in one step on average. batches: the one batch of the fit is so many times as large.
    """
    if budget.phase_iterations is not None:
        name = _shares(options)
        assert name is not None
        shares = [float(steps) for steps in budget.phase_iterations]
        return {"iterations": sum(budget.phase_iterations)}, {**dumped, name: shares}
    if budget.trajectories is not None:
        count = budget.trajectories
        steps = math.ceil(count / dumped["batch"])
        return {"iterations": steps}, {**dumped, "trajectories": count, "truth_share": ALL}
    if budget.batches is not None:
        return {"iterations": STEPS_OF_A_FIT}, {**dumped, "batch": budget.batches * dumped["batch"]}
    return budget.given(), dumped
