"""trials.csv: what the trials of each tuned run were, and which one was chosen by what. No torch."""

from typing import Any

from ...reports import run_folder
from ..plan.cells import Plan
from ..run.runner import Outcome
from .costs import KEY, train_artifact

COLUMNS = list(run_folder.TRIAL_COLUMNS)


def rows(plan: Plan, outcome: Outcome) -> list[dict[str, Any]]:
    """A row per tuned cell and trial in the plan's order; `options` are those in which the trials differ."""
    table = []
    for cell in plan.cells:
        artifact = train_artifact(cell, outcome)
        if artifact is None or "trials" not in artifact.result:
            continue
        key = {"suite": plan.suite.name, **{name: getattr(cell, name) for name in KEY[1:]}}
        trials = artifact.result["trials"]
        varied = [name for name in trials[0]["options"] if len({repr(t["options"][name]) for t in trials}) > 1]
        table += [
            {
                **key,
                "trial": j,
                "options": " ".join(f"{name}={trial['options'][name]}" for name in varied),
                "status": trial["status"],
                "distance": trial["distance"],
                "chosen": int(j == artifact.result["chosen"]),
            }
            for j, trial in enumerate(trials)
        ]
    return table
