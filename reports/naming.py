"""How rows and values are written, in tables and figures alike."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import pandas as pd

from .entries import MADE_ELSEWHERE, Board
from .run_folder import ELSEWHERE

ROW = ("method", "variant", "budget")
PLACES = {"dataset": "data set", "teacher": "teacher"}

GROUPS = {
    "solver": "training-free solvers",
    "learned solver": "learned solvers",
    "student": "students",
    "": "other methods",
    MADE_ELSEWHERE: MADE_ELSEWHERE,
}
"""Kind of a method -> the title of its group, in the order of a table."""

POWERS = {1e18: "E", 1e15: "P", 1e12: "T", 1e9: "G", 1e6: "M", 1e3: "k"}
OPTION = re.compile(r"\s+(?=[\w.-]+=)")
"""Where the next option of a variant begins."""
FREE = "0"
"""The budget of a method without training."""

Row = tuple[str, ...]
"""Method, options, budget, and the run where runs are kept apart: `EntryKey.row`."""
T = TypeVar("T")


def named(frame: pd.DataFrame) -> tuple[dict[str, str], list[str]]:
    """(column of `frame` -> its head, for data set and teacher if there are several; the columns of a `Row`)."""
    places = {column: head for column, head in PLACES.items() if frame[column].nunique() > 1}
    return places, [*ROW, *(["run"] if frame["run"].ne("").any() else [])]


def budget(text: str, unit: bool = False) -> str:
    """`100000 evaluations` as `100k`, with `unit` as `100k evaluations`; empty for a method without training, a dash
    for a row made elsewhere.

    Exact: different budgets never look alike.
    """
    if text in ELSEWHERE:
        return "-"
    amount, _, name = text.partition(" ")
    try:
        value = float(amount)
    except ValueError:
        return text
    if value == 0:
        return ""
    power, sign = next(((p, s) for p, s in POWERS.items() if value >= p and math.isfinite(value)), (1.0, ""))
    return f"{value / power:.12g}{sign}" + f" {name}" * (unit and bool(name))


def budget_unit(texts: Iterable[str]) -> str:
    """The unit that all these budgets have; empty if they differ, so that each must say its own."""
    units = {text.partition(" ")[2] for text in texts if text not in ("", FREE, *ELSEWHERE)}
    return units.pop() if len(units) == 1 else ""


def shared_options(variants: Sequence[str]) -> tuple[str, list[str]]:
    """(the options that all rows have, what is left of each row's); of a single row nothing is shared.

    A variant is read as `name=value` parts, whose values may have spaces, after what may be free text.
    """
    parts = [OPTION.split(variant) if variant else [] for variant in variants]
    if len(parts) < 2:
        return "", [*variants]
    common = set(parts[0]).intersection(*parts)
    rests = [" ".join(part for part in own if part not in common) for own in parts]
    if len(set(rests)) < len(set(variants)):
        return "", [*variants]
    return " ".join(part for part in parts[0] if part in common), rests


def displays(board: Board) -> dict[str, str]:
    """Method -> the name to print, followed by that in a suite where another method is printed alike."""
    names = {name: board.method(name).display for name in dict.fromkeys(entry.method for entry in board.entries)}
    alike = Counter(names.values())
    return {name: f"{shown} ({name})" if alike[shown] > 1 else shown for name, shown in names.items()}


def metric(board: Board, name: str) -> str:
    """The metric's name to print."""
    return board.about(name).display


def labels(board: Board, rows: Iterable[Row]) -> dict[Row, str]:
    """Row -> its name among `rows`: the method, and options, budget and run as far as they tell it from the others.

    Such as `SIM`, `SIM [l2]`, `Bespoke (100k)`.
    """
    shown = list(dict.fromkeys(rows))
    unit = not budget_unit(row[2] for row in shown)
    unbudgeted = {FREE, *ELSEWHERE}
    several = len({row[2] for row in shown} - unbudgeted) > 1
    names, found = displays(board), {}
    for method in dict.fromkeys(row[0] for row in shown):
        own = [row for row in shown if row[0] == method]
        _, rests = shared_options([row[1] for row in own])
        for row, rest in zip(own, rests, strict=True):
            options = f"[{rest or 'default'}]" if len({r[1] for r in own}) > 1 else ""
            spent = f"({budget(row[2], unit)})" if several and row[2] not in unbudgeted else ""
            found[row] = " ".join(filter(None, [names[method], options, spent, *row[3:]]))
    return {row: found[row] for row in shown}


def group_title(board: Board, row: Row) -> tuple[int, str]:
    """(place, title) of a row's group."""
    title = GROUPS.get(board.kind(row), GROUPS[""])
    return list(GROUPS.values()).index(title), title


def groups(board: Board, lines: Mapping[Row, T]) -> list[tuple[str, dict[Row, T]]]:
    """(title, rows) of training-free solvers, learned solvers, students, others and what was made elsewhere, of those
    there are.
    """
    found: dict[str, dict[Row, T]] = {title: {} for title in GROUPS.values()}
    for row, line in lines.items():
        found[group_title(board, row)[1]][row] = line
    return [(title, rows) for title, rows in found.items() if rows]


def number(value: float, of: float | None = None) -> str:
    """Three decimals below 1, two below 100, one above, by the size of `of` (the mean that an error belongs to).

    Zero is `0`; what would be rounded to zeros or is a million or more is written in powers of ten.
    """
    size = abs(value if of is None else of)
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return str(value)
    if size >= 1e6 or (0 < size < 5e-4):
        return f"{value:.1e}"
    decimals = 3 if size < 1 else 2 if size < 100 else 1
    return f"{value:.{decimals}f}"


def mean_and_error(mean: float, error: float) -> tuple[str, str]:
    """A mean and its error, with as many decimals; the error is empty if it is NaN, or if both are exactly zero."""
    unknown = math.isnan(error) or mean == error == 0
    return number(mean), "" if unknown else number(error, mean)


def cell(mean: float, error: float = math.nan) -> str:
    """`2.41 ± 0.12`."""
    return " ± ".join(filter(None, mean_and_error(mean, error)))
