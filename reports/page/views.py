"""The tables of quality as the page shows them: groups of rows, as many NFEs side by side as a page is wide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .. import naming, quality
from ..entries import MADE_ELSEWHERE, Board, Entry
from ..naming import Row
from ..quality import Grid
from ..tables import Cell, Table
from .details import Problem

WIDTH = 1170
"""Pixels of a page of 1216 between its margins; on paper the type is smaller in the same measure."""
NAME, DIGIT, SMALL, PADDING = 230, 7.8, 6.4, 17
"""Pixels: the column of names, a digit of a mean, one of an error, and what is around a number."""

Group = tuple[str, list["Line"]]


@dataclass(frozen=True)
class Number:
    """A cell of a table at one NFE. key: what to sort by, empty without a value. title: its rank, or what it lacks."""

    nfe: int
    cell: Cell
    key: str
    title: str


@dataclass(frozen=True)
class Line:
    """id: of the row's details. texts: left of the numbers, the name first. search: what a search looks in."""

    id: str
    texts: list[Cell]
    numbers: list[Number]
    kind: str
    budget: str
    data_free: str
    search: str

    @property
    def empty(self) -> bool:
        return not any(str(number.cell) for number in self.numbers)


@dataclass(frozen=True)
class View:
    """A table, or the part of one with these NFEs; first: of its parts. heads: of the columns left of the numbers."""

    id: str
    title: str
    part: str
    higher: bool
    dataset: str
    heads: list[str]
    nfes: list[int]
    groups: list[Group]
    notes: list[str]
    first: bool = True


def views(board: Board, ids: Mapping[tuple[Problem, Row], str]) -> list[View]:
    """Every grid of the board as a table, or several where its NFEs need more room than there is."""
    found = []
    for number, grid in enumerate(quality.grids(board, board.metrics), 1):
        table, problem = quality.table(board, grid), grid.problem
        places = {row: ids[problem, row] for row in grid.lines}
        whole = View(
            f"table-{number}",
            title(board, grid),
            "",
            board.about(grid.metric).higher_is_better,
            problem[0],
            table.columns[: table.left],
            grid.nfes,
            _groups(board, grid, table, places),
            _notes(table),
        )
        found += _parts(whole)
    return found


def title(board: Board, grid: Grid) -> str:
    """Such as `FD (digits)`, where there are several with data set, teacher and protocol."""
    dataset, teacher = grid.problem
    where = f" on {dataset}, teacher {teacher}" * (len(board.problems) > 1)
    protocols = {entry.protocols[grid.metric] for entry in board.shown[grid.problem] if grid.metric in entry.protocols}
    return naming.metric(board, grid.metric) + where + f", {grid.protocol}" * (len(protocols) > 1)


def _groups(board: Board, grid: Grid, table: Table, places: Mapping[Row, str]) -> list[Group]:
    """The table's groups, whose rows are the grid's lines in their order."""
    lines = iter(grid.lines.items())
    found = []
    for group in table.groups:
        own = []
        for cells, (row, entries) in zip(group.rows, lines, strict=False):
            facts, kind, (method, variant, spent, *run) = board.method(row[0]), board.kind(row), row
            # Behind a single NFE comes the rank, which a number's title says here.
            values = cells[table.left : table.left + len(grid.nfes)]
            numbers = [
                Number(nfe, cell, *_key_and_title(entry, grid.metric))
                for nfe, cell, entry in zip(grid.nfes, values, entries, strict=True)
            ]
            free = {True: "yes", False: "no", None: ""}[facts.data_free]
            search = " ".join([method, facts.display, variant, spent, *run]).lower()
            own.append(Line(places[row], cells[: table.left], numbers, kind, spent, free, search))
        found.append((group.title, own))
    return found


def _key_and_title(entry: Entry | None, metric: str) -> tuple[str, str]:
    if entry is None:
        return "", ""
    found = entry.spread(metric)
    if found is None:
        return "", entry.statuses[metric].note
    ranked = f"rank {entry.rank(metric)} of {entry.rivals[metric]}" if metric in entry.ranks else MADE_ELSEWHERE
    return repr(found.mean), ranked


def _notes(table: Table) -> list[str]:
    return [*table.said, *([f"underlined: {table.second}"] if table.second else [])]


def _parts(view: View) -> list[View]:
    """The view, or parts of it that fit in the page, without the rows that a part has nothing of."""
    blocks = _blocks(view)
    if len(blocks) == 1:
        return [view]
    found = []
    for number, nfes in enumerate(blocks, 1):
        groups = [
            (kind, [line for line in (_cut(line, nfes) for line in own) if not line.empty]) for kind, own in view.groups
        ]
        ends = "–".join(map(str, dict.fromkeys((nfes[0], nfes[-1]))))
        found.append(
            replace(
                view,
                id=view.id if number == 1 else f"{view.id}-{number}",
                part=f"NFE {ends}",
                nfes=nfes,
                groups=[(kind, own) for kind, own in groups if own],
                notes=view.notes if number == len(blocks) else [],
                first=number == 1,
            )
        )
    return found


def _cut(line: Line, nfes: Sequence[int]) -> Line:
    return replace(line, numbers=[number for number in line.numbers if number.nfe in nfes])


def _blocks(view: View) -> list[list[int]]:
    """The NFEs in parts that fit side by side."""
    lines = [line for _, own in view.groups for line in own]
    texts = [max(len(line.texts[i].text) for line in lines) for i in range(1, len(view.heads))]
    room = WIDTH - NAME - sum(max(80, PADDING + DIGIT * text) for text in texts)
    blocks: list[list[int]] = []
    spare = 0.0
    for index, nfe in enumerate(view.nfes):
        width = max([DIGIT * (5 + len(str(nfe))) + PADDING, *(_width(line.numbers[index].cell) for line in lines)])
        if not blocks or width > spare:
            blocks.append([])
            spare = room
        blocks[-1].append(nfe)
        spare -= width
    return blocks


def _width(cell: Cell) -> float:
    return PADDING + DIGIT * len(cell.text + cell.stars) + SMALL * (len(cell.error) + 3) * bool(cell.error)
