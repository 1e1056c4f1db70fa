"""Tables with a line per method, options and budget, in which what all lines share is said once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .entries import Board
from .naming import FREE, Row, budget, budget_unit, displays, group_title, shared_options
from .run_folder import ELSEWHERE, papers_by_key
from .tables import Cell, Group, Table

SHORT = {"evaluations": "evals"}


@dataclass(frozen=True)
class Line:
    """row: as `EntryKey.row`. place: data set and teacher, as far as a table has several."""

    row: Row
    cells: list[Cell]
    place: tuple[str, ...] = ()

    @property
    def trained(self) -> bool:
        return self.row[2] not in (FREE, "", *ELSEWHERE)


def fill(board: Board, empty: Table, lines: Sequence[Line], places: Sequence[str] = ()) -> Table:
    """`empty` with these lines, whose cells its columns name, in groups by kind of method.

    Left of its columns are the method with its options, `places`, the budget, and the run if there are several. Left
    out are options that all lines of a group have and a budget that all trained lines have, which a note says instead,
    and columns without any text.
    """
    kinds = _by_kind(board, lines)
    sharing = {title: shared_options([line.row[1] for line in own]) for title, own in kinds.items()}
    unit, one = budget_unit(line.row[2] for line in lines), _one_budget(kinds)
    heads, cited, known = displays(board), set[str](), papers_by_key(board.papers)

    def row(line: Line, options: str) -> list[Cell]:
        method, _, spent, *run = line.row
        cites = () if method in cited else tuple(key for key in board.method(method).papers if key in known)
        cited.add(method)
        amount = "" if one and line.trained else budget(spent, unit=not unit)
        return [Cell(heads[method], options, cites=cites), *map(Cell, (*line.place, amount, *run)), *line.cells]

    groups = [
        Group(title, [row(line, rest) for line, rest in zip(own, sharing[title][1], strict=True)])
        for title, own in kinds.items()
    ]
    runs = ["run"] * any(len(line.row) > 3 for line in lines)
    left = ["method", *places, f"budget ({SHORT.get(unit, unit)})" if unit else "budget", *runs]
    notes = [*_shared(sharing), *([f"budget of training: {one}"] if one else []), *empty.notes]
    columns = [*left, *empty.columns]
    return _fitted(replace(empty, columns=columns, groups=groups, notes=notes, left=len(left) + empty.left))


def _by_kind(board: Board, lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Title of a group -> its lines; a single group of methods of unknown kind has no title."""
    titled = [(*group_title(board, line.row), line) for line in lines]
    found: dict[str, list[Line]] = {title: [] for _, title in sorted({(place, title) for place, title, _ in titled})}
    for _, title, line in titled:
        found[title].append(line)
    return found if any(board.kind(line.row) for line in lines) else {"": list(lines)}


def _one_budget(kinds: dict[str, list[Line]]) -> str:
    """The budget of all trained lines, if they have one and a group is trained or not as a whole; empty otherwise."""
    budgets = list({line.row[2] for own in kinds.values() for line in own if line.trained})
    whole = all(len({line.trained for line in own}) < 2 for own in kinds.values())
    return budget(budgets[0], unit=True) if len(budgets) == 1 and whole else ""


def _shared(sharing: dict[str, tuple[str, list[str]]]) -> list[str]:
    """Such as: options of all training-free solvers: grid=karras-7 zero."""
    said: dict[str, list[str]] = {}
    for title, (options, _) in sharing.items():
        if options:
            said.setdefault(options, []).append(title)
    everything = len(sharing)
    return [
        f"options of all {'rows' if len(titles) == everything else ' and '.join(titles)}: {options}"
        for options, titles in said.items()
    ]


def _fitted(table: Table) -> Table:
    """Without the columns that have no text."""
    kept = [i for i in range(len(table.columns)) if any(str(row[i]) for row in table.rows)]
    groups = [Group(group.title, [[row[i] for i in kept] for row in group.rows]) for group in table.groups]
    return replace(
        table, columns=[table.columns[i] for i in kept], groups=groups, left=sum(i < table.left for i in kept)
    )
