"""In which order the lines of a table are."""

import math
from collections.abc import Iterable, Mapping

from .entries import Board, Entry
from .naming import Row, displays

COLUMNS = ("method", "budget", "nfe:N")
"""What lines may be sorted by."""


def ordered(
    board: Board, rows: Iterable[Row], places: Mapping[tuple[Row, int], Entry], metric: str, sort: str
) -> list[Row]:
    """The rows as they come, or sorted by `method`, by `budget`, or from the best to the worst value by `nfe:N`.

    ValueError for another `sort`, and for an N that no row of the board has.
    """
    if not sort:
        return list(rows)
    if sort == "method":
        names = displays(board)
        return sorted(rows, key=lambda row: (names[row[0]].casefold(), row))
    if sort == "budget":
        return sorted(rows, key=lambda row: _amount(row[2]))
    nfe = _nfe(board, sort)
    sign = -1 if board.about(metric).higher_is_better else 1

    def value(row: Row) -> float:
        entry = places.get((row, nfe))
        found = entry.spread(metric) if entry is not None else None
        return sign * found.mean if found is not None else math.inf

    return sorted(rows, key=value)


def _amount(text: str) -> float:
    try:
        return float(text.partition(" ")[0])
    except ValueError:
        return math.inf


def _nfe(board: Board, sort: str) -> int:
    column, _, number = sort.partition(":")
    if column != "nfe" or not number.isdecimal():
        raise ValueError(f"cannot sort by {sort!r}: give one of {', '.join(COLUMNS)}")
    found = sorted({entry.nfe for entry in board.entries})
    if int(number) not in found:
        raise ValueError(f"no row has NFE {number}; there are {', '.join(map(str, found))}")
    return int(number)
