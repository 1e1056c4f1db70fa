"""The tables of quality: one per data set, teacher, metric and protocol, methods down, NFE across."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import sources
from .entries import Board, Entry, Problem
from .lines import Line, fill
from .naming import budget, displays, groups, mean_and_error
from .order import ordered
from .ranking import FLOOR, LEAST
from .significance import ERRORS
from .tables import Cell, Table

SECOND = "only the best are significantly better"
UNBEATEN = "nor is any of fewer NFE, or of a smaller budget"


@dataclass(frozen=True)
class Grid:
    """What a table shows: a line per row (method, variant, budget[, run]), and of each NFE the entry, if there is one.

    An entry with values of the metric is in the grid of its protocol only, one without is in those of all protocols.
    """

    problem: Problem
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


def grids(board: Board, metrics: Sequence[str], sort: str = "") -> list[Grid]:
    """Every value of these metrics in exactly one cell of one grid, of rows made elsewhere in one for each teacher that
    they are beside; `sort` its lines as `ordered` does.
    """
    found = []
    for problem, entries in board.shown.items():
        for metric in metrics:
            if asked := [entry for entry in entries if metric in entry.statuses]:
                found += _by_protocol(board, problem, asked, metric, sort)
    return found


def _by_protocol(board: Board, problem: Problem, entries: list[Entry], metric: str, sort: str) -> list[Grid]:
    protocols = dict.fromkeys(e.protocols[metric] for e in entries if metric in e.protocols) or [""]
    of_each = {p: [e for e in entries if e.protocols.get(metric, p) == p] for p in protocols}
    return [_grid(board, problem, own, metric, protocol, sort) for protocol, own in of_each.items()]


def _grid(board: Board, problem: Problem, entries: list[Entry], metric: str, protocol: str, sort: str) -> Grid:
    nfes = sorted({entry.nfe for entry in entries})
    places = {(entry.key.row, entry.nfe): entry for entry in entries}
    rows = ordered(board, dict.fromkeys(entry.key.row for entry in entries), places, metric, sort)
    lines = {row: [places.get((row, nfe)) for nfe in nfes] for row in rows}
    return Grid(
        problem, metric, protocol, nfes, {row: line for _, own in groups(board, lines) for row, line in own.items()}
    )


def tables(board: Board, metrics: Sequence[str], sort: str = "") -> list[Table]:
    """A table for each grid of these metrics; `sort` as in `ordered`."""
    return [table(board, grid) for grid in grids(board, metrics, sort)]


def table(board: Board, grid: Grid) -> Table:
    measured, metric, (dataset, teacher) = grid.measured, grid.metric, grid.problem
    better = "higher" if board.about(metric).higher_is_better else "lower"
    ranked = len(grid.nfes) == 1 and any(entry.rivals.get(metric, 0) >= LEAST for entry in measured)
    notes = [*_measurement(board, grid), *sources.notes(measured, metric, board.labels)]
    notes += [*_ended_early(board, grid), *_reasons(board, grid)]
    protocols = {entry.protocols[metric] for entry in board.entries if metric in entry.protocols}
    apart = [name for name in (dataset, teacher) if len(board.problems) > 1] + [grid.protocol] * (len(protocols) > 1)
    empty = Table(
        f"{board.suite}: {board.about(metric).display}, {better} is better, on {dataset}, teacher {teacher}",
        [*(f"NFE {nfe}" for nfe in grid.nfes), *["rank"] * ranked],
        [],
        notes,
        left=0,
        key=(board.suite, metric, *apart),
        **_marks(board, grid),
    )
    lines = [Line(row, _cells(line, metric, ranked)) for row, line in grid.lines.items()]
    return fill(board, empty, lines)


def _cells(line: Sequence[Entry | None], metric: str, ranked: bool) -> list[Cell]:
    """One for each NFE; of a single NFE the rank too: `1`, or `2-4` for rows that cannot be told apart."""
    ranks = [Cell("" if entry is None else entry.rank(metric)) for entry in line] if ranked else []
    return [*(_cell(entry, metric) for entry in line), *ranks]


def _cell(entry: Entry | None, metric: str) -> Cell:
    """Empty where the suite did not ask, a dash where the value could not be had."""
    if entry is None:
        return Cell()
    found = entry.spread(metric)
    if found is None:
        return Cell("–")
    mean, error = mean_and_error(found.mean, found.std)
    best, unbeaten, second = (metric in marked for marked in (entry.starred, entry.unbeaten, entry.second))
    return Cell(mean, error=error, best=best, unbeaten=unbeaten, second=second)


def _marks(board: Board, grid: Grid) -> dict[str, str]:
    """What the marks of a table say, of those that it has."""
    metric, measured = grid.metric, grid.measured
    found = {
        "best": (_star(board, grid) if measured else "", any(metric in entry.starred for entry in measured)),
        "unbeaten": (UNBEATEN, any(metric in entry.unbeaten for entry in measured)),
        "second": (SECOND, any(metric in entry.second for entry in measured)),
    }
    return {mark: text for mark, (text, shown) in found.items() if shown}


def _measurement(board: Board, grid: Grid) -> list[str]:
    """How the values were measured, and what their stars say; nothing of a table without values."""
    metric, measured = grid.metric, grid.measured
    if not measured:
        return []
    facts = board.about(metric)
    counts = {entry.samples[metric] for entry in measured}
    notes = [_about(board, grid, counts)]
    if facts.pair is not None:
        notes.append(f"{facts.display} is marked only where it and {facts.pair} are at least {FLOOR:g}")
    if not facts.known:
        notes.append(f"no metrics.json describes {metric}: lower is taken to be better")
    if min(counts) < facts.enough:
        notes.append(f"{min(counts)} samples are few for {facts.display}: {facts.enough} are asked for")
    if any(entry.elsewhere for entry in measured):
        notes.append("rows made elsewhere have no rank and no mark: what they cost is not known here")
    return [*notes, f"protocol {grid.protocol}"] if grid.protocol else notes


def _about(board: Board, grid: Grid, counts: set[int]) -> str:
    """What a cell is, and where there is no star."""
    metric, measured = grid.metric, grid.measured
    seeds = {len(entry.values[metric]) for entry in measured}
    most = max(seeds)
    about = "mean ± standard deviation over" if most > 1 else "value of"
    parts = [f"{about} {_span(seeds)} seed{'s' if most > 1 else ''}, {_span(counts)} samples each"]
    if any(entry.rivals.get(metric, LEAST) < LEAST for entry in measured):
        parts.append(f"no mark among fewer than three rows{' of a budget' * board.by_budget}")
    if most < 3:
        parts.append(f"{'two seeds say' if most == 2 else 'one seed says'} little about luck in training")
    return "; ".join(parts)


def _star(board: Board, grid: Grid) -> str:
    """What is said of a starred value."""
    seeds = max(len(entry.values[grid.metric]) for entry in grid.measured)
    blocks = any(grid.metric in entry.without for entry in grid.measured)
    tests = [f"paired jackknife over noises, {ERRORS:g} s.e."] * blocks
    if seeds > 1:
        tests.append("paired t test over seeds, 95 %" if seeds > 2 else f"{ERRORS:g} s.e. over seeds")
    budget = " of the same budget" * board.by_budget
    if not tests:
        return f"best{' row' * board.by_budget}{budget}; one seed cannot tell how surely"
    return f"no row{budget} is significantly better ({'; '.join(tests)})"


def _reasons(board: Board, grid: Grid) -> list[str]:
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
    names = displays(board)
    return [
        f"– {names.get(method, method)}: {found[0]}" + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")
        for method, found in reasons.items()
    ]


def _ended_early(board: Board, grid: Grid) -> list[str]:
    """Methods whose training ended by itself, so that rows of different budgets are one."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    for entry in grid.measured:
        if entry.evaluations:
            values = tuple(entry.values[grid.metric].items())
            row = (entry.method, entry.variant, entry.nfe, entry.evaluations, values)
            alike.setdefault(row, []).append(budget(entry.budget, unit=True))
    names, found = displays(board), dict[str, list[str]]()
    for (method, *_), budgets in alike.items():
        if len(budgets) > 1:
            found.setdefault(names[method], []).extend(budgets)
    return [
        f"{name}: training ended by itself, with equal values at {' and '.join(dict.fromkeys(budgets))}"
        for name, budgets in found.items()
    ]


def _span(numbers: set[int]) -> str:
    return "–".join(str(number) for number in dict.fromkeys((min(numbers), max(numbers))))
