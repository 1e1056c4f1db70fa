"""results.csv: one tidy row per dataset x teacher x method x variant x budget x seed x NFE x metric. No torch."""

import csv
import io
from typing import Any

from ...methods.missing import Missing
from ...methods.specs.ground_truth import MEASURED
from ...reports import jackknife, run_folder
from ...reports.rehearsal import PROTOCOL, is_marked
from ...reports.status import DONE, Kind, Status
from ..metrics.measured import Measured
from ..plan import elsewhere
from ..plan.cells import Cell, Plan
from ..plan.kinds import (
    LATENTS,
    PROMPTS,
    ImagesParams,
    LatentsResult,
    PromptsResult,
    Sampled,
    Scored,
    Trained,
)
from ..plan.task import Task
from ..run.runner import Outcome
from .costs import train_artifact

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
        "nfe": _nfe(plan, cell, outcome),
        **_costs(cell, outcome),
        "cell": cell.id,
        "rules": cell.rules,
    }
    table = []
    for metric in plan.suite.metrics:
        found = metrics.get(metric, Measured())
        stated = metric_status(cell.unmeasured.get(metric), found) if status.done else status
        if (undefined := cell.undefined.get(metric)) is not None:
            stated = Status(Kind.SKIPPED, undefined)
        columns = value_columns(found)
        if is_marked(plan.suite.name) and columns["protocol"]:
            columns["protocol"] = PROTOCOL + columns["protocol"]
        table.append({**shared, "metric": metric, "status": str(stated), **columns})
    return table


def _nfe(plan: Plan, cell: Cell, outcome: Outcome) -> int:
    """The cell's, or where it is measured the mean over all seeds, so that they are one entry; 0 until it is."""
    if cell.nfe != MEASURED:
        return cell.nfe
    row = (cell.dataset, cell.teacher, cell.method, cell.variant)
    alike = [other for other in plan.cells if (other.dataset, other.teacher, other.method, other.variant) == row]
    made = [found for other in alike if (found := _sampled(other, outcome)) is not None]
    measured = [found.evaluations for found in made if found.evaluations is not None]
    return round(sum(measured) / len(measured)) if measured else MEASURED


def _sampled(cell: Cell, outcome: Outcome) -> Sampled | None:
    """What the cell's sampling came to, None before it has."""
    sample = cell.score.inputs["sample"] if cell.score is not None else None
    if sample is None or sample.name not in outcome.artifacts:
        return None
    return outcome.artifacts[sample.name].answer(Sampled)


def metric_status(lacking: Missing | None, found: Measured) -> Status:
    """Of one metric of a cell that is done: this machine may lack its files, or the samples be too few."""
    if lacking is not None:
        return Status(Kind.LACKING, lacking.detail)
    return DONE if found.skipped is None else Status(Kind.SKIPPED, found.skipped)


def value_columns(found: Measured) -> dict[str, Any]:
    """The columns of one metric's value, its samples, protocol and uncertainty; empty where there is none."""
    if found.value is None:
        return dict.fromkeys(("value", "samples", "protocol"), "")
    columns = {"value": repr(found.value), "samples": found.samples, "protocol": found.protocol}
    if found.without is None:
        return columns
    error, corrected = jackknife.standard_error(found.without), jackknife.corrected(found.value, found.without)
    return columns | {"standard_error": repr(error), "corrected": repr(corrected)}


def block_row(cell: str, metric: str, without: list[float]) -> dict[str, Any]:
    """A row of blocks.csv."""
    return {"cell": cell, "metric": metric, "without": " ".join(map(repr, without))}


def block_rows(plan: Plan, outcome: Outcome) -> list[dict[str, Any]]:
    """The values of each cell's metrics without each block of its samples, in the plan's order."""
    return [
        block_row(cell.id, metric, without)
        for cell in plan.cells
        for metrics in [status_and_metrics(cell, outcome)[1]]
        for metric in plan.suite.metrics
        if metric in metrics and (without := metrics[metric].without) is not None
    ]


def status_and_metrics(cell: Cell, outcome: Outcome) -> tuple[Status, dict[str, Measured]]:
    """How the cell ended, and its values by metric."""
    if cell.score is None:
        assert cell.skipped is not None
        return cell.skipped, {}
    name = cell.score.name
    for absent in (outcome.failures, outcome.absent):
        if name in absent:
            return absent[name], {}
    scored = outcome.artifacts[name].answer(Scored)
    return scored.status, scored.metrics


def _costs(cell: Cell, outcome: Outcome) -> dict[str, Any]:
    """What training and sampling cost; the training columns are 0 for a method without training.

    A student that was finished before its run ended cost what had been spent by then.
    """
    if cell.score is None:
        return {}
    sample = cell.score.inputs["sample"]
    costs: dict[str, Any] = {}
    if cell.budget == elsewhere.BUDGET:
        pass
    elif "train" not in sample.inputs:
        costs |= dict.fromkeys(("train_evaluations", "train_flops", "train_seconds", "trainable_parameters"), 0)
    elif (run := train_artifact(cell, outcome)) is not None:
        trained = run.answer(Trained)
        spent = trained.ledger.of_student(cell.nfe)
        costs |= {f"train_{key}": getattr(spent, key) for key in ("evaluations", "flops", "seconds")}
        costs["trainable_parameters"] = trained.trainable_parameters
        costs["train_peak_bytes"] = max(trained.ledger.peak_bytes.values(), default="")
    made = _sampled(cell, outcome)
    if made is not None and made.status.done and sample.kind != ImagesParams.kind:
        costs |= {name: getattr(made, name) for name in ("seconds_per_image", "forwards", "flops_per_image")}
    return costs | _beside(cell.score, outcome)


def _beside(score: Task, outcome: Outcome) -> dict[str, Any]:
    """What no budget and no NFE has: decoding latents and, once for all rows, encoding prompts and images."""
    costs: dict[str, Any] = {}
    if score.name in outcome.artifacts and (scored := outcome.artifacts[score.name].answer(Scored)).status.done:
        names = ("decode_flops_per_image", "decode_seconds_per_image")
        costs = {name: value for name in names if (value := getattr(scored, name))}
    sample = score.inputs["sample"]
    train = sample.inputs.get("train")
    prompts, latents = sample.inputs.get(PROMPTS), train.inputs.get(LATENTS) if train is not None else None
    if prompts is not None and prompts.name in outcome.artifacts:
        encoded = outcome.artifacts[prompts.name].answer(PromptsResult)
        # And the null prompt.
        costs["conditioning_flops"] = encoded.flops_per_prompt * (encoded.prompts + encoded.training + 1)
    if latents is not None and latents.name in outcome.artifacts:
        images = outcome.artifacts[latents.name].answer(LatentsResult)
        costs["latent_flops"] = images.flops_per_image * images.images
    return costs
