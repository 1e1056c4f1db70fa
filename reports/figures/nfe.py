"""Quality against the evaluations of the network per sample, or the FLOPs that they take."""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import naming
from ..drawing import BODY, GREY, INK, SMALL, Sheet, logarithmic
from ..entries import Entry
from ..naming import FREE, Row
from .chosen import PUBLISHED, Chosen, NothingToDrawError, about_budget, at_largest_budget, by_row, colours
from .layout import (
    ABOVE,
    BELOW,
    GAP,
    LEFT,
    RIGHT,
    Label,
    Note,
    end_labels,
    evaluations_axis,
    extent,
    gutter,
    hollow,
    line_of_the_teacher,
    points,
    quality_axis,
    tall_enough,
)
from .published import Printed, printed

HEIGHT = 2.3
"""Inches of the axes at least."""
ONE = 0.3
"""Inches of the panel of one-step methods."""
NAMED = 12
"""Grey lines that are named one by one."""
MOST_BESIDE, MOST_BELOW = 36, 22
"""One-step methods that a page has room for, the best of them."""
NARROW = 4.5
"""On a sheet of less than so many inches the one-step methods come below."""


def against_nfe(chosen: Chosen) -> Figure:
    """A line per row at its largest budget; trained rows that are made for one step have a panel beside the lines."""
    return _figure(chosen, "network evaluations per sample (NFE)", lambda entry: float(entry.nfe))


def check_worth(chosen: Chosen) -> None:
    """NothingToDrawError where all rows have one NFE."""
    if len({entry.nfe for entry in chosen.entries}) < 2:
        raise NothingToDrawError("all rows have one NFE")


def against_flops(chosen: Chosen) -> Figure:
    """The same against the FLOPs of sampling."""
    if not all(entry.flops_per_image > 0 for entry in chosen.entries if not entry.elsewhere):
        raise NothingToDrawError("the FLOPs of sampling are not known for every row")
    return _figure(chosen, "FLOPs per sample", lambda entry: entry.flops_per_image)


def _figure(chosen: Chosen, across: str, x: Callable[[Entry], float]) -> Figure:
    rows = by_row(_placed(chosen, across, x))
    names = naming.labels(chosen.board, rows)
    lines, one_step = _one_step_apart(rows)
    beside = bool(one_step) and chosen.width >= NARROW
    single = _best(chosen, one_step, MOST_BESIDE if beside else MOST_BELOW)
    colour = colours(chosen, lines)
    told = printed(chosen, rows)
    grey = {row: names[row] for row in lines if colour[row] == GREY}
    note = _note(chosen, rows, grey, told, (len(single), len(one_step)))
    space = (0.22 if beside else 0.3) * chosen.width
    right, labels = _broken(_labels(chosen, lines, names, colour, x), space)
    one_right, one_names = gutter([names[row] for row in single], space)
    below = 0.0 if beside else _room_below(chosen, [names[row] for row in single])
    height = tall_enough([label.text for label in labels], HEIGHT)
    height = tall_enough(one_names, height) if beside else height
    sheet = Sheet(f"{chosen.where} against {across}", chosen.width, ABOVE / 2 + height + BELOW + below + note.height)
    width = chosen.width - LEFT - GAP - right - RIGHT - (ONE + GAP + one_right + 0.12 if beside else 0.0)
    axes = sheet.axes(LEFT, ABOVE / 2, width, height)
    quality_axis(axes, chosen, height, _values(chosen, lines, single, told))
    axes.set_ylabel(chosen.quality, fontsize=BODY)
    axes.set_xlabel(across, fontsize=BODY)
    _lines(axes, chosen, lines, colour, x, width, told)
    end_labels(axes, labels, height)
    marked = dict(zip(one_names, single.values(), strict=True))
    if beside:
        _beside(sheet, chosen, marked, LEFT + width + GAP + right + 0.12, height, axes, told)
    elif single:
        _below(sheet, chosen, marked, ABOVE / 2 + height + BELOW + ABOVE, told)
    note.draw(sheet, sheet.height - note.height)
    return sheet.figure


def _broken(labels: Sequence[Label], space: float) -> tuple[float, list[Label]]:
    """(inches that they take, the labels in lines that fit into `space` as far as two do)."""
    right, texts = gutter([label.text for label in labels], space)
    return right, [Label(text, old.x, old.y, old.colour) for text, old in zip(texts, labels, strict=True)]


def _values(
    chosen: Chosen, lines: Mapping[Row, Sequence[Entry]], single: Mapping[Row, Entry], told: Printed
) -> list[float]:
    """All that the axis of quality must hold."""
    shown = [entry for line in lines.values() for entry in line] + list(single.values())
    return extent(chosen, shown) + ([chosen.teacher[1]] if chosen.teacher else []) + told.values


def _placed(chosen: Chosen, across: str, x: Callable[[Entry], float]) -> list[Entry]:
    """The rows of which `x` is known: it need not be where they were made elsewhere."""
    entries = at_largest_budget([entry for entry in chosen.entries if x(entry) > 0])
    if not entries:
        raise NothingToDrawError(f"the {across} are known of no row")
    return entries


def _labels(
    chosen: Chosen,
    lines: Mapping[Row, list[Entry]],
    names: Mapping[Row, str],
    colour: Mapping[Row, str],
    x: Callable[[Entry], float],
) -> list[Label]:
    """At the ends of the lines in colour and of the teacher's."""
    labels = [Label(names[row], x(line[-1]), chosen.mean(line[-1]), colour[row]) for row, line in lines.items()]
    labels = [label for label in labels if label.colour != GREY]
    if chosen.teacher is not None:
        furthest = max(x(entry) for line in lines.values() for entry in line)
        labels.append(Label(chosen.teacher[0], furthest, chosen.teacher[1]))
    return labels


def _one_step_apart(rows: Mapping[Row, list[Entry]]) -> tuple[dict[Row, list[Entry]], dict[Row, Entry]]:
    """(lines, trained rows that have no NFE but 1), unless all rows are such."""
    single = {row: line[0] for row, line in rows.items() if row[2] != FREE and [e.nfe for e in line] == [1]}
    if len(single) == len(rows):
        single = {}
    return {row: line for row, line in rows.items() if row not in single}, single


def _at(marks: Sequence[tuple[Entry, float]], x: Callable[[Entry], float]) -> tuple[Sequence[float], Sequence[float]]:
    """(places, values) of what a paper prints."""
    return [x(entry) for entry, _ in marks], [value for _, value in marks]


def _best(chosen: Chosen, single: Mapping[Row, Entry], most: int) -> dict[Row, Entry]:
    """In the order that they have."""
    ordered = sorted(single, key=lambda row: chosen.mean(single[row]), reverse=chosen.higher)[:most]
    return {row: entry for row, entry in single.items() if row in ordered}


def _note(
    chosen: Chosen,
    rows: Mapping[Row, Sequence[Entry]],
    names: Mapping[Row, str],
    told: Printed,
    one_step: tuple[int, int],
) -> Note:
    """names: of the rows in grey; of very many, the methods only. one_step: how many rows are shown, of how many."""
    kinds = [*(chosen.board.kind(row) for row in rows), *([PUBLISHED] if told.marks else [])]
    entries = [entry for line in rows.values() for entry in line]
    grey = list(names.values())
    if len(grey) > NAMED:
        methods = naming.displays(chosen.board)
        grey = [f"{len(grey)} rows of {', '.join(dict.fromkeys(methods[row[0]] for row in names))}"]
    listed = f"Grey: {', '.join(grey)}." if grey else ""
    shown, of = one_step
    left_out = f"One step: the best {shown} of {of}." if shown < of else ""
    return Note(chosen.width, kinds, chosen.about_errors, about_budget(entries), left_out, told.sentence, listed)


def _lines(
    axes: Axes,
    chosen: Chosen,
    lines: Mapping[Row, list[Entry]],
    colour: Mapping[Row, str],
    x: Callable[[Entry], float],
    inches: float,
    told: Printed,
) -> None:
    places = [x(entry) for line in lines.values() for entry in line]
    if all(x(entry) == entry.nfe for line in lines.values() for entry in line):
        evaluations_axis(axes, [int(place) for place in places], inches)
    else:
        low, high = min(places), max(places)
        span = max(high / low, 1.5)
        logarithmic(axes.xaxis, low / span**0.05, high * span**0.05, inches, 0.42)
    if chosen.teacher is not None:
        line_of_the_teacher(axes, chosen.teacher[1])
    for row, line in lines.items():
        grey = colour[row] == GREY
        points(
            axes, chosen, [x(entry) for entry in line], line, colour[row],
            zorder=2 if grey else 3, **chosen.mark(row), **({"linewidth": 0.7, "markersize": 2} if grey else {}),
        )  # fmt: skip
        hollow(axes, *_at(told.marks.get(row, ()), x), colour[row])


def _beside(
    sheet: Sheet, chosen: Chosen, single: Mapping[str, Entry], left: float, height: float, main: Axes, told: Printed
) -> None:
    """One-step methods in a narrow panel with the same axis of quality."""
    axes = sheet.axes(left, ABOVE / 2, ONE, height)
    axes.set(ylim=main.get_ylim(), yscale=main.get_yscale(), xlim=(-1, 1))
    axes.set_ylim(main.get_ylim())
    axes.set_yticks(main.get_yticks(), [])
    axes.set_yticks([], minor=True)
    axes.set_xticks([0], ["1"])
    axes.set_xlabel("one step", fontsize=BODY)
    axes.grid(axis="y", color="0.92", linewidth=0.5)
    axes.set_axisbelow(True)
    if chosen.teacher is not None:
        line_of_the_teacher(axes, chosen.teacher[1])
    for entry in single.values():
        points(axes, chosen, [0], [entry], INK, **chosen.mark(entry.key.row))
        hollow(axes, *_at(told.marks.get(entry.key.row, ()), lambda _: 0.0), INK)
    end_labels(axes, [Label(name, 0, chosen.mean(entry)) for name, entry in single.items()], height)


def _room_below(chosen: Chosen, names: Sequence[str]) -> float:
    """Inches that the list of one-step methods takes, if there is any."""
    return ABOVE + BELOW + _height_of_list(gutter(names, 0.4 * chosen.width)[1]) if names else 0.0


def _height_of_list(names: Sequence[str]) -> float:
    return (0.22 if any("\n" in name for name in names) else 0.14) * len(names)


def _below(sheet: Sheet, chosen: Chosen, single: Mapping[str, Entry], top: float, told: Printed) -> None:
    """One-step methods as a list, the best first."""
    ordered = sorted(single.items(), key=lambda pair: chosen.mean(pair[1]), reverse=chosen.higher)
    right, names = gutter([name for name, _ in ordered], 0.4 * chosen.width)
    height = _height_of_list(names)
    axes = sheet.axes(right + 0.1, top, chosen.width - right - 0.1 - 0.15, height)
    for place, (_, entry) in enumerate(ordered):
        axes.errorbar(
            [chosen.mean(entry)], [place], xerr=[chosen.error(entry)], color=INK, **chosen.mark(entry.key.row),
            markersize=3, elinewidth=0.7, capsize=1.5,
        )  # fmt: skip
        values = [value for _, value in told.marks.get(entry.key.row, ())]
        hollow(axes, values, [place] * len(values), INK)
    ends = extent(chosen, [entry for _, entry in ordered])
    ends += [value for _, entry in ordered for _, value in told.marks.get(entry.key.row, ())]
    if chosen.teacher is not None:
        axes.axvline(chosen.teacher[1], color=INK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
        ends.append(chosen.teacher[1])
    if chosen.logarithmic:
        logarithmic(axes.xaxis, min(ends) / 1.1, max(ends) * 1.1, chosen.width - right - 0.3)
    axes.set_ylim(len(ordered) - 0.5, -0.5)
    axes.set_yticks(range(len(ordered)), names, fontsize=SMALL)
    axes.set_xlabel(chosen.quality, fontsize=BODY)
    axes.set_title("one step", fontsize=BODY)
    axes.grid(axis="x", color="0.92", linewidth=0.5)
