"""Quality against what training may spend."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import naming
from ..drawing import BODY, GREY, Sheet, logarithmic
from ..entries import Entry
from ..naming import FREE, Row
from .chosen import LEAST, Chosen, NothingToDrawError, colours
from .layout import (
    ABOVE,
    BELOW,
    LEFT,
    RIGHT,
    Label,
    Note,
    end_labels,
    extent,
    gutter,
    line_of_the_teacher,
    points,
    quality_axis,
)

HEIGHT = 2.0
"""Inches of the axes."""
PANEL = 2.6
"""Inches that a panel takes with its names."""


def against_budget(chosen: Chosen) -> Figure:
    """A panel per NFE, of as many as fit, the first at which a row has several budgets; a line for each row that has.

    Methods without training are thin lines across.
    """
    lines = _lines(chosen.entries)
    nfes = _nfes(lines)[: max(1, int(chosen.width / PANEL))]
    if not nfes:
        raise NothingToDrawError("no row was trained at several budgets")
    lines = {row: found for row, line in lines.items() if (found := [e for e in line if e.nfe in nfes])}
    names = naming.labels(chosen.board, lines)
    colour = colours(chosen, lines)
    free = [entry for entry in chosen.entries if entry.budget == FREE and entry.nfe in nfes]
    note = _note(chosen, names, colour, bool(free))
    sheet = Sheet(f"{chosen.where} against the budget", chosen.width, ABOVE + HEIGHT + BELOW + note.height)
    right, shown = _beside(names, colour, 0.3 * chosen.width / len(nfes) ** 0.5)
    between = right + 0.2
    width = (chosen.width - LEFT - RIGHT - right - 0.1 - between * (len(nfes) - 1)) / len(nfes)
    values = extent(chosen, [entry for line in lines.values() for entry in line])
    values += [chosen.teacher[1]] if chosen.teacher else []
    for place, nfe in enumerate(nfes):
        axes = sheet.axes(LEFT + place * (width + between), ABOVE, width, HEIGHT)
        quality_axis(axes, chosen, HEIGHT, values)
        _panel(axes, chosen, lines, free, nfe, colour, shown, width)
        if place:
            axes.tick_params(axis="y", labelleft=False)
        else:
            axes.set_ylabel(chosen.quality, fontsize=BODY)
    note.draw(sheet, sheet.height - note.height)
    return sheet.figure


def _note(chosen: Chosen, names: Mapping[Row, str], colour: Mapping[Row, str], free: bool) -> Note:
    kinds = [chosen.board.kind(row) for row in names]
    grey = ", ".join(name for row, name in names.items() if colour[row] == GREY)
    thin = "Thin lines: methods without training." if free else ""
    return Note(chosen.width, kinds, chosen.about_errors, thin, f"Grey: {grey}." if grey else "")


def _beside(names: Mapping[Row, str], colour: Mapping[Row, str], inches: float) -> tuple[float, dict[Row, str]]:
    """(inches that they take, names of the lines in colour)."""
    shown = [row for row in names if colour[row] != GREY]
    right, texts = gutter([names[row] for row in shown], inches)
    return right, dict(zip(shown, texts, strict=True))


def check_worth(chosen: Chosen) -> None:
    """NothingToDrawError at two budgets, which the Pareto figure shows as well."""
    if len({entry.budget for entry in chosen.entries if entry.trained}) < LEAST:
        raise NothingToDrawError("no row was trained at three budgets")


def _lines(entries: Sequence[Entry]) -> dict[Row, list[Entry]]:
    """Rows apart from their budgets, each by rising budget."""
    found: dict[Row, list[Entry]] = {}
    for entry in entries:
        if entry.trained:
            found.setdefault((entry.method, entry.variant, FREE, *entry.key.row[3:]), []).append(entry)
    return {
        row: sorted(line, key=lambda entry: (entry.nfe, entry.evaluations))
        for row, line in found.items()
        if _nfes({row: line})
    }


def _nfes(lines: Mapping[Row, Sequence[Entry]]) -> list[int]:
    """NFEs at which some row has several budgets."""
    counted = [(entry.nfe, row) for row, line in lines.items() for entry in line]
    return sorted({nfe for nfe, row in counted if counted.count((nfe, row)) > 1})


def _panel(
    axes: Axes,
    chosen: Chosen,
    lines: Mapping[Row, Sequence[Entry]],
    free: Sequence[Entry],
    nfe: int,
    colour: Mapping[Row, str],
    names: Mapping[Row, str],
    inches: float,
) -> None:
    spent = [entry.evaluations for line in lines.values() for entry in line]
    span = max(spent) / min(spent)
    logarithmic(axes.xaxis, min(spent) / span**0.06, max(spent) * span**0.06, inches, 0.28)
    axes.set_xlabel("evaluations of training", fontsize=BODY)
    _without_training(axes, chosen, [entry for entry in free if entry.nfe == nfe], nfe)
    if chosen.teacher is not None:
        line_of_the_teacher(axes, chosen.teacher[1])
    labels = []
    for row, line in lines.items():
        own = [entry for entry in line if entry.nfe == nfe]
        if own:
            points(axes, chosen, [e.evaluations for e in own], own, colour[row], **chosen.mark(row))
            if row in names:
                labels.append(Label(names[row], own[-1].evaluations, chosen.mean(own[-1]), colour[row]))
    end_labels(axes, labels, HEIGHT)


def _without_training(axes: Axes, chosen: Chosen, free: Sequence[Entry], nfe: int) -> None:
    """Lines across, or where they are all off the scale the best of them in the title."""
    low, high = axes.get_ylim()
    inside = [entry for entry in free if low <= chosen.mean(entry) <= high]
    beyond = f" (best solver: {naming.number(chosen.mean(chosen.best(free)))})" if free and not inside else ""
    axes.set_title(f"NFE {nfe}{beyond}", fontsize=BODY)
    for entry in inside:
        axes.axhline(chosen.mean(entry), color="0.8", linewidth=0.5, zorder=0.5)
