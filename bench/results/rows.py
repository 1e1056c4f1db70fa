"""results.csv: one tidy row per dataset x teacher x method x variant x budget x seed x NFE x metric. No torch."""

import csv
import io
from typing import Any

from ...reports import jackknife, run_folder
from ..errors import OUT_OF_BUDGET
from ..plan.cells import Cell, Plan
from ..run.runner import Outcome
from .costs import train_artifact, trained_ledger

COLUMNS = list(run_folder.RESULT_COLUMNS)
BLOCK_COLUMNS = list(run_folder.BLOCK_COLUMNS)


def rows(plan: Plan, outcome: Outcome) -> list[dict[str, Any]]:
    """Every cell's rows in the plan's order; a cell without a value has its reason as status."""
    return [row for cell in plan.cells for row in _cell_rows(plan, cell, outcome)]


def to_csv(table: list[dict[str, Any]], columns: list[str] = COLUMNS) -> str:
    """Values at full precision; what a row does not have is empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return buffer.getvalue()


def _cell_rows(plan: Plan, cell: Cell, outcome: Outcome) -> list[dict[str, Any]]:
    status, metrics = status_and_metrics(cell, outcome)
    shared = {
        "suite": plan.suite.name,
        "dataset": cell.dataset,
        "teacher": cell.teacher,
        "method": cell.method,
        "variant": cell.variant,
        "budget": cell.budget,
        "seed": cell.seed,
        "nfe": cell.nfe,
        **_costs(cell, outcome),
        "status": status,
        "cell": cell.id,
        "rules": cell.rules,
    }
    table = []
    for metric in plan.suite.metrics:
        unmeasured = cell.unmeasured.get(metric) or metrics.get(metric, {}).get("skipped")
        stated = f"skipped: {unmeasured}" if unmeasured and status == "done" else status
        table.append({**shared, "metric": metric, "status": stated, **value_columns(metrics.get(metric, {}))})
    return table


def value_columns(value: dict[str, Any]) -> dict[str, Any]:
    """The columns of one metric's value, its samples, protocol and uncertainty; empty where there is none."""
    columns = {"value": repr(value["value"]) if "value" in value else ""}
    columns |= {name: value.get(name, "") for name in ("samples", "protocol")}
    if "without" not in value:
        return columns
    error, corrected = jackknife.standard_error(value["without"]), jackknife.corrected(value["value"], value["without"])
    return columns | {"standard_error": repr(error), "corrected": repr(corrected)}


def block_row(cell: str, metric: str, value: dict[str, Any]) -> dict[str, Any]:
    """A row of blocks.csv."""
    return {"cell": cell, "metric": metric, "without": " ".join(map(repr, value["without"]))}


def block_rows(plan: Plan, outcome: Outcome) -> list[dict[str, Any]]:
    """The values of each cell's metrics without each block of its samples, in the plan's order."""
    return [
        block_row(cell.id, metric, metrics[metric])
        for cell in plan.cells
        for metrics in [status_and_metrics(cell, outcome)[1]]
        for metric in plan.suite.metrics
        if "without" in metrics.get(metric, {})
    ]


def status_and_metrics(cell: Cell, outcome: Outcome) -> tuple[str, dict[str, Any]]:
    if cell.score is None:
        return f"skipped: {cell.skipped}", {}
    if cell.score.name in outcome.failures:
        reason = outcome.failures[cell.score.name]
        return (reason if reason.startswith(OUT_OF_BUDGET) else f"failed: {reason}"), {}
    if cell.score.name in outcome.absent:
        return outcome.absent[cell.score.name], {}
    result = outcome.artifacts[cell.score.name].result
    return result["status"], result["metrics"]


def _costs(cell: Cell, outcome: Outcome) -> dict[str, Any]:
    """What training and sampling cost; the training columns are 0 for a method without training.

    A student that was finished before its run ended cost what had been spent by then.
    """
    if cell.score is None:
        return {}
    sample = cell.score.inputs["sample"]
    costs: dict[str, Any] = {}
    trained, ledger = train_artifact(cell, outcome), trained_ledger(cell, outcome)
    if "train" not in sample.inputs:
        costs |= dict.fromkeys(("train_evaluations", "train_flops", "train_seconds", "trainable_parameters"), 0)
    elif ledger is not None:
        costs |= {f"train_{key}": ledger[key] for key in ("evaluations", "flops", "seconds")}
        costs["trainable_parameters"] = trained.result["trainable_parameters"]
        costs["train_peak_bytes"] = max(trained.result["ledger"]["peak_bytes"].values(), default="")
    if sample.name in outcome.artifacts:
        made = outcome.artifacts[sample.name].result
        costs |= {name: made.get(name, "") for name in ("seconds_per_image", "forwards", "flops_per_image")}
    return costs
