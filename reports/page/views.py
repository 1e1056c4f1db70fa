"""The tables of quality as the page shows them: groups of rows, as many NFEs side by side as a page is wide."""

from collections.abc import Mapping
from dataclasses import dataclass

from .. import naming, quality
from ..entries import Board, Entry
from ..naming import FREE, Row
from ..quality import Grid
from ..tables import Table
from .details import Problem

WIDTH = 1170
"""Pixels of a page of 1216 between its margins; on paper the type is smaller in the same measure."""
NAME, DIGIT, SMALL, PADDING = 250, 7.8, 6.6, 17
"""Pixels: the column of names, a digit of a mean, one of an error, and what is around a number."""


@dataclass(frozen=True)
class Cell:
    """mean and error as they are printed; key: what to sort by, empty without a value."""

    nfe: int
    mean: str = ""
    error: str = ""
    key: str = ""
    mark: str = ""
    title: str = ""


@dataclass(frozen=True)
class Line:
    """id: of the row's details. search: what a search looks in."""

    id: str
    name: str
    options: str
    budget: str
    spent: str
    run: str
    kind: str
    data_free: str
    search: str
    cells: list[Cell]


@dataclass(frozen=True)
class View:
    """A table, or the part of one with these NFEs. runs: whether rows say their run."""

    id: str
    title: str
    part: str
    metric: str
    higher: bool
    dataset: str
    nfes: list[int]
    groups: list[tuple[str, list[Line]]]
    budget: str | None
    """The unit of the column of budgets, None where no row has one."""
    runs: bool
    shared: str
    notes: list[str]


def views(board: Board, ids: Mapping[tuple[Problem, Row], str]) -> list[View]:
    """Every grid of the board as a table, or several where its NFEs need more room than there is."""
    found = []
    for number, grid in enumerate(quality.grids(board, board.metrics)):
        blocks = _blocks(grid)
        for part, nfes in enumerate(blocks):
            place = f"table-{number}" + (f"-{part}" if part else "")
            found.append(_view(board, grid, nfes, ids, place, len(blocks) > 1))
    return found


def title(board: Board, grid: Grid) -> str:
    """Such as: FD (digits) on digits, teacher small, lower is better."""
    dataset, teacher = grid.entries[0].key.problem
    return f"{naming.metric(board, grid.metric)} on {dataset}, teacher {teacher}"


def _view(
    board: Board, grid: Grid, nfes: list[int], ids: Mapping[tuple[Problem, Row], str], place: str, broken: bool
) -> View:
    chosen = [grid.nfes.index(nfe) for nfe in nfes]
    rows = {row: [line[i] for i in chosen] for row, line in grid.lines.items()}
    rows = {row: line for row, line in rows.items() if any(line)} if broken else rows
    problem = grid.entries[0].key.problem
    shared, rests = naming.shared_options([row[1] for row in rows])
    options = dict(zip(rows, rests, strict=True))
    trained = [row[2] for row in rows if row[2] != FREE]
    unit = naming.budget_unit(trained) if trained else None
    groups = [
        (kind, [_line(board, grid.metric, row, line, nfes, options[row], ids[problem, row]) for row, line in own.items()])
        for kind, own in naming.groups(board, rows)
    ]
    return View(
        place,
        title(board, grid),
        f"NFE {nfes[0]}–{nfes[-1]}" if broken else "",
        grid.metric,
        board.about(grid.metric).higher_is_better,
        problem[0],
        nfes,
        groups,
        unit,
        any(len(row) > 3 for row in rows),
        shared,
        _notes(quality.table(board, grid)),
    )


def _notes(table: Table) -> list[str]:
    return [*table.said, *([f"underlined: {table.second}"] if table.second else [])]


def _line(
    board: Board, metric: str, row: Row, entries: list[Entry | None], nfes: list[int], options: str, place: str
) -> Line:
    method, variant, spent, *run = row
    facts = board.method(method)
    return Line(
        place,
        naming.displays(board)[method],
        options,
        spent,
        naming.budget(spent) if spent != FREE else "",
        "".join(run),
        facts.kind,
        {True: "yes", False: "no", None: ""}[facts.data_free],
        " ".join([method, facts.display, variant, spent, *run]).lower(),
        [_cell(entry, nfe, metric) for entry, nfe in zip(entries, nfes, strict=True)],
    )


def _cell(entry: Entry | None, nfe: int, metric: str) -> Cell:
    """Empty where the suite did not ask, a dash where the value could not be had."""
    if entry is None:
        return Cell(nfe)
    found = entry.spread(metric)
    if found is None:
        return Cell(nfe, "–", title=entry.statuses[metric].note)
    mean, error = naming.mean_and_error(found.mean, found.std)
    mark = "best" if metric in entry.starred else "second" if metric in entry.second else ""
    ranked = f"rank {entry.rank(metric)} of {entry.rivals[metric]}" if metric in entry.ranks else ""
    return Cell(nfe, mean, error, repr(found.mean), mark, ranked)


def _blocks(grid: Grid) -> list[list[int]]:
    """The NFEs in parts that fit side by side."""
    room = WIDTH - NAME - 90 * any(row[2] != FREE for row in grid.lines) - 110 * any(len(row) > 3 for row in grid.lines)
    blocks: list[list[int]] = []
    left = 0.0
    for index, nfe in enumerate(grid.nfes):
        width = max(_width(line[index], grid.metric) for line in grid.lines.values())
        width = max(width, DIGIT * (4 + len(str(nfe))) + PADDING)
        if not blocks or width > left:
            blocks.append([])
            left = room
        blocks[-1].append(nfe)
        left -= width
    return blocks


def _width(entry: Entry | None, metric: str) -> float:
    found = entry.spread(metric) if entry is not None else None
    if found is None:
        return 0.0
    mean, error = naming.mean_and_error(found.mean, found.std)
    return PADDING + DIGIT * (len(mean) + 1) + SMALL * (len(error) + 3) * bool(error)
