"""A distance against a score, by the scale of guidance: what one gains and the other loses."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import naming, run_folder
from ..drawing import BODY, Sheet, linear, number
from ..entries import Entry, Problem
from .chosen import Chosen, NothingToDrawError, about_budget, colours
from .layout import ABOVE, BELOW, LEFT, RIGHT, Label, Note, extent, quality_axis
from .scatter import name_points

HEIGHT = 3.2
"""Inches of the axes."""
Line = tuple[naming.Row, int]
"""A row at one NFE."""


def tradeoff(chosen: Chosen) -> Figure:
    """A row at one NFE is a line over the teachers' scales of guidance, or a point where it has one teacher. The scales
    are written beside its line of the fewest NFE.

    The metric is drawn against the run's first whose better values lie the other way.
    """
    score = replace(chosen, metric=_other(chosen))
    scales = _scales(chosen)
    lines = _lines(chosen, score, scales)
    figure, nameless = _drawn(chosen, score, scales, lines, [])
    return _drawn(chosen, score, scales, lines, nameless)[0] if nameless else figure


def check_worth(chosen: Chosen) -> None:
    """NothingToDrawError where no teacher is guided by different scales."""
    if len(set(_scales(chosen).values())) < 2:
        raise NothingToDrawError("guidance has one scale")


def _other(chosen: Chosen) -> str:
    about = chosen.board.about
    found = (name for name in chosen.board.metrics if about(name).higher_is_better != chosen.higher)
    other = next(found, None)
    if other is None:
        raise NothingToDrawError(f"no metric to draw {chosen.metric} against: all have the same direction")
    return other


def _scales(chosen: Chosen) -> dict[Problem, float]:
    """The scale of guidance of each problem of the data set; 1 where no guidance is known."""
    known: dict[str, float] = {}
    for folder in chosen.folders.values():
        known |= run_folder.facts(folder).get("guidance", {})
    problems = chosen.problems or (chosen.problem,)
    if len({dataset for dataset, _ in problems}) > 1:
        raise NothingToDrawError("the rows are on several data sets: choose one with --dataset")
    return {problem: known.get(problem[1], 1.0) for problem in problems}


def _lines(chosen: Chosen, score: Chosen, scales: Mapping[Problem, float]) -> dict[Line, list[tuple[float, Entry]]]:
    """Each row at one NFE, with the scale of each of its entries, rising."""
    found: dict[Line, list[tuple[float, Entry]]] = {}
    for problem, scale in sorted(scales.items(), key=lambda item: item[1]):
        for entry in chosen.board.shown.get(problem, []):
            if chosen.has(entry) and score.has(entry):
                found.setdefault((entry.key.row, entry.nfe), []).append((scale, entry))
    if not found:
        raise NothingToDrawError(f"no row has values of both {chosen.metric} and {score.metric}")
    return found


def _drawn(
    chosen: Chosen,
    score: Chosen,
    scales: Mapping[Problem, float],
    lines: Mapping[Line, Sequence[tuple[float, Entry]]],
    nameless: Sequence[str],
) -> tuple[Figure, list[str]]:
    """The figure, and the names for which it had no place; `nameless`, which are to be said in the note."""
    entries = [entry for line in lines.values() for _, entry in line]
    rows = naming.labels(chosen.board, list(dict.fromkeys(row for row, _ in lines)))
    kinds = [chosen.board.kind(row) for row, _ in lines]
    several = len(set(scales.values())) > 1
    note = Note(
        chosen.width, kinds, "After a name: its NFE.", chosen.about_errors, about_budget(entries),
        "Grey numbers: the scale of guidance, over which marks are joined, alike at every NFE." * several,
        f"Without a name: {', '.join(nameless)}." if nameless else "",
    )  # fmt: skip
    title = f"{naming.metric(chosen.board, chosen.metric)} against {naming.metric(chosen.board, score.metric)}"
    sheet = Sheet(f"{title} on {chosen.problem[0]}", chosen.width, ABOVE + HEIGHT + BELOW + note.height)
    width = chosen.width - LEFT - RIGHT - 0.1
    axes = sheet.axes(LEFT, ABOVE, width, HEIGHT)
    quality_axis(axes, chosen, HEIGHT, extent(chosen, entries))
    across = extent(score, entries)
    margin = 0.08 * (max(across) - min(across) or 1.0)
    axes.set_xlim(min(across) - margin, max(across) + margin)
    linear(axes.xaxis, width, 0.4)
    axes.set_xlabel(score.quality, fontsize=BODY)
    axes.set_ylabel(chosen.quality, fontsize=BODY)
    axes.set_title(f"{chosen.problem[0]}", fontsize=BODY, loc="left")
    left_out = _lines_drawn(axes, chosen, score, lines, rows)
    note.draw(sheet, sheet.height - note.height)
    return sheet.figure, left_out


def _lines_drawn(
    axes: Axes,
    chosen: Chosen,
    score: Chosen,
    lines: Mapping[Line, Sequence[tuple[float, Entry]]],
    rows: Mapping[naming.Row, str],
) -> list[str]:
    """The names that found no place."""
    by_row: dict[naming.Row, list[Entry]] = {}
    for (row, _), line in lines.items():
        by_row.setdefault(row, []).extend(entry for _, entry in line)
    colour, fewest = colours(chosen, by_row), {row: min(nfe for one, nfe in lines if one == row) for row in by_row}
    paths: list[list[tuple[float, float]]] = []
    named: list[Label] = []
    scaled: list[Label] = []
    for (row, nfe), line in lines.items():
        own = [entry for _, entry in line]
        xs, ys = [score.mean(entry) for entry in own], [chosen.mean(entry) for entry in own]
        style = {"linewidth": 0.8, "markersize": 3.0, "elinewidth": 0.5, "capsize": 1.0, **chosen.mark(row)}
        axes.errorbar(
            xs, ys, [chosen.error(entry) for entry in own], [score.error(entry) for entry in own],
            color=colour[row], zorder=3, **style,
        )  # fmt: skip
        paths.append(list(zip(xs, ys, strict=True)))
        named.append(Label(f"{rows[row]} {nfe}", xs[0], ys[0], colour[row]))
        if nfe == fewest[row]:
            scaled += _scaled(line, xs, ys)
    left_out = name_points(axes, [*named, *scaled], paths)
    return [label.text for label in named if label.text in left_out]


def _scaled(line: Sequence[tuple[float, Entry]], xs: Sequence[float], ys: Sequence[float]) -> list[Label]:
    """The scales of a line that has several."""
    if len(line) == 1:
        return []
    return [Label(number(scale), x, y, "#666666") for (scale, _), x, y in zip(line, xs, ys, strict=True)]
