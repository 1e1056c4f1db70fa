"""What the store holds of a plan that is not run: cells done, never done, or done by other code. No torch."""

import json
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...reports.status import Kind, Status
from ..plan.cells import Plan
from ..plan.task import Task, in_order
from ..store import MANIFEST, UNREADABLE, Store
from .runner import Outcome, look_up

MISSING = Status(Kind.NOT_RUN, "not run yet")
NAMED = 3
"""How many of the changed modules a reason names."""


@dataclass(frozen=True)
class Made:
    """When an artifact was made, and by what: torch's release, and module -> hash of its source."""

    ended: float
    torch: str
    sources: dict[str, str]


def stored(plan: Plan, store: Store) -> Outcome:
    """What the store answers without doing anything; the cells that it does not answer have their reason."""
    outcome = look_up(plan.tasks(), store)
    outcome.absent = reasons(plan, store, outcome.artifacts)
    return outcome


def reasons(plan: Plan, store: Store, present: Container[str]) -> dict[str, Status]:
    """Why the store does not answer a cell, by the name of its score task; `present` are the tasks that it holds."""
    scores = [cell.score for cell in plan.cells if cell.score is not None and cell.score.name not in present]
    older = _by_question(store) if scores else {}
    return {score.name: _reason(score, present, older) for score in scores}


def _reason(score: Task, present: Container[str], older: dict[str, Made]) -> Status:
    """Not run or, where the same question was answered by other code, stale with what changed."""
    if not older or score.question not in older:
        return MISSING
    changed: dict[str, None] = {}
    for task in in_order([score]):
        before = older.get(task.question)
        if task.name not in present and before is not None:
            changed |= dict.fromkeys(_changed(task.to_json(), before))
    names = [name.partition(".")[2] or name for name in changed]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return Status(Kind.STALE, f"{', '.join(names[:NAMED])}{more} changed since") if names else MISSING


def _changed(now: dict[str, Any], before: Made) -> list[str]:
    """The modules whose source is another one than when `before` was made, and torch."""
    modules = sorted(now["sources"].keys() | before.sources.keys())
    found = [name for name in modules if now["sources"].get(name) != before.sources.get(name)]
    return found if now["torch"] == before.torch else [*found, "torch"]


def _by_question(store: Store) -> dict[str, Made]:
    """How the store's artifacts were made by what they answer, the latest of each; what cannot be read is not there."""
    found: dict[str, Made] = {}
    for path in store.root.glob(f"*/{MANIFEST}"):
        with suppress(*UNREADABLE):
            manifest = json.loads(path.read_text(encoding="utf-8"))
            question, made = (
                str(manifest["question"]),
                Made(manifest["ended"] + 0.0, manifest["torch"], dict(manifest["sources"])),
            )
            if question not in found or found[question].ended < made.ended:
                found[question] = made
    return found
