"""Quality by the options of a method: a curve where a suite varies a number, dots where it varies anything else."""

import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import naming
from ..drawing import BODY, GREY, HIGHEST, PALETTE, Sheet, linear, logarithmic
from ..entries import Entry
from ..naming import Row
from .chosen import Chosen, NothingToDrawError, at_largest_budget
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
    points,
    quality_axis,
    ticks,
)

LEAST = 3
"""Values of a number that make a curve."""
HEIGHT = 2.0
"""Inches of the axes of curves."""
LINE = 0.15
"""Inches of a row of dots."""
PANEL = 2.4
"""Inches that a panel takes at least."""
NUMBER = re.compile(r"(\w+)=([-+.\de]+)(?=\s|$)")

Curves = dict[str, list[tuple[float, Entry]]]


def ablation(chosen: Chosen) -> Figure:
    """Curves of the option that has most numbers, LEAST at least; otherwise a row per method and options, of methods
    with several. A cross marks a run that has no value, as it diverged.
    """
    entries = _made_here(chosen)
    entries = at_largest_budget([entry for entry in entries if chosen.metric in entry.statuses])
    options = dict.fromkeys(name for entry in entries for name, _ in NUMBER.findall(entry.variant))
    found = {option: _curves(chosen, entries, option) for option in options}
    found = {option: curves for option, curves in found.items() if _measured(chosen, curves)}
    if found:
        option = max(found, key=lambda option: sum(map(len, found[option].values())))
        return _figure_of_curves(chosen, option, found[option])
    return _figure_of_dots(chosen, entries)


def check_worth(chosen: Chosen) -> None:
    """NothingToDrawError where most methods have one row, so that their options are not what the suite is about."""
    entries = _made_here(chosen)
    variants = {(entry.method, entry.variant) for entry in entries}
    if len(variants) < 2 * len({entry.method for entry in entries}):
        raise NothingToDrawError("most methods have one row")


def _made_here(chosen: Chosen) -> list[Entry]:
    return [entry for entry in chosen.board.shown.get(chosen.problem, []) if not entry.elsewhere]


def _curves(chosen: Chosen, entries: Sequence[Entry], option: str) -> Curves:
    """Method and other options -> (value, entry), of those with LEAST values."""
    lines: Curves = {}
    names = naming.displays(chosen.board)
    methods = {entry.method for entry in entries if option in dict(NUMBER.findall(entry.variant))}
    for entry in entries:
        values = dict(NUMBER.findall(entry.variant))
        if option in values:
            rest = re.sub(rf"\s*\b{option}=\S+", "", entry.variant).strip()
            parts = [names[entry.method] if len(methods) > 1 or not rest else "", rest, entry.key.run]
            lines.setdefault(" ".join(filter(None, parts)), []).append((float(values[option]), entry))
    curved = {name: sorted(own, key=lambda p: p[0]) for name, own in lines.items() if len({x for x, _ in own}) >= LEAST}
    return dict(list(curved.items())[: len(PALETTE)])


def _measured(chosen: Chosen, curves: Curves) -> bool:
    return any(chosen.has(entry) for own in curves.values() for _, entry in own)


def _figure_of_curves(chosen: Chosen, option: str, curves: Curves) -> Figure:
    entries = [entry for own in curves.values() for _, entry in own]
    valued = [entry for entry in entries if chosen.has(entry)]
    nfes = sorted({entry.nfe for entry in valued})[: max(1, int(chosen.width / PANEL))]
    note = _note_of_curves(chosen, entries, len(valued) < len(entries))
    sheet = Sheet(f"{chosen.where} by {option}", chosen.width, ABOVE + HEIGHT + BELOW + note.height)
    right, texts = gutter(list(curves), 0.28 * chosen.width / len(nfes) ** 0.5)
    named = dict(zip(curves, texts, strict=True))
    width = (chosen.width - LEFT - RIGHT - (right + 0.25) * len(nfes) + 0.15) / len(nfes)
    for place, nfe in enumerate(nfes):
        axes = sheet.axes(LEFT + place * (width + right + 0.25), ABOVE, width, HEIGHT)
        quality_axis(axes, chosen, HEIGHT, extent(chosen, [entry for entry in valued if entry.nfe in nfes]))
        _across(axes, [x for own in curves.values() for x, _ in own], width)
        axes.set_title(f"NFE {nfe}", fontsize=BODY)
        axes.set_xlabel(option.replace("_", " "), fontsize=BODY)
        _panel(axes, chosen, {named[name]: [p for p in own if p[1].nfe == nfe] for name, own in curves.items()})
        if place:
            axes.tick_params(axis="y", labelleft=False)
        else:
            axes.set_ylabel(chosen.quality, fontsize=BODY)
    note.draw(sheet, sheet.height - note.height)
    return sheet.figure


def _note_of_curves(chosen: Chosen, entries: Sequence[Entry], lost: bool) -> Note:
    methods = naming.displays(chosen.board)
    by = ", ".join(dict.fromkeys(methods[entry.method] for entry in entries))
    return Note(chosen.width, [], f"{by}.", chosen.about_errors, "Crosses: diverged." if lost else "")


def _panel(axes: Axes, chosen: Chosen, curves: Curves) -> None:
    """The curves of one NFE, with their names."""
    labels = []
    for (text, own), colour in zip(curves.items(), PALETTE, strict=False):
        kept = [(x, entry) for x, entry in own if chosen.has(entry)]
        points(axes, chosen, [x for x, _ in kept], [entry for _, entry in kept], colour, marker="o")
        if kept:
            labels.append(Label(text, kept[-1][0], chosen.mean(kept[-1][1]), colour))
        gone = [x for x, entry in own if not chosen.has(entry)]
        axes.plot(gone, [1.0] * len(gone), "x", color=colour, transform=axes.get_xaxis_transform(), clip_on=False)
    end_labels(axes, labels, HEIGHT)


def _across(axes: Axes, values: Sequence[float], inches: float) -> None:
    low, high = min(values), max(values)
    if low > 0 and high >= 10 * low:
        logarithmic(axes.xaxis, low / 1.25, high * 1.25, inches, 0.36)
        tried = sorted(set(values))
        closest = min(np.log(after / before) for before, after in itertools.pairwise(tried))
        if closest / np.log(high / low * 1.25**2) * inches > 0.36:
            ticks(axes.xaxis, tried)
    else:
        axes.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        linear(axes.xaxis, inches, 0.5)


def _with_options(entries: Sequence[Entry]) -> list[Entry]:
    """Those of methods that have several options."""
    variants: dict[str, set[str]] = {}
    for entry in entries:
        variants.setdefault(entry.method, set()).add(entry.variant)
    return [entry for entry in entries if len(variants[entry.method]) > 1]


def _fullest(chosen: Chosen, entries: Sequence[Entry]) -> list[int]:
    """As many NFEs as fit, those at which most rows have a value."""
    found = [entry.nfe for entry in entries if chosen.has(entry)]
    fullest = sorted(set(found), key=lambda nfe: (-found.count(nfe), nfe))
    return sorted(fullest[: max(1, int((chosen.width - 1.2) / 1.3))])


def _figure_of_dots(chosen: Chosen, entries: Sequence[Entry]) -> Figure:
    entries = _with_options(entries)
    nfes = _fullest(chosen, entries)
    rows = list(dict.fromkeys(entry.key.row for entry in entries if entry.nfe in nfes))
    if not rows:
        raise NothingToDrawError("no method has rows with several options")
    rows = rows[: int((HIGHEST - 1.0) / LINE)]
    colour = _by_method(rows)
    valued = [entry for entry in entries if chosen.has(entry) and entry.key.row in rows]
    values = extent(chosen, [entry for entry in valued if entry.nfe in nfes])
    left, texts = gutter(list(naming.labels(chosen.board, rows).values()), 0.42 * chosen.width)
    texts = [text.replace("\n", " ") for text in texts]
    note = Note(chosen.width, [], chosen.about_errors, "Crosses: no value." if len(valued) < len(entries) else "")
    height = LINE * len(rows) + 0.1
    sheet = Sheet(f"{chosen.where} by options", chosen.width, ABOVE + height + BELOW + note.height)
    width = (chosen.width - left - 0.15 - RIGHT - 0.12 * len(nfes)) / len(nfes)
    for place, nfe in enumerate(nfes):
        axes = sheet.axes(left + 0.15 + place * (width + 0.12), ABOVE, width, height)
        own = {entry.key.row: entry for entry in entries if entry.nfe == nfe}
        _dots(axes, chosen, rows, own, colour, values, width)
        axes.set_title(f"NFE {nfe}", fontsize=BODY)
        ticks(axes.yaxis, range(len(rows)), texts if place == 0 else [""] * len(rows))
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(chosen.quality, fontsize=BODY)
    note.draw(sheet, sheet.height - note.height)
    return sheet.figure


def _by_method(rows: Sequence[Row]) -> dict[Row, str]:
    methods = list(dict.fromkeys(row[0] for row in rows))
    palette = dict(zip(methods, (*PALETTE, *[GREY] * len(methods)), strict=False))
    return {row: palette[row[0]] for row in rows}


def _dots(
    axes: Axes,
    chosen: Chosen,
    rows: Sequence[Row],
    own: Mapping[Row, Entry],
    colour: Mapping[Row, str],
    values: Sequence[float],
    inches: float,
) -> None:
    low, high = min(values), max(values)
    if chosen.logarithmic:
        ratio = max(high / low, 1.2)
        logarithmic(axes.xaxis, low / ratio**0.06, high * ratio**0.06, inches)
    else:
        axes.set_xlim(low - 0.06 * (high - low), high + 0.06 * (high - low))
        linear(axes.xaxis, inches)
    for place, row in enumerate(rows):
        entry = own.get(row)
        if entry is not None and chosen.has(entry):
            axes.errorbar(
                [chosen.mean(entry)], [place], xerr=[chosen.error(entry)], color=colour[row], elinewidth=0.7,
                capsize=1.5, **chosen.mark(row), markersize=3,
            )  # fmt: skip
        elif entry is not None:
            axes.plot([0.98], [place], "x", color=colour[row], transform=axes.get_yaxis_transform(), markersize=3)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="both", color="0.92", linewidth=0.5)
    axes.set_axisbelow(True)
