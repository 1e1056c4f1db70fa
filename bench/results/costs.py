"""costs.csv: what each training run spent, on what: a row per cell and use; `run` is the same for cells of one run."""

from typing import Any

from ...reports import run_folder
from ..plan.cells import Cell, Plan
from ..plan.kinds import Trained
from ..run.runner import Outcome
from ..store import Artifact

KEY = list(run_folder.KEY_COLUMNS)
COLUMNS = list(run_folder.COST_COLUMNS)


def rows(plan: Plan, outcome: Outcome) -> list[dict[str, Any]]:
    """The uses of every trained cell's budget in the plan's order."""
    table = []
    for cell in plan.cells:
        run = train_artifact(cell, outcome)
        if run is not None:
            key = {"suite": plan.suite.name, **{name: getattr(cell, name) for name in KEY[1:]}, "run": run.folder.name}
            spent = run.answer(Trained).ledger.of_student(cell.nfe)
            unit = spent.flops / spent.evaluations if spent.evaluations else 1.0
            table += [
                {**key, "use": use, "evaluations": flops / unit, "flops": flops} for use, flops in spent.uses.items()
            ]
    return table


def train_artifact(cell: Cell, outcome: Outcome) -> Artifact | None:
    """The artifact of the cell's training run, or None."""
    if cell.score is None:
        return None
    trained = cell.score.inputs["sample"].inputs.get("train")
    return outcome.artifacts.get(trained.name) if trained is not None else None
