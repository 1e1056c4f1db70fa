"""costs.csv: what each training run spent, on what: a row per cell and use; `run` is the same for cells of one run."""

from typing import Any

from ...reports import run_folder
from ..plan.cells import Cell, Plan
from ..run.runner import Outcome

KEY = list(run_folder.KEY_COLUMNS)
COLUMNS = list(run_folder.COST_COLUMNS)


def rows(plan: Plan, outcome: Outcome) -> list[dict[str, Any]]:
    """The uses of every trained cell's budget in the plan's order."""
    table = []
    for cell in plan.cells:
        ledger = trained_ledger(cell, outcome)
        if ledger is not None:
            key = {"suite": plan.suite.name, **{name: getattr(cell, name) for name in KEY[1:]}}
            key["run"] = train_artifact(cell, outcome).folder.name
            unit = ledger["flops"] / ledger["evaluations"] if ledger["evaluations"] else 1.0
            table += [
                {**key, "use": use, "evaluations": flops / unit, "flops": flops}
                for use, flops in ledger["uses"].items()
            ]
    return table


def trained_ledger(cell: Cell, outcome: Outcome) -> dict[str, Any] | None:
    """What the cell's training run spent until its student was finished; None where nothing was trained."""
    artifact = train_artifact(cell, outcome)
    if artifact is None:
        return None
    ledger: dict[str, Any] = artifact.result["ledger"]
    return ledger["students"].get(str(cell.nfe), ledger)


def train_artifact(cell: Cell, outcome: Outcome) -> Any:
    """The artifact of the cell's training run, or None."""
    if cell.score is None:
        return None
    trained = cell.score.inputs["sample"].inputs.get("train")
    return outcome.artifacts.get(trained.name) if trained is not None else None
