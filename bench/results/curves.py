"""curves.csv: the loss of each training run, thinned; `run` as in costs.csv."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...reports import run_folder
from ..plan.cells import Plan
from ..run.runner import Outcome
from ..training.tracking import EVENTS, read_events
from .costs import train_artifact

COLUMNS = list(run_folder.CURVE_COLUMNS)
POINTS = 40
"""Rows per training run: what a figure can show."""


def rows(plan: Plan, outcome: Outcome) -> list[dict[str, Any]]:
    """Of every training run that has recorded its loss, once, in the plan's order."""
    artifacts = (train_artifact(cell, outcome) for cell in plan.cells)
    folders = dict.fromkeys(artifact.folder for artifact in artifacts if artifact is not None)
    return [row for folder in folders for row in of_run(folder)]


def of_run(folder: Path) -> list[dict[str, Any]]:
    """POINTS rows, at equal distances in recorded steps, of the mean loss since the row before."""
    if not (folder / EVENTS).is_file():
        return []
    events = [event for event in read_events(folder) if isinstance(event.get("loss"), float)]
    groups = (events[i * len(events) // POINTS : (i + 1) * len(events) // POINTS] for i in range(POINTS))
    return [_row(folder.name, group) for group in groups if group]


def _row(run: str, events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    loss = sum(event["loss"] for event in events) / len(events)
    return {"run": run, "evaluations": f"{events[-1]['budget/evaluations']:.6g}", "loss": f"{loss:.5g}"}
