"""The leaderboard in words: who is ahead at each number of evaluations, as the ranks have it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from .. import naming
from ..entries import Board, Entry
from ..naming import FREE, Row
from ..quality import Grid

NAMED = 3
"""So many rows that cannot be told apart are named; the others are counted."""
KINDS = ("solver", "learned solver", "student")


@dataclass(frozen=True)
class Summary:
    """lines: (number of evaluations, what is said of it). frontier: what nothing beats with as much or less."""

    grid: Grid
    lines: list[tuple[int, Markup]]
    frontier: Markup


def summaries(board: Board, grids: Iterable[Grid]) -> list[Summary]:
    """What is said of each of these grids that has a value."""
    return [Teller(board, grid).summary() for grid in grids if grid.measured]


class Teller:
    """Tells of one grid."""

    def __init__(self, board: Board, grid: Grid) -> None:
        self.board, self.grid, self.metric = board, grid, grid.metric
        self.sign = -1 if board.about(grid.metric).higher_is_better else 1
        self.names = naming.labels(board, grid.lines)

    def summary(self) -> Summary:
        by_nfe: dict[int, list[Entry]] = {nfe: [] for nfe in self.grid.nfes}
        for entry in sorted((e for e in self.grid.measured if not e.elsewhere), key=self._key):
            by_nfe[entry.nfe].append(entry)
        lines = [(nfe, self._column(entries)) for nfe, entries in by_nfe.items() if entries]
        return Summary(self.grid, lines, self._frontier())

    def _column(self, entries: Sequence[Entry]) -> Markup:
        """Of one number of evaluations: budgets one by one where they are ranked apart. The best come first."""
        if not self.board.by_budget:
            return self._group(entries) + "."
        budgets = sorted(dict.fromkeys(entry.budget for entry in entries), key=_amount)
        parts = [
            Markup("{}: {}.").format(_spending(spent), self._group([e for e in entries if e.budget == spent]))
            for spent in budgets
        ]
        return Markup("<br>").join(parts)

    def _group(self, entries: Sequence[Entry]) -> Markup:
        """Of entries that were ranked together, with one budget if budgets are ranked apart."""
        names = naming.labels(self.board, [entry.key.row for entry in entries]) if self.board.by_budget else self.names
        ahead = [entry for entry in entries if entry.ranks[self.metric] == 1]
        if len(entries) == 1:
            return "only " + self._named(entries[0], names)
        if len(ahead) == 1:
            text = Markup("{} is ahead of {}").format(self._named(ahead[0], names), _counted(len(entries) - 1))
        else:
            text = Markup("{} cannot be told apart").format(self._listed(ahead, names))
        kinds = {self._kind(entry) for entry in ahead}
        first = {kind: next((e for e in entries if self._kind(e) == kind), None) for kind in KINDS if kind not in kinds}
        best = [Markup("best {}: {}").format(kind, self._named(e, names)) for kind, e in first.items() if e is not None]
        return Markup("; ").join([text, *best])

    def _frontier(self) -> Markup:
        """The best of each number of evaluations that nothing with as many or fewer is better than."""
        held: list[Entry] = []
        for entry in sorted(self.grid.measured, key=lambda entry: (entry.nfe, self._key(entry))):
            if self.metric in entry.unbeaten and (not held or self._key(entry) < self._key(held[-1])):
                held.append(entry)
        if not held:
            return Markup()
        where = [Markup("<b>{}</b> at {}").format(self.names[entry.key.row], entry.nfe) for entry in held]
        return Markup("With as many evaluations or fewer, nothing beats {}.").format(_joined(where))

    def _kind(self, entry: Entry) -> str:
        return self.board.kind(entry.key.row)

    def _key(self, entry: Entry) -> float:
        found = entry.spread(self.metric)
        return self.sign * found.mean if found is not None else float("inf")

    def _named(self, entry: Entry, names: Mapping[Row, str]) -> Markup:
        found = entry.spread(self.metric)
        assert found is not None
        value = naming.cell(found.mean, found.std).replace(" ", "\u00a0")
        return Markup("<b>{}</b> {}").format(names[entry.key.row], value)

    def _listed(self, entries: Sequence[Entry], names: Mapping[Row, str]) -> Markup:
        shown = [self._named(entry, names) for entry in entries[:NAMED]]
        rest = len(entries) - len(shown)
        return _joined([*shown, Markup(_counted(rest))] if rest else shown)


def _spending(budget: str) -> str:
    return "Without training" if budget == FREE else f"With {naming.budget(budget, unit=True)}"


def _amount(budget: str) -> float:
    try:
        return float(budget.partition(" ")[0])
    except ValueError:
        return float("inf")


def _counted(number: int) -> str:
    return f"{number} other{'s' * (number != 1)}"


def _joined(parts: Sequence[Markup]) -> Markup:
    return Markup(" and ").join(filter(None, [Markup(", ").join(parts[:-1]), parts[-1]]))
