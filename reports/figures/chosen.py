"""What a figure is drawn from: rows of a board, chosen and named, and which of them are in colour."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import naming
from ..drawing import GREY, INK, PALETTE
from ..entries import MADE_ELSEWHERE, Board, Entry
from ..naming import FREE, Row

PUBLISHED = "as published"
"""What a paper prints of a row, among the kinds of marks."""
MARKERS = {"solver": "o", "learned solver": "s", "student": "^", "": "D", MADE_ELSEWHERE: "o", PUBLISHED: "d"}
"""By kind of method."""
HOLLOW = {"markerfacecolor": "white", "markeredgewidth": 0.8}
"""The style of marks of what was made elsewhere, or printed."""
LINES = 6
"""In colour, where others are grey."""
NEARLY_EXACT = 16
"""Evaluations with which a solver shows what the teacher itself reaches."""
LEAST = 3
"""Where fewer rows have a value, being the best says little."""


class NothingToDrawError(ValueError):
    """The runs do not hold what this kind of figure shows: the message says what is missing."""


@dataclass(frozen=True)
class Chosen:
    """One metric on one problem (data set, teacher), of the rows of `board`.

    whole: the board before methods and NFEs were chosen. folders: by label. nfes: those asked for, empty for all.
    width: in inches. problems: those of a figure that compares over several.
    """

    board: Board
    metric: str
    problem: tuple[str, str]
    width: float = 5.5
    nfes: tuple[int, ...] = ()
    folders: Mapping[str, Path] = field(default_factory=dict)
    whole: Board | None = None
    problems: tuple[tuple[str, str], ...] = ()

    @cached_property
    def entries(self) -> list[Entry]:
        """Those that have a finite value."""
        found = [e for e in self.board.shown.get(self.problem, []) if self.has(e)]
        if not found:
            raise NothingToDrawError(f"no row has a value of {self.metric}")
        return found

    @property
    def quality(self) -> str:
        """The label of an axis, with the direction of the better values."""
        return f"{naming.metric(self.board, self.metric)} {'↑' if self.higher else '↓'}"

    @property
    def higher(self) -> bool:
        return self.board.about(self.metric).higher_is_better

    def has(self, entry: Entry) -> bool:
        """Whether it has a finite value, which a PSNR of samples that are exact is not."""
        return math.isfinite(self.mean(entry))

    def mean(self, entry: Entry) -> float:
        spread = entry.spread(self.metric)
        return spread.mean if spread else math.nan

    def error(self, entry: Entry) -> float:
        """The standard deviation over seeds, 0 where there is one seed."""
        spread = entry.spread(self.metric)
        return spread.std if spread and math.isfinite(spread.std) else 0.0

    def best(self, entries: Sequence[Entry]) -> Entry:
        return (max if self.higher else min)(entries, key=self.mean)

    def mark(self, row: Row) -> dict[str, Any]:
        """The style of a row's marks."""
        kind = self.board.kind(row)
        return {"marker": MARKERS.get(kind, MARKERS[""]), **(HOLLOW if kind == MADE_ELSEWHERE else {})}

    @property
    def where(self) -> str:
        """For titles."""
        dataset, teacher = self.problem
        return f"{naming.metric(self.board, self.metric)} on {dataset} (teacher {teacher})"

    @property
    def about_errors(self) -> str:
        """How points and bars were averaged, for the note under a figure."""
        seeds = sorted({len(entry.values[self.metric]) for entry in self.entries})
        if seeds == [1]:
            return "One seed."
        span = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        return f"Mean and standard deviation over {span} seeds."

    @property
    def teacher(self) -> tuple[str, float] | None:
        """What the teacher itself reaches, and its label: the best solver at the largest NFE of any solver, which is
        NEARLY_EXACT at least; before methods and NFEs were chosen. None without such a row.
        """
        entries = (self.whole or self.board).entries
        free = [e for e in entries if e.key.problem == self.problem and e.values.get(self.metric) and e.budget == FREE]
        free = [entry for entry in free if entry.nfe >= NEARLY_EXACT]
        if not free:
            return None
        nfe = max(entry.nfe for entry in free)
        best = self.best([entry for entry in free if entry.nfe == nfe])
        return f"teacher, {nfe} NFE", self.mean(best)

    @property
    def logarithmic(self) -> bool:
        """Whether quality is drawn on a log scale."""
        return self.board.about(self.metric).log_scale and all(self.mean(entry) > 0 for entry in self.entries)


def about_budget(entries: Sequence[Entry]) -> str:
    """The one budget of all trained entries, for the note under a figure; empty if they have several."""
    budgets = {entry.budget for entry in entries if entry.trained}
    return f"Training: {naming.budget(budgets.pop(), True)}." if len(budgets) == 1 else ""


def by_row(entries: Sequence[Entry]) -> dict[Row, list[Entry]]:
    """The lines, each by rising NFE."""
    found: dict[Row, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.nfe):
        found.setdefault(entry.key.row, []).append(entry)
    order = dict.fromkeys(entry.key.row for entry in entries)
    return {row: found[row] for row in order}


def at_largest_budget(entries: Sequence[Entry]) -> list[Entry]:
    """Of each method, options and NFE, the one that may spend most."""
    largest: dict[tuple[object, ...], Entry] = {}
    for entry in entries:
        key = entry.method, entry.variant, entry.key.run, entry.nfe, entry.elsewhere
        if key not in largest or entry.evaluations >= largest[key].evaluations:
            largest[key] = entry
    return list(largest.values())


def colours(chosen: Chosen, rows: Mapping[Row, Sequence[Entry]], most: int = 0) -> dict[Row, str]:
    """Row -> colour. Rows that were made elsewhere compete for none: they are in that of text."""
    foreign = {row: INK for row in rows if chosen.board.kind(row) == MADE_ELSEWHERE}
    return _competing(chosen, {row: line for row, line in rows.items() if row not in foreign}, most) | foreign


def _competing(chosen: Chosen, rows: Mapping[Row, Sequence[Entry]], most: int) -> dict[Row, str]:
    """Row -> colour: those that come closest to the best at some NFE are in colour, the others in grey.

    That is `most` rows, otherwise LINES where there are more rows than colours. An NFE counts where at least LEAST rows
    have a value, if there is one.
    """
    places: dict[int, list[Row]] = {}
    for row, entries in rows.items():
        for entry in entries:
            places.setdefault(entry.nfe, []).append(row)
    at = {(row, entry.nfe): chosen.mean(entry) for row, entries in rows.items() for entry in entries}
    counted = {nfe: found for nfe, found in places.items() if len(found) >= LEAST} or places
    place: dict[Row, int] = {}
    for nfe, found in counted.items():
        for position, row in enumerate(sorted(found, key=lambda row: at[row, nfe], reverse=chosen.higher)):
            place[row] = min(place.get(row, position), position)
    most = most or (len(PALETTE) if len(rows) <= len(PALETTE) else LINES)
    leading = sorted(rows, key=lambda row: place.get(row, len(rows)))[:most]
    palette = dict(zip((row for row in rows if row in leading), PALETTE, strict=False))
    return {row: palette.get(row, GREY) for row in rows}
