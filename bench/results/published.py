"""published.json: what of a suite stands beside a paper's table, for the reports."""

import dataclasses
import json
from typing import Any

from ...datasets.registry import DATASETS
from ...methods.published_networks import NETWORKS
from ...reports.published.against import Beside
from ...reports.rehearsal import is_marked
from ..suite.pairs import pairs
from ..suite.schema import MethodEntry, Suite, Teacher


def beside(suite: Suite) -> Beside | None:
    """None for a suite that repeats no paper's table."""
    if suite.paper is None:
        return None
    published = [problem.published for problem in suite.problems] or [None] * len(pairs(suite))
    problems = [
        {
            "dataset": DATASETS[pair.dataset].shown,
            "teacher": suite.called(pair.teacher),
            "family": _family(pair.teacher),
            "references": pair.references,
            "samples": str(pair.samples or suite.samples),
            "published": None if named is None else named.model_dump(),
        }
        for pair, named in zip(pairs(suite), published, strict=True)
    ]
    protocol = {"samples": str(suite.samples), "labels": suite.labels, "rounding": suite.rounding}
    rows = [_row(suite, entry) for entry in suite.methods if entry.published is not None]
    also = [(named.key, named.table) for named in suite.paper.also]
    return Beside(suite.paper.key, suite.paper.table, problems, rows, protocol, is_marked(suite.name), also)


def dumped(suite: Suite) -> str:
    """The text of the file; empty for a suite that repeats no paper's table."""
    found = beside(suite)
    return "" if found is None else json.dumps(dataclasses.asdict(found), indent=1)


def _family(teacher: Teacher) -> str:
    """The form in which the network is published, empty for one that is not known."""
    known = NETWORKS.get(getattr(teacher, "file", ""))
    return "" if known is None else known.form


def _row(suite: Suite, entry: MethodEntry) -> dict[str, Any]:
    named = entry.published
    assert named is not None
    return {
        "method": entry.name,
        "variant": entry.label(),
        "own_settings": named.own_settings,
        "trained_share": _trained_share(suite, entry),
        "forwards_per_nfe": named.forwards_per_nfe,
        "measured_nfe": entry.name == "ground-truth",
        "nfe": entry.nfe or suite.nfe,
        "published": {"method": named.method, "solver_or_variant": named.solver_or_variant},
    }


def _trained_share(suite: Suite, entry: MethodEntry) -> float | None:
    """Of the paper's training, by the row's smallest budget; None where the paper's is not known in its unit."""
    assert entry.published is not None
    theirs = entry.published.paper_budget
    budgets = entry.budgets or suite.budgets
    if theirs is None or not entry.spec.trains or not budgets:
        return None
    same = [budget.amount for budget in budgets if budget.unit == theirs.unit]
    return min(same) / theirs.amount if len(same) == len(budgets) else 0.0
