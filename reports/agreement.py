"""Whether two boards put the same rows in the same order, though their data sets and distances differ."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd

from .entries import Board, Entry, Problem
from .exact import DISTANCES
from .naming import FREE, budget
from .rank_correlation import LEAST, NONE, Correlation, Groups, ranks, spearman, spearman_interval, tau_b, tau_interval
from .ranking import Values
from .status import Kind
from .tables import Cell, Group, Table

Key = tuple[str, str, str, int]
"""Method, variant, budget, NFE: what a row is called on both boards."""
ALL = "all"
COLUMNS = ("nfe", "budget", "rows", "tau", "tau_low", "tau_high", "rho", "rho_low", "rho_high", "sure", "same")


@dataclass(frozen=True)
class Agreement:
    """Of the rows of one NFE and budget, or of all of them (nfe None): the rows that a leaderboard would compare.

    problems: on each board. sure: pairs of rows that are told apart beyond doubt on both boards; same: those of them in
    the same order. tau, rho: NaN with fewer than LEAST rows.
    """

    problems: tuple[Problem, Problem]
    nfe: int | None
    budget: str
    rows: int
    tau: Correlation = NONE
    rho: Correlation = NONE
    sure: int = 0
    same: int = 0


@dataclass
class Found:
    """left_out: why rows are not among those compared -> how many, of each board."""

    agreements: list[Agreement] = field(default_factory=list)
    left_out: dict[str, list[int]] = field(default_factory=dict)


def metrics(boards: Sequence[Board], wanted: str | None = None) -> list[str]:
    """What each board is ordered by: `wanted`, or else its own Fréchet distance, or the first metric that both have.

    ValueError where there is no such metric.
    """
    both = [name for name in boards[0].metrics if name in boards[1].metrics]
    if wanted is not None:
        if wanted not in both:
            raise ValueError(f"no metric {wanted!r} on both boards; both have {', '.join(both) or 'none'}")
        return [wanted, wanted]
    own = [next((name for name in board.metrics if name.startswith(DISTANCES)), None) for board in boards]
    found = own if None not in own else both[:1] * 2
    if not found:
        raise ValueError("the boards have no metric in common, nor a Fréchet distance each")
    return [name for name in found if name is not None]


def agreements(boards: Sequence[Board], names: Sequence[str]) -> Found:
    """Of two boards by these metrics: for each NFE and budget, then over all of them.

    Rows are the same where method, variant, budget and NFE are. A row that diverged for a seed is last; rows made
    elsewhere and rows without a value are left out; rows that are one computation count once.
    """
    found = Found()
    for problems in _paired(*(list(dict.fromkeys(e.key.problem for e in board.entries)) for board in boards)):
        sides = [_rows(b, p, m, found, i) for i, (b, p, m) in enumerate(zip(boards, problems, names, strict=True))]
        keys = [key for key in sides[0] if key in sides[1]]
        for i in (0, 1):
            _count(found, "the other board does not have", i, len(sides[i]) - len(keys))
        groups = [_once(group, sides, names) for group in _groups(keys)]
        groups = [group for group in groups if len(group) > 1]
        found.agreements += [_agreement(problems, [group], sides, names) for group in groups]
        if len(groups) != 1:
            found.agreements.append(_agreement(problems, groups, sides, names))
    return found


def _paired(first: list[Problem], second: list[Problem]) -> Iterator[tuple[Problem, Problem]]:
    """A problem that both boards have with itself, the others each with each."""
    alone = [problem for problem in second if problem not in first]
    for one in first:
        yield from ((one, other) for other in ([one] if one in second else alone))


def _rows(board: Board, problem: Problem, metric: str, found: Found, side: int) -> dict[Key, Entry]:
    rows: dict[Key, Entry] = {}
    for entry in board.entries:
        if entry.key.problem != problem or metric not in entry.statuses:
            continue
        if entry.elsewhere:
            _count(found, "were made elsewhere", side, 1)
        elif not entry.values.get(metric) and not _diverged(entry, metric):
            _count(found, "have no value", side, 1)
        else:
            rows[entry.method, entry.variant, entry.budget, entry.nfe] = entry
    return rows


def _count(found: Found, reason: str, side: int, number: int) -> None:
    found.left_out.setdefault(reason, [0, 0])[side] += number


def _diverged(entry: Entry, metric: str) -> bool:
    return entry.statuses[metric].kind is Kind.DIVERGED


def _groups(keys: Sequence[Key]) -> Iterator[list[Key]]:
    """The rows that a leaderboard compares: those of one NFE and budget, and those of no budget."""
    budgets = list(dict.fromkeys(key[2] for key in keys if key[2] != FREE)) or [FREE]
    for nfe in sorted({key[3] for key in keys}):
        here = [key for key in keys if key[3] == nfe]
        own = [name for name in budgets if any(key[2] == name for key in here)] or [FREE]
        yield from ([key for key in here if key[2] in (name, FREE)] for name in own)


def _once(group: list[Key], sides: Sequence[dict[Key, Entry]], names: Sequence[str]) -> list[Key]:
    """Without rows that are one computation with an earlier one: equal on both boards, such as Euler and any multistep
    solver at one evaluation."""
    placed = [_ranks(group, side, name) for side, name in zip(sides, names, strict=True)]
    kept: dict[tuple[float, ...], Key] = {}
    for key, *place in zip(group, *placed, strict=True):
        finite = all(not _diverged(side[key], name) for side, name in zip(sides, names, strict=True))
        kept.setdefault((*place,) if finite else (*place, float(len(kept))), key)
    return list(kept.values())


def _ranks(group: Sequence[Key], side: dict[Key, Entry], metric: str) -> np.ndarray:
    return ranks([_value(side[key], metric) for key in group])


def _value(entry: Entry, metric: str) -> float:
    """The mean over the seeds; infinite if one diverged."""
    return math.inf if _diverged(entry, metric) else float(np.mean(list(entry.values[metric].values())))


def _agreement(
    problems: tuple[Problem, Problem],
    groups: Sequence[list[Key]],
    sides: Sequence[dict[Key, Entry]],
    names: Sequence[str],
) -> Agreement:
    rows = list(dict.fromkeys(key[:2] for group in groups for key in group))
    nfe, spent = None, ALL
    if len(groups) == 1:
        nfe, spent = groups[0][0][3], next((key[2] for key in groups[0] if key[2] != FREE), FREE)
    if len(rows) < LEAST:
        return Agreement(problems, nfe, spent, len(rows))
    places = [tuple(_ranks(g, side, name) for side, name in zip(sides, names, strict=True)) for g in groups]
    numbered: Groups = tuple(tuple(rows.index(key[:2]) for key in group) for group in groups)
    tau = tau_interval(float(tau_b(places)), numbered)  # type: ignore[arg-type]
    rho = spearman_interval(float(spearman(places)), numbered)  # type: ignore[arg-type]
    sure = [_sure(group, place, sides, names) for group, place in zip(groups, places, strict=True)]
    return Agreement(problems, nfe, spent, len(rows), tau, rho, *(sum(part) for part in zip(*sure, strict=True)))


def _sure(
    group: Sequence[Key], places: tuple[np.ndarray, ...], sides: Sequence[dict[Key, Entry]], names: Sequence[str]
) -> tuple[int, int]:
    """(pairs told apart beyond doubt on both boards, those of them in the same order)."""
    apart = np.ones((len(group), len(group)), dtype=bool)
    for side, name in zip(sides, names, strict=True):
        last = np.array([_diverged(side[key], name) for key in group])
        valued = [i for i in range(len(group)) if side[group[i]].values.get(name)]
        told = np.zeros_like(apart)
        told[np.ix_(valued, valued)] = Values([side[group[i]] for i in valued], name).apart()
        apart &= np.where(last[:, None] | last[None, :], last[:, None] != last[None, :], told)
    pairs = [(i, j) for i, j in combinations(range(len(group)), 2) if apart[i, j]]
    same = [np.sign(places[0][i] - places[0][j]) == np.sign(places[1][i] - places[1][j]) for i, j in pairs]
    return len(pairs), sum(map(bool, same))


def table(found: Found, boards: Sequence[Board], names: Sequence[str]) -> Table:
    """A line per NFE and budget, the last over all."""
    groups: dict[str, list[list[Cell]]] = {}
    several = len({one.problems for one in found.agreements}) > 1
    for one in found.agreements:
        title = " and ".join(", ".join(problem) for problem in one.problems) if several else ""
        groups.setdefault(title, []).append(_line(one))
    suites = " and ".join(board.suite for board in boards)
    columns = ["NFE", "budget", "rows", "tau-b", "[95 %]", "Spearman", "[95 %]", "sure"]
    rows = [Group(title, lines) for title, lines in groups.items()]
    if not any(one.budget not in (FREE, ALL) for one in found.agreements):
        columns.remove("budget")
        rows = [Group(group.title, [[line[0], *line[2:]] for line in group.rows]) for group in rows]
    return Table(f"{suites}: are the rows in the same order?", columns, rows, _notes(found, boards, names), left=1)


def _line(one: Agreement) -> list[Cell]:
    nfe = ALL if one.nfe is None else str(one.nfe)
    spent = ALL if one.budget == ALL else budget(one.budget)
    head = [Cell(nfe), Cell(spent if one.nfe is not None else ""), Cell(str(one.rows))]
    if math.isnan(one.tau.value):
        return [*head, Cell("too few"), Cell(), Cell(), Cell(), Cell()]
    return [*head, *_numbers(one.tau), *_numbers(one.rho), Cell(f"{one.same}/{one.sure}")]


def _numbers(found: Correlation) -> tuple[Cell, Cell]:
    return Cell(f"{found.value:.2f}"), Cell(f"[{found.low:.2f}, {found.high:.2f}]")


def _notes(found: Found, boards: Sequence[Board], names: Sequence[str]) -> list[str]:
    of = [f"{board.about(name).display} on {letter}" for board, name, letter in zip(boards, names, "AB", strict=True)]
    left = [
        f"{' and '.join(f'{n} of {letter}' for n, letter in zip(counts, 'AB', strict=True) if n)} {reason}"
        for reason, counts in found.left_out.items()
        if any(counts)
    ]
    return [
        f"by {' and '.join(of)}, means over the seeds; rows are the same in method, options, budget and NFE",
        "all: over the pairs within each NFE and budget; 1 is the same order, 0 what chance gives, -1 the reverse",
        "95 %: for rows drawn from a normal law of two variables, exact by simulation; luck of the seeds draws all "
        "values to 0",
        "sure: pairs in the same order, of those that are told apart beyond doubt on both boards",
        f"fewer than {LEAST} rows are too few; rows that are one computation count once; one that diverged is last",
        *([f"rows not compared: {'; '.join(left)}"] if left else []),
    ]


def to_frame(found: Found) -> pd.DataFrame:
    """The same in full precision; nfe and budget are `all` over all, numbers of too few rows empty."""
    lines = []
    for one in found.agreements:
        place = [name for problem in one.problems for name in problem]
        numbers = [*asdict(one.tau).values(), *asdict(one.rho).values()]
        lines.append([*place, ALL if one.nfe is None else one.nfe, one.budget, one.rows, *numbers, one.sure, one.same])
    return pd.DataFrame(lines, columns=["dataset_a", "teacher_a", "dataset_b", "teacher_b", *COLUMNS])
