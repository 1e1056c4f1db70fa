"""What learned solvers have learned, as their papers draw it: few numbers per NFE, later seeds fainter."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import naming, run_folder
from ..drawing import BODY, HIGHEST, PALETTE, SMALL, Sheet, linear, text_size
from .chosen import Chosen, NothingToDrawError
from .layout import ABOVE, BELOW, RIGHT

Record = dict[str, Any]
SEEDS_ALPHA = 0.35
"""How strongly the seeds after the first are drawn."""
ROWS = 2
"""Options drawn of each method, unless methods are chosen; learned.json has them all."""
LEFT = 0.62
"""Inches of ticks and the name of an axis."""
HEIGHT = 1.15
"""Inches of the axes of a row."""
WIDE_RANGE = 20.0
"""Times the median size, or the unit: from there on an axis is symmetrically logarithmic."""
NAMES = {
    "t": ("t(r) − r", "r"),
    "s": ("s(r)", "r"),
    "lambda": ("λₖ", "evaluation k"),
    "coefficient 1": ("newest coefficient", "step k"),
    "coefficient 2": ("second coefficient", "step k"),
}
"""Name in learned.json -> (name in the paper, of what)."""


def parameters(chosen: Chosen) -> Figure:
    """A row of panels per method and options at the largest budget: t(r) − r and s(r) of Bespoke (Shaul et al. 2024),
    lambda of D-ODE (Kim & Tang 2024), the coefficients of IIA; a colour per NFE.
    """
    rows = _rows(_records(chosen))
    if not rows:
        raise NothingToDrawError("no method has learned only a few numbers")
    names = naming.labels(chosen.board, rows)
    rows = dict(list(rows.items())[: int((HIGHEST - 0.4) / (ABOVE + HEIGHT + BELOW))])
    nfes = sorted({member["nfe"] for members in rows.values() for member in members})[: len(PALETTE)]
    colour = dict(zip(nfes, PALETTE, strict=False))
    sheet = Sheet(
        f"what learned solvers have learned on {chosen.problem[0]}", chosen.width,
        0.2 + (ABOVE + HEIGHT + BELOW) * len(rows),
    )  # fmt: skip
    for line, (row, members) in enumerate(rows.items()):
        top = 0.2 + ABOVE + line * (ABOVE + HEIGHT + BELOW)
        panels = _panels(members)
        width = (chosen.width - RIGHT - 0.1 - LEFT * len(panels)) / len(panels)
        for place, name in enumerate(panels):
            axes = sheet.axes(LEFT + place * (width + LEFT), top, width, HEIGHT)
            _draw(axes, members, name, colour, width)
            if place == 0:
                axes.set_title(names[row], fontsize=BODY, loc="left")
    left = 0.1
    for nfe in nfes:
        sheet.text(left, 0.05, f"NFE {nfe}", SMALL, color=colour[nfe])
        left += text_size(f"NFE {nfe}", SMALL)[0] + 0.12
    return sheet.figure


def _records(chosen: Chosen) -> list[Record]:
    """Of the rows of the board, from the folders together; one that several have is taken once."""
    known = {(entry.key.row, entry.nfe) for entry in chosen.board.entries}
    apart = any(entry.key.run for entry in chosen.board.entries)
    found: dict[tuple[Any, ...], Record] = {}
    for label, folder in chosen.folders.items():
        for record in run_folder.learned(folder):
            row = (record["method"], record["variant"], record["budget"], *([label] if apart else []))
            if (record["dataset"], record["teacher"]) == chosen.problem and (row, record["nfe"]) in known:
                found.setdefault((row, record["seed"], record["nfe"]), {**record, "row": row})
    return list(found.values())


def _rows(records: Sequence[Record]) -> dict[tuple[str, ...], list[Record]]:
    """By row, ROWS options of each method at their largest budgets."""
    rows: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        rows.setdefault(record["row"], []).append(record)
    largest: dict[tuple[str, ...], tuple[str, ...]] = {}
    for row in rows:
        key = (*row[:2], *row[3:])
        largest[key] = max(largest.get(key, row), row, key=lambda row: float(row[2].split()[0]))
    seen: dict[str, int] = {}
    kept = {}
    for row in rows:
        if row in largest.values() and seen.get(row[0], 0) < ROWS:
            seen[row[0]] = seen.get(row[0], 0) + 1
            kept[row] = rows[row]
    return kept


def _panels(members: Sequence[Record]) -> list[str]:
    return [name for name, _ in members[0]["learned"]][1:3]


def _draw(axes: Axes, members: Sequence[Record], name: str, colour: Mapping[int, str], inches: float) -> None:
    across = members[0]["learned"][0][0]
    first = {nfe: min(m["seed"] for m in members if m["nfe"] == nfe) for nfe in {m["nfe"] for m in members}}
    drawn = []
    for member in members:
        numbers = dict(member["learned"])
        x, y = np.asarray(numbers[across], dtype=float), np.asarray(numbers.get(name, []), dtype=float)
        x, y = x[: len(y)], y - x[: len(y)] if name == "t" else y
        leads = member["seed"] == first[member["nfe"]]
        if member["nfe"] in colour and len(y):
            drawn.append(y)
            axes.plot(
                x, y, marker=".", markersize=3, linewidth=0.8, color=colour[member["nfe"]],
                alpha=1.0 if leads else SEEDS_ALPHA, zorder=3 if leads else 2,
            )  # fmt: skip
    label, of = NAMES.get(name, (name, across))
    axes.set_ylabel(label, fontsize=BODY)
    axes.set_xlabel(of, fontsize=BODY)
    axes.axhline(1.0 if name == "s" else 0.0, color="0.7", linewidth=0.5, zorder=1)
    _symmetric_where_wide(axes, np.concatenate(drawn))
    linear(axes.xaxis, inches, integer=across != "r")


def _symmetric_where_wide(axes: Axes, values: np.ndarray) -> None:
    """A scale on which one huge value does not hide the others."""
    sizes = np.abs(values[values != 0])
    if len(sizes) and sizes.max() > WIDE_RANGE * max(1.0, np.median(sizes)):
        top = int(np.ceil(np.log10(sizes.max())))
        axes.set_yscale("symlog", linthresh=1.0)
        powers = [10.0**power for power in range(0, top + 1, max(1, top // 2))]
        marks = [-power for power in reversed(powers) if (values < 0).any()] + [0.0, *powers]
        axes.set_yticks(marks, [f"{mark:g}".replace("-", "−") for mark in marks])
        axes.set_yticks([], minor=True)
    else:
        linear(axes.yaxis, HEIGHT, 0.28)
