"""What all figures share: their style, how a line is called, and SVG text that is the same for the same data."""

import io
from collections import Counter
from collections.abc import Iterable
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.figure import Figure

from .entries import Board, Entry

STYLE: Any = {"svg.hashsalt": "fewstep", "svg.fonttype": "none", "font.size": 9, "axes.titlesize": 10}
PANELS = 4
"""NFEs of which quality is drawn against something else."""


def entries_of(board: Board, metric: str, dataset: str, teacher: str) -> list[Entry]:
    """The entries of a problem that have a value."""
    return [e for e in board.entries if e.key.problem == (dataset, teacher) and e.values.get(metric)]


def line_names(rows: Iterable[tuple[str, ...]], budgets: bool = True) -> dict[tuple[str, ...], str]:
    """A name for each row (method, variant, budget[, run]). A variant that only spells out a grid is left out, unless
    two rows would then have one name.
    """
    found = {row: _line_name(row, budgets, row[1].startswith("grid=") and " " in row[1]) for row in rows}
    counts = Counter(found.values())
    return {row: name if counts[name] == 1 else _line_name(row, budgets, False) for row, name in found.items()}


def _line_name(row: tuple[str, ...], budgets: bool, short: bool) -> str:
    method, variant, budget, *run = row
    amount = f"({budget})" if budgets and budget != "0" else ""
    return " ".join(filter(None, [method, "" if short else variant, amount, *run]))


def svg(figure: Figure) -> str:
    """The figure as SVG text, and closed."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
