"""trials.csv: what the trials of each tuned run were, and which one was chosen by what. No torch."""

from typing import Any

from ...reports import run_folder
from ..plan.cells import Plan
from ..plan.kinds import Tuned, TuneParams
from ..run.runner import Outcome
from .costs import KEY, train_artifact

COLUMNS = list(run_folder.TRIAL_COLUMNS)


def rows(plan: Plan, outcome: Outcome) -> list[dict[str, Any]]:
    """A row per tuned cell and trial in the plan's order; `options` are those in which the trials differ."""
    table = []
    for cell in plan.cells:
        artifact = train_artifact(cell, outcome)
        if artifact is None or artifact.manifest["kind"] != TuneParams.kind:
            continue
        tuned = artifact.answer(Tuned)
        key = {"suite": plan.suite.name, **{name: getattr(cell, name) for name in KEY[1:]}}
        varied = [name for name in tuned.trials[0].options if len({repr(t.options[name]) for t in tuned.trials}) > 1]
        table += [
            {
                **key,
                "trial": j,
                "options": " ".join(f"{name}={trial.options[name]}" for name in varied),
                "status": str(trial.status),
                "distance": trial.distance,
                "chosen": int(j == tuned.chosen),
            }
            for j, trial in enumerate(tuned.trials)
        ]
    return table
