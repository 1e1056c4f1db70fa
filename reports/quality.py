"""The tables of quality: one per data set, teacher, metric and protocol, methods down, NFE across."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from . import sources
from .entries import Board, Entry
from .ranking import FLOOR, LEAST
from .significance import ERRORS
from .tables import Table


@dataclass(frozen=True)
class Grid:
    """What a table shows: a line per row (method, variant, budget[, run]), and of each NFE the entry, if there is one.

    An entry with values of the metric is in the grid of its protocol only, one without is in those of all protocols.
    """

    metric: str
    protocol: str
    nfes: list[int]
    lines: dict[tuple[str, ...], list[Entry | None]]

    @property
    def entries(self) -> list[Entry]:
        return [entry for line in self.lines.values() for entry in line if entry is not None]

    @property
    def measured(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.values.get(self.metric)]


def grids(board: Board, metrics: Sequence[str]) -> list[Grid]:
    """Every value of these metrics in exactly one cell of one grid."""
    asked = {
        (problem, metric): [e for e in board.entries if e.key.problem == problem and metric in e.statuses]
        for problem in board.problems
        for metric in metrics
    }
    return [grid for (_, metric), entries in asked.items() if entries for grid in _by_protocol(entries, metric)]


def _by_protocol(entries: list[Entry], metric: str) -> list[Grid]:
    protocols = dict.fromkeys(e.protocols[metric] for e in entries if metric in e.protocols) or [""]
    return [_grid([e for e in entries if e.protocols.get(metric, p) == p], metric, p) for p in protocols]


def _grid(entries: list[Entry], metric: str, protocol: str) -> Grid:
    nfes = sorted({entry.nfe for entry in entries})
    places = {(entry.key.row, entry.nfe): entry for entry in entries}
    rows = dict.fromkeys(entry.key.row for entry in entries)
    return Grid(metric, protocol, nfes, {row: [places.get((row, nfe)) for nfe in nfes] for row in rows})


def tables(board: Board, metrics: Sequence[str]) -> list[Table]:
    return [table(board, grid) for grid in grids(board, metrics)]


def table(board: Board, grid: Grid) -> Table:
    facts, (dataset, teacher) = board.about(grid.metric), grid.entries[0].key.problem
    better = "higher" if facts.higher_is_better else "lower"
    names = ["method", "options", "budget", *(["run"] if grid.entries[0].key.run else [])]
    return Table(
        f"{board.suite}: {grid.metric} ({better} is better) on {dataset}, teacher {teacher}",
        [*names, *(f"NFE {nfe}" for nfe in grid.nfes)],
        [[*row, *(_cell(entry, grid.metric) for entry in line)] for row, line in grid.lines.items()],
        [*_measurement(board, grid), *sources.notes(grid.measured, grid.metric, board.labels), *_reasons(grid)],
        left=len(names),
    )


def _cell(entry: Entry | None, metric: str) -> str:
    """Empty where the suite did not ask, a dash where the value could not be had."""
    if entry is None:
        return ""
    found = entry.spread(metric)
    if found is None:
        return "–"
    digits = 3 if abs(found.mean) < 1 else 2 if abs(found.mean) < 100 else 1
    value = f"{found.mean:.{digits}f}" + ("" if math.isnan(found.std) else f" ± {found.std:.{digits}f}")
    return value + "*" * (metric in entry.starred)


def _measurement(board: Board, grid: Grid) -> list[str]:
    """How the values were measured, and what their stars say; nothing of a table without values."""
    metric, measured = grid.metric, grid.measured
    if not measured:
        return []
    facts = board.about(metric)
    counts = {entry.samples[metric] for entry in measured}
    notes = [_about(board, grid, counts)]
    if facts.pair is not None:
        notes.append(f"{metric} is starred only where it and {facts.pair} are at least {FLOOR:g}")
    if not facts.known:
        notes.append(f"no metrics.json describes {metric}: lower is taken to be better")
    if min(counts) < facts.enough:
        notes.append(f"{min(counts)} samples are few for {metric}: {facts.enough} are asked for")
    return [*notes, f"protocol {grid.protocol}"] if grid.protocol else notes


def _about(board: Board, grid: Grid, counts: set[int]) -> str:
    """What a cell is, and what its star says."""
    metric, measured = grid.metric, grid.measured
    seeds = {len(entry.values[metric]) for entry in measured}
    most = max(seeds)
    about = "mean ± standard deviation over" if most > 1 else "value of"
    parts = [f"{about} {_span(seeds)} seed{'s' if most > 1 else ''}, {_span(counts)} samples each"]
    if any(metric in entry.starred for entry in measured):
        parts.append(_star(most, any(metric in entry.without for entry in measured), board.by_budget))
    if any(entry.rivals[metric] < LEAST for entry in measured):
        parts.append(f"no star among fewer than three rows{' of a budget' * board.by_budget}")
    if most < 3:
        parts.append(f"{'two seeds say' if most == 2 else 'one seed says'} little about luck in training")
    return "; ".join(parts)


def _star(seeds: int, blocks: bool, by_budget: bool) -> str:
    tests = [f"paired jackknife over noises, {ERRORS:g} s.e."] * blocks
    if seeds > 1:
        tests.append("paired t test over seeds, 95 %" if seeds > 2 else f"{ERRORS:g} s.e. over seeds")
    budget = " of the same budget" * by_budget
    if not tests:
        return f"* best{' row' * by_budget}{budget}; one seed cannot tell how surely"
    return f"* no row{budget} is significantly better ({'; '.join(tests)})"


def _reasons(grid: Grid) -> list[str]:
    """Why cells have no value: a method's first reason, and how many more there are.

    A reason that all of several methods have is given once.
    """
    reasons: dict[str, list[str]] = {}
    for entry in grid.entries:
        status = entry.statuses[grid.metric]
        if entry.values.get(grid.metric) or status.done:
            continue
        if status.note not in reasons.setdefault(entry.method, []):
            reasons[entry.method].append(status.note)
    if len(reasons) > 1 and len({tuple(found) for found in reasons.values()}) == 1:
        reasons = {"all": next(iter(reasons.values()))}
    return [
        f"– {method}: {found[0]}" + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")
        for method, found in reasons.items()
    ]


def _span(numbers: set[int]) -> str:
    return "–".join(str(number) for number in dict.fromkeys((min(numbers), max(numbers))))
