"""The leaderboard: seeds aggregated to entries, entries ranked, one table model for every format."""

import itertools
import math
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from . import costs
from .significance import Spread, differ, spread
from .tables import Table, write

HIGHER_IS_BETTER = {"precision", "recall", "class_coverage"}
KEY = ["dataset", "teacher", "method", "variant", "budget", "nfe"]


@dataclass
class Entry:
    """One line: a method at one NFE, seeds aggregated. `values` holds each metric's values by seed."""

    dataset: str
    teacher: str
    method: str
    variant: str
    budget: str
    nfe: int
    status: str
    values: dict[str, dict[int, float]] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    evaluations: float = 0.0
    """What training spent, the mean over seeds."""

    def spread(self, metric: str) -> Spread | None:
        return spread(list(self.values[metric].values())) if self.values.get(metric) else None

    @property
    def row(self) -> tuple[str, ...]:
        return self.method, self.variant, self.budget


@dataclass
class Board:
    suite: str
    metrics: list[str]
    entries: list[Entry]
    costs: Table | None = None


def read(folder: Path) -> Board:
    """The board of a folder's results.csv, entries in the order of the file."""
    text = dict.fromkeys(("variant", "budget", "status", "method"), "string")
    frame = pd.read_csv(folder / "results.csv", dtype=text, keep_default_na=False, na_values={"value": [""]})
    entries = []
    for key, group in frame.groupby(KEY, sort=False):
        dataset, teacher, method, variant, budget, nfe = map(str, key)
        bad = group.loc[group["status"] != "done", "status"]
        entry = Entry(dataset, teacher, method, variant, budget, int(nfe), bad.iloc[0] if len(bad) else "done")
        spent = pd.to_numeric(group["train_evaluations"], errors="coerce").mean()
        entry.evaluations = 0.0 if math.isnan(spent) else float(spent)
        for metric, part in group.dropna(subset="value").groupby("metric", sort=False):
            entry.values[str(metric)] = dict(zip(part["seed"].astype(int), part["value"].astype(float), strict=True))
            entry.samples[str(metric)] = int(part["samples"].iloc[0])
        entries.append(entry)
    board = Board(str(frame["suite"].iloc[0]), list(dict.fromkeys(frame["metric"])), entries, costs.table(folder))
    for metric in board.metrics:
        _rank(board.entries, metric)
    return board


def _rank(entries: list[Entry], metric: str) -> None:
    """Ranks within (dataset, teacher, NFE); budgets are ranked apart where there are several.

    An entry shares the rank above it where the two do not differ on their common seeds.
    """
    budgets = {entry.budget for entry in entries} - {"0"}

    def group(entry: Entry) -> tuple[str, ...]:
        return entry.dataset, entry.teacher, str(entry.nfe), entry.budget if len(budgets) > 1 else ""

    sign = -1 if metric in HIGHER_IS_BETTER else 1
    scored = [entry for entry in entries if entry.values.get(metric)]
    for _, members in itertools.groupby(sorted(scored, key=group), key=group):
        ordered = sorted(members, key=lambda entry: sign * _mean(entry, metric))
        leader, rank = ordered[0], 1
        for position, entry in enumerate(ordered, start=1):
            common = sorted(set(entry.values[metric]) & set(leader.values[metric]))
            pair = [[e.values[metric][seed] for seed in common] for e in (entry, leader)]
            if entry is not leader and differ(*pair):
                leader, rank = entry, position
            entry.ranks[metric] = rank


def _mean(entry: Entry, metric: str) -> float:
    found = entry.spread(metric)
    return found.mean if found is not None else math.nan


def to_frame(board: Board) -> pd.DataFrame:
    """leaderboard.csv: key columns, then mean, std, low, high of each metric, seeds, and the first metric's rank."""
    lines = []
    for entry in board.entries:
        line: dict[str, object] = {"suite": board.suite, **{key: getattr(entry, key) for key in KEY}}
        for metric in board.metrics:
            found = entry.spread(metric)
            for part in ("mean", "std", "low", "high"):
                line[f"{metric}_{part}"] = getattr(found, part) if found else math.nan
        first = entry.values.get(board.metrics[0], {})
        line |= {"seeds": len(first), "rank": entry.ranks.get(board.metrics[0], ""), "status": entry.status}
        lines.append(line)
    return pd.DataFrame(lines)


def render(board: Board, style: str, metric: str | None = None) -> str:
    """The board as table, markdown, latex, csv or html; all metrics and the costs, or the one metric named.

    ValueError if it is unknown.
    """
    if metric is not None and metric not in board.metrics:
        raise ValueError(f"no metric {metric!r} in these results; they have {', '.join(board.metrics)}")
    if style == "csv":
        return to_frame(board).to_csv(index=False, lineterminator="\n").rstrip("\n")
    shown = tables(board, [metric] if metric else board.metrics)
    if metric is None and board.costs is not None:
        shown.append(board.costs)
    return "\n\n".join(write(table, style) for table in shown)


def tables(board: Board, metrics: list[str]) -> list[Table]:
    """One table per (dataset, teacher, metric): methods down, NFE across."""
    problems = list(dict.fromkeys((entry.dataset, entry.teacher) for entry in board.entries))
    return [_table(board, *problem, metric) for problem in problems for metric in metrics]


def _table(board: Board, dataset: str, teacher: str, metric: str) -> Table:
    entries = [entry for entry in board.entries if (entry.dataset, entry.teacher) == (dataset, teacher)]
    nfes = sorted({entry.nfe for entry in entries})
    rows = list(dict.fromkeys(entry.row for entry in entries))
    found = {(entry.row, entry.nfe): entry for entry in entries}
    cells = [[*row, *(_cell(found.get((row, nfe)), metric) for nfe in nfes)] for row in rows]
    counts = {entry.samples[metric] for entry in entries if metric in entry.samples}
    seeds = {len(entry.values[metric]) for entry in entries if entry.values.get(metric)}
    better = "higher" if metric in HIGHER_IS_BETTER else "lower"
    title = f"{board.suite}: {metric} ({better} is better) on {dataset}, teacher {teacher}"
    several = max(seeds, default=0) > 1
    about = "mean ± standard deviation over" if several else "value of"
    notes = [
        f"{about} {_span(seeds)} seed{'s' if several else ''}, {_span(counts)} samples each; "
        + ("* best, or not distinguishable from it at 95 %" if several else "* best; one seed cannot tell how surely")
    ]
    notes += _reasons([entry for entry in entries if not entry.values.get(metric)])
    return Table(title, ["method", "options", "budget", *(f"NFE {nfe}" for nfe in nfes)], cells, notes)


def _reasons(empty: list[Entry]) -> list[str]:
    """Why cells have no value: the first reason of each method, and how many more there are."""
    reasons: dict[str, list[str]] = {}
    for entry in empty:
        reason = entry.status.removeprefix("skipped: ")
        if reason != "done" and reason not in reasons.setdefault(entry.method, []):
            reasons[entry.method].append(reason)
    return [
        f"– {method}: {found[0]}" + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")
        for method, found in reasons.items()
    ]


def _span(numbers: set[int]) -> str:
    return "–".join(str(number) for number in dict.fromkeys((min(numbers, default=0), max(numbers, default=0))))


def _cell(entry: Entry | None, metric: str) -> str:
    """Empty where the suite did not ask, a dash where the value could not be had."""
    if entry is None:
        return ""
    found = entry.spread(metric)
    if found is None:
        return "–"
    digits = 3 if abs(found.mean) < 1 else 2 if abs(found.mean) < 100 else 1
    value = f"{found.mean:.{digits}f}" + ("" if math.isnan(found.std) else f" ± {found.std:.{digits}f}")
    return value + ("*" if entry.ranks.get(metric) == 1 else "")
