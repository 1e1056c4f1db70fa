"""The leaderboard in words: who is ahead at each number of evaluations, as the ranks have it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .. import naming
from ..entries import Board, Entry
from ..naming import FREE
from ..quality import Grid
from ..ranking import differs

NAMED = 3
"""So many rows that cannot be told apart are named; the others are counted."""
SINGULAR = {"solver": "solver", "learned solver": "learned solver", "student": "student"}


@dataclass(frozen=True)
class Summary:
    """lines: (number of evaluations, what is said of it). frontier: what nothing beats with as much or less."""

    grid: Grid
    lines: list[tuple[int, str]]
    frontier: str


class Teller:
    """Tells of one grid."""

    def __init__(self, board: Board, grid: Grid) -> None:
        self.board, self.grid, self.metric = board, grid, grid.metric
        self.sign = -1 if board.about(grid.metric).higher_is_better else 1
        self.names = naming.labels(board, grid.lines)

    def summary(self) -> Summary:
        columns = [[line[i] for line in self.grid.lines.values()] for i in range(len(self.grid.nfes))]
        by_nfe = {
            nfe: sorted((e for e in column if e is not None and e.values.get(self.metric)), key=self._key)
            for nfe, column in zip(self.grid.nfes, columns, strict=True)
        }
        lines = [(nfe, self._column(entries)) for nfe, entries in by_nfe.items() if entries]
        return Summary(self.grid, lines, self._frontier(by_nfe))

    def _column(self, entries: Sequence[Entry]) -> str:
        """Of one number of evaluations: budgets one by one where they are ranked apart. The best come first."""
        if not self.board.by_budget:
            return f"{_capital(self._group(entries))}."
        budgets = sorted(dict.fromkeys(entry.budget for entry in entries), key=_amount)
        parts = [f"{self._spending(b)}: {self._group([e for e in entries if e.budget == b])}" for b in budgets]
        return f"{_capital('; '.join(parts))}."

    def _spending(self, budget: str) -> str:
        return "without training" if budget == FREE else f"with {naming.budget(budget, unit=True)}"

    def _group(self, entries: Sequence[Entry]) -> str:
        """Of entries that were ranked together."""
        ahead = [entry for entry in entries if entry.ranks[self.metric] == 1]
        if len(entries) == 1:
            return f"{self._named(entries[0])} is alone"
        if len(ahead) == 1:
            text = f"{self._named(ahead[0])} is ahead of {_counted(len(entries) - 1, 'other row')}"
        else:
            text = f"{self._listed(ahead)} cannot be told apart"
        kinds = {self._kind(entry) for entry in ahead}
        others = [(kind, next((e for e in entries if self._kind(e) == kind), None)) for kind in SINGULAR]
        best = [f"best {SINGULAR[kind]}: {self._named(e)}" for kind, e in others if e is not None and kind not in kinds]
        return ", ".join([text, *best])

    def _frontier(self, by_nfe: dict[int, list[Entry]]) -> str:
        """The first of each number of evaluations, unless something is better with as many or fewer evaluations and no
        larger budget.
        """
        held = []
        for nfe, entries in by_nfe.items():
            fewer = [entry for other, found in by_nfe.items() if other <= nfe for entry in found]
            for budget in dict.fromkeys(entry.budget for entry in entries):
                first = next(entry for entry in entries if entry.budget == budget)
                if not any(self._beats(entry, first) for entry in fewer if _affords(budget, entry.budget)):
                    held.append(first)
        if len(by_nfe) < 2 or not held:
            return ""
        where = [f"{self._named(entry)} at {entry.nfe}" for entry in held]
        budget = " and no larger a budget" * any(entry.budget != FREE for entry in self.grid.measured)
        return f"Nothing with as few evaluations{budget} is better than {_joined(where)}."

    def _beats(self, entry: Entry, other: Entry) -> bool:
        return self._key(entry) < self._key(other) and differs(entry, other, self.metric)

    def _kind(self, entry: Entry) -> str:
        return self.board.method(entry.method).kind

    def _key(self, entry: Entry) -> float:
        found = entry.spread(self.metric)
        return self.sign * found.mean if found is not None else float("inf")

    def _named(self, entry: Entry) -> str:
        found = entry.spread(self.metric)
        assert found is not None
        return f"{self.names[entry.key.row]} ({naming.cell(found.mean, found.std)})"

    def _listed(self, entries: Sequence[Entry]) -> str:
        shown = [self._named(entry) for entry in entries[:NAMED]]
        rest = len(entries) - len(shown)
        return _joined([*shown, _counted(rest, "other row")] if rest else shown)


def summaries(board: Board, grids: Iterable[Grid]) -> list[Summary]:
    """What is said of each of these grids that has a value."""
    return [Teller(board, grid).summary() for grid in grids if grid.measured]


def _affords(budget: str, other: str) -> bool:
    """Whether `other` is no more than `budget`, as far as they can be compared."""
    if other in (FREE, budget):
        return True
    return budget.partition(" ")[2] == other.partition(" ")[2] and _amount(other) <= _amount(budget)


def _amount(budget: str) -> float:
    try:
        return float(budget.partition(" ")[0])
    except ValueError:
        return float("inf")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _joined(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("with") else text
