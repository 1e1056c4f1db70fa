"""Quality at one NFE against what training spent in all, with the frontier of what nothing cheaper surpasses."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import naming, run_folder
from ..drawing import BODY, GREY, INK, PALETTE, SMALL, Sheet, logarithmic, text_size
from ..entries import MADE_ELSEWHERE, Entry
from ..naming import FREE, Row
from .chosen import Chosen, NothingToDrawError
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
    quality_axis,
    tall_enough,
)
from .layout import points as draw_points
from .scatter import Box, name_points

HEIGHT = 2.6
"""Inches of the axes at least."""
APART = 1.5
"""Ratio of costs that makes a trade-off."""
STRIP = 0.3
"""Inches of the panels of methods without training and of rows made elsewhere."""
COLOURS = {"solver": PALETTE[0], "learned solver": PALETTE[2], "student": PALETTE[1], "": PALETTE[4]} | {
    MADE_ELSEWHERE: INK
}
"""By kind of method."""


def pareto(chosen: Chosen) -> Figure:
    """At the smallest of the NFEs asked for, or else that at which most trained rows have a value."""
    nfe = min(chosen.nfes) if chosen.nfes else most_trained(chosen.entries)
    entries = [entry for entry in chosen.entries if entry.nfe == nfe]
    trained = _by_method([entry for entry in entries if entry.trained])
    if not trained:
        raise NothingToDrawError(f"no trained row has a value of {chosen.metric} at NFE {nfe}")
    if not all(entry.train_flops > 0 for line in trained.values() for entry in line):
        raise NothingToDrawError("the compute of training is not known for every row")
    figure, nameless = _drawn(chosen, nfe, entries, trained, [])
    return _drawn(chosen, nfe, entries, trained, nameless)[0] if nameless else figure


def _drawn(
    chosen: Chosen, nfe: int, entries: Sequence[Entry], trained: Mapping[Row, Sequence[Entry]], nameless: Sequence[str]
) -> tuple[Figure, list[str]]:
    """The figure, and the names for which it had no place; `nameless`, which are to be said in the note."""
    free = [entry for entry in entries if entry.budget == FREE]
    beside = {"0": free, "elsewhere": [entry for entry in entries if entry.elsewhere]}
    names = naming.labels(chosen.board, [*(entry.key.row for own in beside.values() for entry in own), *trained])
    kinds = [chosen.board.kind(entry.key.row) for entry in entries]
    without = f"Without a name: {', '.join(nameless)}." if nameless else ""
    note = Note(chosen.width, kinds, chosen.about_errors, _about_lines(trained), without, colours=COLOURS)
    title = f"{chosen.where} at NFE {nfe} against the compute of training"
    height = max(tall_enough(_names_beside(chosen, own, names)[1], HEIGHT) for own in beside.values())
    sheet = Sheet(title, chosen.width, ABOVE + height + BELOW + note.height)
    values = extent(chosen, entries) + ([chosen.teacher[1]] if chosen.teacher else [])
    left = LEFT
    for across, own in beside.items():
        if own:
            left = _strip(sheet, chosen, own, names, values, left, height, across)
    width = chosen.width - left - RIGHT - 0.1
    axes = sheet.axes(left, ABOVE, width, height)
    quality_axis(axes, chosen, height, values)
    axes.set_xlabel("compute of training (FLOPs)", fontsize=BODY)
    axes.set_title(f"NFE {nfe}", fontsize=BODY, loc="left")
    _name_quality(axes, chosen, left)
    left_out = _trained(axes, chosen, trained, free, names, width)
    note.draw(sheet, sheet.height - note.height)
    return sheet.figure, left_out


def check_worth(chosen: Chosen) -> None:
    """NothingToDrawError where all training costs about the same."""
    costs = [entry.train_flops for entry in chosen.entries if entry.train_flops > 0]
    if not costs or max(costs) < APART * min(costs):
        raise NothingToDrawError("all training costs about the same")


def most_trained(entries: Sequence[Entry]) -> int:
    trained = [entry.nfe for entry in entries if entry.trained]
    return max(sorted(set(trained)), key=trained.count) if trained else min(entry.nfe for entry in entries)


def _by_method(entries: Sequence[Entry]) -> dict[Row, list[Entry]]:
    """Lines of one method and options by rising compute, under the row of the largest budget."""
    found: dict[tuple[str, ...], list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.train_flops):
        found.setdefault((entry.method, entry.variant, entry.key.run), []).append(entry)
    order = dict.fromkeys((e.method, e.variant, e.key.run) for e in entries)
    return {found[key][-1].key.row: found[key] for key in order}


def _about_lines(trained: Mapping[Row, Sequence[Entry]]) -> str:
    several = any(len(line) > 1 for line in trained.values())
    return "Grey lines: nothing cheaper is better." + " Dots of one method at several budgets are joined." * several


def _strip(
    sheet: Sheet,
    chosen: Chosen,
    own: Sequence[Entry],
    names: Mapping[Row, str],
    values: list[float],
    left: float,
    height: float,
    across: str,
) -> float:
    """Rows of which no compute of training is drawn, in a narrow panel at `left`; where the next panel begins."""
    right, texts, places = _names_beside(chosen, own, names)
    axes = sheet.axes(left, ABOVE, STRIP, height)
    quality_axis(axes, chosen, height, values)
    axes.set(xlim=(-1, 1), xticks=[])
    _name_quality(axes, chosen, left)
    axes.set_xlabel(across, fontsize=BODY)
    for entry in own:
        row = entry.key.row
        draw_points(axes, chosen, [0], [entry], COLOURS[chosen.board.kind(row)], **chosen.mark(row))
    if chosen.teacher is not None:
        line_of_the_teacher(axes, chosen.teacher[1])
    colour = INK if own[0].elsewhere else COLOURS["solver"]
    labels = [Label(text, 0, value, colour) for text, value in zip(texts, places, strict=True)]
    end_labels(axes, labels, height)
    return left + STRIP + 0.09 + right + 0.12


def _names_beside(
    chosen: Chosen, own: Sequence[Entry], names: Mapping[Row, str]
) -> tuple[float, list[str], list[float]]:
    """(inches that they take, names, values) of rows in a panel, the best first."""
    alike = _together(chosen, sorted(own, key=chosen.mean, reverse=chosen.higher), names)
    return *gutter([text for text, _ in alike], 0.27 * chosen.width), [value for _, value in alike]


def _name_quality(axes: Axes, chosen: Chosen, left: float) -> None:
    """The y axis is named in the panel at the left edge alone."""
    if left == LEFT:
        axes.set_ylabel(chosen.quality, fontsize=BODY)
    else:
        axes.tick_params(axis="y", labelleft=False)


def _together(chosen: Chosen, ordered: Sequence[Entry], names: Mapping[Row, str]) -> list[tuple[str, float]]:
    """(names, value): methods of one value share a label."""
    found: list[tuple[list[str], float]] = []
    for entry in ordered:
        value = chosen.mean(entry)
        if found and math.isclose(found[-1][1], value, rel_tol=1e-3):
            found[-1][0].append(names[entry.key.row])
        else:
            found.append(([names[entry.key.row]], value))
    return [(own[0] if len(own) == 1 else f"{own[0]} and {len(own) - 1} alike", value) for own, value in found]


def _trained(
    axes: Axes,
    chosen: Chosen,
    trained: Mapping[Row, Sequence[Entry]],
    free: Sequence[Entry],
    names: Mapping[Row, str],
    inches: float,
) -> list[str]:
    """The names that found no place."""
    costs = [entry.train_flops for line in trained.values() for entry in line]
    cost_of_teacher = _cost_of_the_teacher(chosen)
    ends = [*costs, *([cost_of_teacher] if cost_of_teacher else [])]
    span = max(max(ends) / min(ends), 3.0)
    low, high = min(ends) / span**0.08, max(ends) * span**0.12
    logarithmic(axes.xaxis, low, high, inches, 0.42)
    if cost_of_teacher:
        axes.axvline(cost_of_teacher, color=INK, linewidth=0.6, linestyle=(0, (1, 1)), zorder=1)
        axes.text(
            cost_of_teacher, 1.0, "teacher's training ", transform=axes.get_xaxis_transform(), fontsize=SMALL,
            ha="right", va="bottom",
        )  # fmt: skip
    if chosen.teacher is not None:
        line_of_the_teacher(axes, chosen.teacher[1])
    corners = _frontier(chosen, trained, free, low, high)
    axes.plot([x for x, _ in corners], [y for _, y in corners], color=GREY, linewidth=1.6, zorder=1.5)
    for row, line in trained.items():
        draw_points(
            axes, chosen, [entry.train_flops for entry in line], line, COLOURS[chosen.board.kind(row)],
            linewidth=0.6, zorder=3, **chosen.mark(row),
        )  # fmt: skip
    named = [
        Label(names[row], line[-1].train_flops, chosen.mean(line[-1]), COLOURS[chosen.board.kind(row)])
        for row, line in trained.items()
    ]
    named.sort(key=lambda label: label.y, reverse=chosen.higher)
    lines = [[(entry.train_flops, chosen.mean(entry)) for entry in line] for line in trained.values()]
    bars = [_bar(chosen, entry) for line in trained.values() for entry in line]
    return name_points(axes, named, [*lines, *bars, corners], _name_of_teacher(axes, chosen))


def _bar(chosen: Chosen, entry: Entry) -> list[tuple[float, float]]:
    low, high = extent(chosen, [entry])
    return [(entry.train_flops, low), (entry.train_flops, high)]


def _name_of_teacher(axes: Axes, chosen: Chosen) -> list[Box]:
    """The teacher's name above its line at the right, and where that is in inches."""
    if chosen.teacher is None:
        return []
    text, value = chosen.teacher
    axes.text(1.0, value, text, transform=axes.get_yaxis_transform(), fontsize=SMALL, ha="right", va="bottom")
    width, height = text_size(text, SMALL)
    dpi = axes.figure.dpi
    bottom = axes.transData.transform((1.0, value))[1] / dpi
    return [(axes.bbox.x1 / dpi - width, bottom, axes.bbox.x1 / dpi, bottom + height)]


def _frontier(
    chosen: Chosen, trained: Mapping[Row, Sequence[Entry]], free: Sequence[Entry], low: float, high: float
) -> list[tuple[float, float]]:
    """The steps from `low` to `high` of the best quality that so much compute has bought."""
    sign = -1 if chosen.higher else 1
    best = min((sign * chosen.mean(entry) for entry in free), default=math.inf)
    corners = [(low, sign * best)] if free else []
    for entry in sorted((e for line in trained.values() for e in line), key=lambda entry: entry.train_flops):
        value = sign * chosen.mean(entry)
        if value < best:
            corners += [(entry.train_flops, sign * best)] if corners else []
            corners.append((entry.train_flops, chosen.mean(entry)))
            best = value
    return [*corners, (high, sign * best)]


def _cost_of_the_teacher(chosen: Chosen) -> float:
    """FLOPs that training the teacher took; 0 if no run says."""
    dataset, teacher = chosen.problem
    for folder in chosen.folders.values():
        for facts in run_folder.facts(folder).get("teachers", []):
            if facts.get("label") == f"teacher {teacher} on {dataset}":
                return float(facts["train_evaluations"] * facts["flops_per_evaluation"])
    return 0.0
