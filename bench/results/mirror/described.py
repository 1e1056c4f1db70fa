"""The W&B runs of a suite: the suite's own, and one per training. No torch, no wandb.

wandb/runs.json in the run folder holds them, so that `fewstep sync` needs no plan. Curves and pictures are read from
the trainings' records in the store. An artifact belongs to every suite that asks for it, hence what a suite says of it
is here.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ....reports.budgets import ELSEWHERE
from ....reports.writing import write_atomic
from ...errors import InputError
from ...plan.cells import Cell, Plan
from ...plan.kinds import ExtractorParams, TeacherParams, Trained, TrainParams, Tuned, trial_role
from ...plan.task import Task, hashed
from ...run.runner import Outcome
from ..rows import status_and_metrics

FOLDER, RUNS = "wandb", "runs.json"
SPENT = ("evaluations", "flops", "images", "steps", "seconds")


class Described(BaseModel):
    """One W&B run. task: the training whose record it shows; learned: numbers by name, for a table."""

    id: str
    name: str
    group: str
    job_type: str
    config: dict[str, Any]
    summary: dict[str, Any] = {}
    task: str = ""
    learned: list[tuple[str, list[float]]] = []


class Runs(BaseModel):
    """store: relative to the run folder. project, tags: as they were given, None and nothing for W&B's own settings."""

    store: str
    suite: Described
    trainings: list[Described]
    project: str | None = None
    tags: list[str] = []

    def write(self, folder: Path) -> None:
        write_atomic(folder / FOLDER / RUNS, self.model_dump_json(indent=1))


def read(folder: Path) -> Runs:
    """What `fewstep run` has left in a run folder; InputError if that is nothing, or damaged."""
    path = folder / FOLDER / RUNS
    again = f"run the suite again with --cached --out {folder}, and WANDB_MODE other than disabled"
    try:
        return Runs.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{folder} has nothing for W&B; {again}") from None
    except (OSError, ValidationError) as error:
        reason = (getattr(error, "strerror", None) or "is not as fewstep writes it").lower()
        raise InputError(f"{path}: {reason}; {again}") from None


def describe(plan: Plan, outcome: Outcome, store: Path, folder: Path) -> Runs:
    """The runs of a plan, with the values that its outcome has."""
    name = plan.suite.name
    asked = plan.suite.model_dump(mode="json", exclude={"name", "description"}, exclude_none=True)
    shown = {
        "teachers": [cell.teacher for cell in plan.cells],
        "methods": [f"{cell.method} {cell.variant}".strip() for cell in plan.cells],
        "budgets": [cell.budget for cell in plan.cells if cell.budget not in ("0", *ELSEWHERE)],
    }
    ended = [status_and_metrics(cell, outcome)[0] for cell in plan.cells] if outcome.artifacts else []
    return Runs(
        store=os.path.relpath(store, folder),
        suite=Described(
            id=hashed({"suite": name, "cells": [cell.id for cell in plan.cells]}),
            name=name,
            group=name,
            job_type="leaderboard",
            config={"suite": name, **_flat(asked), **{key: list(dict.fromkeys(words)) for key, words in shown.items()}},
            summary={"cells": len(ended), "done": sum(status.done for status in ended)},
        ),
        trainings=[*_networks(plan, outcome), *_students(plan, outcome)],
    )


def _run(plan: Plan, task: Task, **facts: Any) -> Described:
    return Described(
        id=hashed({"suite": plan.suite.name, "task": task.key}), group=plan.suite.name, task=task.name, **facts
    )


def _networks(plan: Plan, outcome: Outcome) -> Iterator[Described]:
    """The suite's teachers and feature networks."""
    for task in plan.tasks():
        params = task.params
        if not isinstance(params, TeacherParams | ExtractorParams):
            continue
        options = _flat(params.teacher) if isinstance(params, TeacherParams) else {}
        config = {"suite": plan.suite.name, "dataset": params.dataset, task.kind: options.get("name", "classifier")}
        config |= {"device": params.device, **{f"options/{name}": value for name, value in options.items()}}
        artifact = outcome.artifacts.get(task.name)
        answer = artifact.result if artifact else {}
        spent = answer.get("ledger") or answer.get("training") or {}
        summary = _numbers(answer) | {f"train/{name}": spent[name] for name in SPENT if name in spent}
        yield _run(plan, task, name=task.label, job_type=task.kind, config=config, summary=summary)


def _students(plan: Plan, outcome: Outcome) -> Iterator[Described]:
    """Every training run of a method, trials among them, with its cells."""
    cells: dict[str, list[Cell]] = {}
    tasks: dict[str, tuple[Task, int | None]] = {}
    for cell in plan.cells:
        for task, trial in _training_tasks(cell):
            tasks.setdefault(task.name, (task, trial))
            cells.setdefault(task.name, []).append(cell)
    for name, (task, trial) in tasks.items():
        yield _student(plan, outcome, task, trial, cells[name])


def _training_tasks(cell: Cell) -> Iterator[tuple[Task, int | None]]:
    """The runs behind a cell, each with its number where it is a trial."""
    trained = cell.score.inputs["sample"].inputs.get("train") if cell.score else None
    if trained is None:
        return
    if isinstance(trained.params, TrainParams):
        yield trained, None
        return
    for role, task in trained.inputs.items():
        if isinstance(task.params, TrainParams):
            yield task, next(j for j in range(len(trained.inputs)) if trial_role(j) == role)


def _student(plan: Plan, outcome: Outcome, task: Task, trial: int | None, cells: list[Cell]) -> Described:
    params, first, teacher = task.params, cells[0], task.inputs["teacher"].params
    assert isinstance(params, TrainParams)
    assert isinstance(teacher, TeacherParams)
    transferred = _is_transferred(first)
    words = [" ".join(filter(None, (first.method, first.variant))), _short(first.budget), f"seed {first.seed}"]
    words += [] if params.nfe is None else [f"NFE {params.nfe}"]
    words += [] if trial is None else [f"trial {trial}"]
    config = {
        "suite": plan.suite.name,
        "dataset": teacher.dataset,
        "teacher": teacher.teacher["name"] if transferred else first.teacher,
        "method": first.method,
        "variant": first.variant,
        "budget": first.budget,
        "seed": first.seed,
        "nfe": params.nfe,
        "rules": first.rules,
        "trial": trial,
        "guidance": params.guidance,
        "device": params.device,
        **{f"options/{name}": value for name, value in _flat(params.options).items()},
    }
    artifact = outcome.artifacts.get(task.name)
    trained = artifact.answer(Trained) if artifact else None
    summary: dict[str, Any] = {}
    if trained is not None:
        spent = {name: getattr(trained.ledger, name) for name in SPENT}
        summary = {"status": str(trained.status), "trainable_parameters": trained.trainable_parameters}
        summary |= {f"train/{name}": value for name, value in spent.items()}
    for cell in cells:
        summary |= _values(cell, outcome, trial)
    return _run(
        plan,
        task,
        name=" · ".join(words),
        job_type="train",
        config={name: value for name, value in config.items() if value is not None},
        summary=summary,
        learned=trained.learned if trained else [],
    )


def _values(cell: Cell, outcome: Outcome, trial: int | None) -> dict[str, Any]:
    """The cell's metrics by NFE; of the trials, the chosen one made its samples."""
    assert cell.score is not None
    if cell.score.name not in outcome.artifacts:
        return {}
    if trial is not None:
        choice = outcome.artifacts[cell.score.inputs["sample"].inputs["train"].name].answer(Tuned)
        if trial != choice.chosen:
            return {"distance": choice.trials[trial].distance}
    status, metrics = status_and_metrics(cell, outcome)
    where = f"{cell.dataset} {cell.teacher}/" if _is_transferred(cell) else ""
    values: dict[str, Any] = {f"{where}{name}/nfe{cell.nfe}": found.value for name, found in metrics.items()}
    values = {name: value for name, value in values.items() if value is not None}
    return values if status.done else {f"{where}status/nfe{cell.nfe}": str(status)}


def _is_transferred(cell: Cell) -> bool:
    """Whether what was learned on another teacher is applied to this one."""
    assert cell.score is not None
    return bool(getattr(cell.score.inputs["sample"].params, "transfer", False))


def _short(budget: str) -> str:
    """100k for 100000 evaluations; other units are named."""
    amount, _, unit = budget.partition(" ")
    value = float(amount)
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            amount = f"{value / size:.6g}{letter}"
            break
    return amount if unit == "evaluations" else f"{amount} {unit}"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options as a/b."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}/") if isinstance(value, dict) else {prefix + name: value}
    return found


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if isinstance(value, int | float)}
