"""What a run leaves in its folder: results.csv, metrics.json, leaderboard.csv, the report, the pictures' samples."""

import hashlib
import io
import json
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ... import reports
from ...datasets.registry import DATASETS
from ...methods import bibliography
from ...methods.missing import Missing
from ...methods.registry import METHODS, data_free
from ...reports import run_folder
from ...reports.run_folder import (
    BLOCKS,
    COSTS,
    CURVES,
    FACTS,
    FIGURES,
    LEADERBOARD,
    LEARNED,
    METRICS,
    PAPERS,
    PICTURES,
    PUBLISHED,
    REPORT,
    RESULTS,
    SUITE,
    TRIALS,
    Method,
    Metric,
    methods_json,
    metrics_json,
)
from ...reports.run_folder import METHODS as METHOD_FACTS
from ...reports.status import Status
from ...reports.writing import remove_parts, write_atomic
from ..errors import DamagedError
from ..metrics import register
from ..plan import source_version
from ..plan.cells import Cell, Plan
from ..plan.kinds import CODEC, ExtractorParams, TeacherResult, Trained
from ..run.runner import Outcome
from ..store import Artifact
from ..suite.pairs import teachers
from ..suite.schema import Suite
from ..suite.writing import MARK, dump
from . import costs, curves, published, trials
from . import rows as results

TEMPLATES = Path(reports.__file__).parent / "templates"
SHOWN = 12
"""Samples per row of the picture that shows methods side by side."""


@dataclass(frozen=True)
class Command:
    """The command line of a run, and when it began, in seconds since 1970."""

    argv: list[str]
    started: float

    def facts(self) -> dict[str, Any]:
        """What run.json says of it, now that the run is over."""
        return {"argv": self.argv, "started": _utc(self.started), "ended": _utc(time.time())}


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def write(plan: Plan, outcome: Outcome, out: Path, command: Command | None = None) -> None:
    """Write all outputs of a run; what would come out the same as before is left as it is, with its `command`."""
    text = results.to_csv(results.rows(plan, outcome))
    blocks = results.to_csv(results.block_rows(plan, outcome), results.BLOCK_COLUMNS)
    spent = results.to_csv(costs.rows(plan, outcome), costs.COLUMNS)
    found = trials.rows(plan, outcome)
    tried = results.to_csv(found, trials.COLUMNS) if found else ""
    learned = json.dumps(_learned(plan, outcome))
    losses = results.to_csv(curves.rows(plan, outcome), curves.COLUMNS)
    facts, metrics = run_facts(plan, outcome) | _claimed(plan.suite, out), metric_facts(plan.suite.metrics)
    described, papers = method_facts(dict.fromkeys(cell.method for cell in plan.cells))
    methods, suite, stated = methods_json(described), dump(plan.suite), published.dumped(plan.suite)
    stamp = hashlib.sha256(
        "\n".join(
            [
                text,
                suite,
                stated,
                blocks,
                metrics,
                methods,
                papers,
                spent,
                tried,
                learned,
                losses,
                json.dumps(facts),
                source_version.text_version(f"{source_version.PACKAGE}.reports.run"),
                *(file.read_text(encoding="utf-8") for file in sorted(TEMPLATES.iterdir())),
            ]
        ).encode()
    )
    for folder in (out, out / FIGURES):
        remove_parts(folder)
    complete = all((out / name).is_file() for name in (RESULTS, LEADERBOARD, REPORT))
    if complete and _stamp(out) == stamp.hexdigest():
        return
    facts |= {} if command is None else command.facts()
    # First without its stamp: what a killed run has left half-written is not taken for complete.
    write_atomic(out / FACTS, json.dumps(facts, indent=1))
    if not (out / SUITE).is_file() or (out / SUITE).read_text(encoding="utf-8").startswith(MARK):
        write_atomic(out / SUITE, suite)
    write_atomic(out / RESULTS, text)
    write_atomic(out / BLOCKS, blocks)
    write_atomic(out / METRICS, metrics)
    write_atomic(out / METHOD_FACTS, methods)
    write_atomic(out / PAPERS, papers)
    write_atomic(out / COSTS, spent)
    for name, optional in ((TRIALS, tried), (PUBLISHED, stated)):
        if optional:
            write_atomic(out / name, optional)
        else:
            (out / name).unlink(missing_ok=True)
    write_atomic(out / LEARNED, learned)
    write_atomic(out / CURVES, losses)
    _save_pictures(plan, outcome, out / PICTURES)
    from ...reports import run as report

    report.write_leaderboard(out)
    report.write_html([out], out / REPORT)
    write_atomic(out / FACTS, json.dumps({**facts, "stamp": stamp.hexdigest()}, indent=1))


def metric_facts(names: Iterable[str]) -> str:
    """metrics.json: what tables and figures need to know of these metrics."""
    return metrics_json({name: Metric(**register.METRICS[name].facts()) for name in names})


def method_facts(names: Iterable[str]) -> tuple[dict[str, Method], str]:
    """How tables and figures name these methods, and papers.bib: what they cite."""
    specs = {name: METHODS[name] for name in names}
    keys = {key: None for spec in specs.values() for key in spec.papers}
    cited = [paper.raw for key, paper in bibliography.entries().items() if key in keys]
    facts = {name: Method(spec.display, spec.kind, spec.papers, data_free(spec)) for name, spec in specs.items()}
    return facts, "\n\n".join(cited) + "\n"


def run_facts(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """What the report says beside the numbers."""
    facts: dict[str, Any] = {
        "suite": plan.suite.name,
        "description": plan.suite.description,
        "samples": plan.suite.samples,
        "seeds": plan.suite.seeds,
        "metrics": plan.suite.metrics,
        "truth": plan.suite.truth.model_dump(),
        "teachers": [],
        "extractors": [],
    }
    scales = {plan.suite.called(teacher): getattr(teacher, "guidance", None) for _, teacher in teachers(plan.suite)}
    if guided := {label: scale for label, scale in scales.items() if scale is not None}:
        facts["guidance"] = guided
    for task in plan.tasks():
        artifact = outcome.artifacts.get(task.name)
        if task.kind == "teacher" and artifact is not None:
            facts["environment"] = artifact.manifest["environment"]
            teacher = artifact.answer(TeacherResult)
            facts["teachers"].append(
                {
                    "label": task.label,
                    "parameters": teacher.parameters,
                    "flops_per_evaluation": teacher.flops_per_evaluation,
                    "train_evaluations": teacher.ledger.evaluations if teacher.ledger else 0,
                }
            )
        if isinstance(task.params, ExtractorParams) and artifact is not None:
            metric = DATASETS[task.params.dataset].quality
            facts["extractors"].append({"name": task.name, "metric": metric, **artifact.result})
    return facts


def _claimed(suite: Suite, out: Path) -> dict[str, Any]:
    """The hash of the suite's claims, and of those that stood there when the folder had its first results."""
    if not suite.claims:
        return {}
    text = json.dumps([claim.model_dump(mode="json") for claim in suite.claims], sort_keys=True)
    now = hashlib.sha256(text.encode()).hexdigest()[:16]
    with suppress(DamagedError):
        before = run_folder.facts(out).get("claims", {}) if (out / RESULTS).is_file() else {"first": now}
        return {"claims": {"sha256": now, "first": before.get("first", "none")}}
    return {"claims": {"sha256": now, "first": "none"}}


def _learned(plan: Plan, outcome: Outcome) -> list[dict[str, Any]]:
    """The numbers of each run that learned only a few, with the cell's key."""
    found = []
    for cell in plan.cells:
        artifact = costs.train_artifact(cell, outcome)
        learned = artifact.answer(Trained).learned if artifact is not None else []
        if learned:
            found.append({**{name: getattr(cell, name) for name in costs.KEY[1:]}, "learned": learned})
    return found


def _save_pictures(plan: Plan, outcome: Outcome, path: Path) -> None:
    """The first samples of the first seed of every image cell, and the truth, as arrays named by cell."""
    arrays: dict[str, Any] = {}
    for cell in plan.cells:
        if cell.score is None or cell.seed != plan.suite.seeds[0]:
            continue
        # Latents are no pictures: of those the score keeps some.
        latent = CODEC in cell.score.inputs
        places = (("sample", cell.id), ("truth", f"truth/{cell.dataset}/{cell.teacher}"))
        for role, name in ((None, cell.id),) if latent else places:
            needed = cell.score if role is None else cell.score.inputs.get(role)
            artifact = outcome.artifacts.get(needed.name) if needed else None
            found = _first(artifact) if artifact else None
            if found is not None and found.dtype == np.uint8:
                arrays[name] = found
            elif found is not None and found.ndim == 4:
                arrays[name] = _to_uint8(found)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(path, buffer.getvalue())


def _first(artifact: Artifact) -> Any:
    """The first rows of what the files of an artifact hold, in 8 bits if they have them; None without files."""
    from safetensors import safe_open

    parts: list[Any] = []
    for name in sorted(artifact.manifest["files"]):
        with safe_open(artifact.file(name), "np") as file:
            rows = file.get_slice("x8" if "x8" in set(file.keys()) else "x0")
            parts.append(rows[: min(rows.get_shape()[0], SHOWN - sum(map(len, parts)))])
        if sum(map(len, parts)) >= SHOWN:
            break
    return np.concatenate(parts) if parts else None


def _to_uint8(x0: Any) -> Any:
    return np.clip(x0 * 127.5 + 128, 0, 255).astype(np.uint8)


def _stamp(folder: Path) -> str | None:
    """What the files of a folder were written from; None where its run.json does not say."""
    with suppress(DamagedError):
        return run_folder.facts(folder).get("stamp")
    return None


def unmeasured(plan: Plan) -> dict[str, Missing]:
    """The metrics that something is missing for, and what."""
    return {metric: reason for cell in plan.cells for metric, reason in cell.unmeasured.items()}


def failures(plan: Plan, outcome: Outcome) -> list[tuple[Cell, Status]]:
    """The cells that have no value although they should: failed, diverged, or without something that can be had."""
    ended = ((cell, results.status_and_metrics(cell, outcome)[0]) for cell in plan.cells)
    return [(cell, status) for cell, status in ended if status.fault]
