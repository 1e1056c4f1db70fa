"""The verdict of a claim on the results of a run: per problem, budget and rule set."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import jackknife, leaderboard
from ..entries import Board, Entry
from ..naming import FREE
from .decide import Decision, Interval, Outcome, holm, less, together, within
from .model import Claim, Row, Sweep, Test

ALL = "all budgets"
RULES = re.compile(r"\s*tuned of \d+$")
UNTRAINED = Row(method="euler", nfe=1)
"""A run of a sweep that diverged counts as samples without training, the teacher's at one evaluation."""


class ClaimError(ValueError):
    """A claim names rows that the results cannot tell apart; one line."""


@dataclass(frozen=True)
class Context:
    """Where a claim is judged: a data set with a teacher, the budget of its trained rows, and their rule set."""

    dataset: str
    teacher: str
    budget: str
    rules: str

    def entries(self, board: Board) -> list[Entry]:
        return [
            entry
            for entry in board.entries
            if entry.key.problem == (self.dataset, self.teacher)
            and entry.budget in (self.budget, FREE)
            and rules(entry) in (self.rules, "" if entry.budget == FREE else self.rules)
        ]


@dataclass(frozen=True)
class Part:
    """One elementary comparison: what was compared at which NFE, and what came out.

    scale: "ratio" where the interval is of log A/(f B), "difference" where it is of (A - f B + margin) in shares of B.
    """

    text: str
    nfe: int | None
    scale: str
    decision: Decision


@dataclass(frozen=True)
class Judged:
    claim: Claim
    context: Context
    parts: tuple[Part, ...]
    missing: str = ""
    """What was not run, if something was not."""

    @property
    def outcome(self) -> Outcome:
        return Outcome.NOT_RUN if self.missing else together([part.decision.outcome for part in self.parts])

    @property
    def p(self) -> float:
        """Of a conjunction: the largest."""
        return max((part.decision.p for part in self.parts), default=1.0)

    @property
    def seeds(self) -> int | None:
        """How many seeds would decide what is undecided, at the present scatter."""
        if self.outcome is not Outcome.UNDECIDED:
            return None
        wanted = [part.decision.seeds for part in self.parts if part.decision.outcome is Outcome.UNDECIDED]
        return None if not wanted or None in wanted else max(n for n in wanted if n is not None)


def rules(entry: Entry) -> str:
    found = RULES.search(entry.variant)
    return found[0].strip() if found else ""


def contexts(board: Board) -> list[Context]:
    """Of each problem every budget with every rule set; of runs without training, the one without either."""
    found: dict[Context, None] = {}
    for entry in board.entries:
        if entry.budget != FREE:
            found[Context(*entry.key.problem, entry.budget, rules(entry))] = None
    trained = {(c.dataset, c.teacher) for c in found}
    for problem in board.problems:
        if problem not in trained:
            found[Context(*problem, FREE, "")] = None
    return list(found)


def judge(board: Board, claims: Sequence[Claim]) -> list[Judged]:
    """Every claim in every context of the board: one without trained rows once per problem, and one about the speed of
    training once for all budgets. A budget at which none of a claim's trained rows was run is no context of it.
    """
    found: dict[tuple[str, ...], Judged] = {}
    for claim in claims:
        over_budgets = all(test.kind == "faster" for test in claim.tests)
        for context in contexts(board):
            trained = any(entry.budget != FREE for entry in named(board, claim, context))
            where = context if trained else replace(context, budget=FREE, rules="")
            where = replace(where, budget=ALL) if trained and over_budgets else where
            place = (claim.id, where.dataset, where.teacher, where.budget, where.rules)
            if place not in found:
                found[place] = replace(_judged(board, claim, context), context=where)
    elsewhere = {place[:3] for place, one in found.items() if one.context.budget != FREE}
    return [
        one
        for place, one in found.items()
        if not (one.context.budget == FREE and one.missing and place[:3] in elsewhere)
    ]


def over(boards: Sequence[tuple[Sequence[Path], Sequence[Claim]]]) -> tuple[Board, list[Judged]]:
    """The claims of several boards, each judged on the rows of its own folders, claim by claim, and all their rows."""
    read = [(leaderboard.read(*folders), claims) for folders, claims in boards]
    found = [one for board, claims in read for one in judge(board, claims)]
    place = {name: i for i, name in enumerate(dict.fromkeys(one.claim.id for one in found))}
    suites = " + ".join(dict.fromkeys(board.suite for board, _ in read))
    facts = {name: metric for board, _ in read for name, metric in board.facts.items()}
    named = Board(suites, list(facts), [entry for board, _ in read for entry in board.entries], facts)
    return named, sorted(found, key=lambda one: place[one.claim.id])


def corrected(judged: Sequence[Judged]) -> list[bool]:
    """Which hold after Holm's correction for all that were tested together; placebos are not among them."""
    tested = [i for i, one in enumerate(judged) if one.outcome is not Outcome.NOT_RUN and not one.claim.placebo]
    found = [False] * len(judged)
    for i, holds in zip(tested, holm([judged[i].p for i in tested]), strict=True):
        found[i] = holds and judged[i].outcome is Outcome.HOLDS
    return found


def named(board: Board, claim: Claim, context: Context) -> list[Entry]:
    """The entries that the claim names in this context."""
    own = context.entries(board)
    rows = [row for test in claim.tests for row in test.rows]
    return [entry for entry in own if any(_names(row, entry) for row in rows)]


def _judged(board: Board, claim: Claim, context: Context) -> Judged:
    parts: list[Part] = []
    try:
        for test in claim.tests:
            parts += _compared(board, claim, test, context)
    except LookupError as absent:
        return Judged(claim, context, tuple(parts), str(absent.args[0]))
    return Judged(claim, context, tuple(parts))


def _compared(board: Board, claim: Claim, test: Test, context: Context) -> Iterator[Part]:
    own, facts = context.entries(board), board.about(claim.metric)
    nfes: list[int | None] = [*claim.at.nfe] or [None]
    if test.kind == "faster":
        yield Part(str(test), None, "ratio", _decided(_areas(board, claim, test, context), claim, test))
        return
    compared: list[tuple[Row | None, Row | None]] = [*_pairs(test)] or [(None, None)]
    for a, b in compared:
        found = []
        for nfe in nfes:
            if test.split is not None:
                found.append((nfe, _split(_find(own, test.split, nfe), claim.metric)))
            elif a is None or b is None:
                found.append((nfe, _excesses(own, claim, test, nfe)))
            else:
                pair = _find(own, a, nfe), _find(own, b, nfe)
                found.append((nfe, _differences(*pair, claim.metric, test, facts.log_scale)))
        text = str(test) if a is None or test.kind in ("less", "close") else f"{a} < {test.by}{b}"
        if claim.at.combine == "mean-log" and len(found) > 1:
            averaged = _averaged([differences for _, differences in found])
            yield Part(text, None, averaged.scale, _decided(averaged, claim, test))
        else:
            yield from (Part(text, nfe, d.scale, _decided(d, claim, test)) for nfe, d in found)


def _decided(differences: "Differences", claim: Claim, test: Test) -> Decision:
    ratio = differences.scale == "ratio"
    if test.share is not None:
        low, high = (math.log1p(-test.share), math.log1p(test.share)) if ratio else (-test.share, test.share)
        return within(differences.interval, low, high)
    return less(differences.interval, -math.log1p(-claim.negligible) if ratio else claim.negligible)


def _pairs(test: Test) -> list[tuple[Row, Row]]:
    """The elementary comparisons of a test: each left row is less than, or close to, the right one."""
    if test.order is not None:
        return list(zip(test.order, test.order[1:], strict=False))
    if test.over is not None:
        assert test.dominates is not None
        return [(test.dominates, other) for other in test.over]
    first, second = (test.less or test.close), (test.than or test.to)
    return [(first, second)] if first is not None and second is not None else []


def _names(row: Row, entry: Entry) -> bool:
    variant = RULES.sub("", entry.variant)
    return entry.method == row.method and row.variant in (None, variant) and row.nfe in (None, entry.nfe)


def _find(entries: Sequence[Entry], row: Row, nfe: int | None) -> Entry:
    """LookupError if it was not run; ClaimError if several variants have the name."""
    wanted = row.nfe if row.nfe is not None else nfe
    found = [entry for entry in entries if _names(row, entry) and entry.nfe == wanted]
    if len({entry.variant for entry in found}) > 1:
        variants = ", ".join(repr(entry.variant) for entry in found)
        raise ClaimError(f"{row.method} has several variants, {variants}: a claim must name one")
    if not found:
        raise LookupError(f"{row} at NFE {wanted} was not run")
    return found[0]


@dataclass(frozen=True)
class Differences:
    """By seed, of the seeds that both have. errors: by the paired jackknife over the noises, empty if not known."""

    values: dict[int, float]
    errors: dict[int, float]
    scale: str

    @property
    def interval(self) -> Interval:
        n = len(self.values)
        known = n > 0 and self.errors.keys() == self.values.keys()
        noise = math.sqrt(math.fsum(error**2 for error in self.errors.values())) / n if known else 0.0
        return Interval.of(list(self.values.values()), noise)


def _value(entry: Entry, metric: str, seed: int, log: bool) -> float:
    """A distance without its bias of order 1/samples where that is known."""
    value, blocks = entry.values[metric][seed], entry.without.get(metric, {}).get(seed)
    return jackknife.corrected(value, blocks) if log and blocks else value


@dataclass(frozen=True)
class Comparison:
    """log A - log(f B), or (A - f B + margin)/size, of numbers or arrays."""

    ratio: bool
    factor: float
    margin: float
    size: float

    def __call__(self, a: Any, b: Any) -> Any:
        a, b = np.asarray(a), np.asarray(b)
        return np.log(a) - np.log(self.factor * b) if self.ratio else (a - self.factor * b + self.margin) / self.size


def _differences(first: Entry, second: Entry, metric: str, test: Test, log: bool) -> Differences:
    """Ratios of distances; plain differences in shares of B where values are no distances or not all above 0."""
    seeds = sorted(first.values.get(metric, {}).keys() & second.values.get(metric, {}).keys())
    if not seeds:
        raise LookupError(f"{first.method} and {second.method} have no value of {metric} on a common seed")
    a, b = ([_value(entry, metric, seed, log) for seed in seeds] for entry in (first, second))
    size = math.fsum(map(abs, b)) / len(seeds) or 1.0
    compare = Comparison(log and not test.margin and min(*a, *b) > 0, test.factor, test.margin, size)
    errors = {seed: _error(first, second, metric, seed, compare) for seed in seeds}
    return Differences(
        {seed: float(compare(x, y)) for seed, x, y in zip(seeds, a, b, strict=True)},
        {seed: error for seed, error in errors.items() if error is not None},
        "ratio" if compare.ratio else "difference",
    )


def _error(first: Entry, second: Entry, metric: str, seed: int, compare: Comparison) -> float | None:
    """The paired jackknife's standard error of one seed's difference; None if it is not known."""
    a, b = (entry.without.get(metric, {}).get(seed) or [] for entry in (first, second))
    if not a or len(a) != len(b) or (compare.ratio and min(*a, *b) <= 0):
        return None
    return jackknife.standard_error(compare(a, b))


def _averaged(parts: Sequence[Differences]) -> Differences:
    """The mean over NFEs, seed by seed. Errors are added as if the NFEs shared their noises, which they do."""
    seeds = set.intersection(*(set(part.values) for part in parts))
    if len({part.scale for part in parts}) > 1 or not seeds:
        raise LookupError("the NFEs have no seed in common, or no common scale")
    values = {s: math.fsum(part.values[s] for part in parts) / len(parts) for s in sorted(seeds)}
    known = all(seeds <= part.errors.keys() for part in parts)
    errors = {s: math.fsum(part.errors[s] for part in parts) / len(parts) for s in seeds} if known else {}
    return Differences(values, errors, parts[0].scale)


def _split(entry: Entry, metric: str) -> Differences:
    """The logarithms of a row's values on its even seeds less those on the seeds after them."""
    values = entry.values.get(metric, {})
    pairs = {s: (values[s], values[s + 1]) for s in sorted(values) if s % 2 == 0 and s + 1 in values}
    if not pairs or min(map(min, pairs.values())) <= 0:
        raise LookupError(f"{entry.method} has no pairs of seeds with values above 0")
    return Differences({s: math.log(even / odd) for s, (even, odd) in pairs.items()}, {}, "ratio")


def _excesses(entries: Sequence[Entry], claim: Claim, test: Test, nfe: int | None) -> Differences:
    """e_A - e_B by seed, where e is the mean of the log metric over a sweep less its least."""
    assert test.flatter is not None
    assert test.than_sweep is not None
    sides = [_excess(entries, claim.metric, sweep, nfe) for sweep in (test.flatter, test.than_sweep)]
    seeds = sides[0].keys() & sides[1].keys()
    if not seeds:
        raise LookupError(f"{test.flatter} and {test.than_sweep} have no seed in common")
    return Differences({s: sides[0][s] - sides[1][s] for s in sorted(seeds)}, {}, "ratio")


def _excess(entries: Sequence[Entry], metric: str, sweep: Sweep, nfe: int | None) -> dict[int, float]:
    rows = [_find(entries, Row(method=sweep.method, variant=variant), nfe) for variant in sweep.variants]
    seeds = set.union(*(set(row.values.get(metric, {})) for row in rows))
    found = {}
    for seed in seeds:
        values = [row.values.get(metric, {}).get(seed) for row in rows]
        if None in values:
            untrained = _find(entries, UNTRAINED, None).values.get(metric, {})
            values = [untrained.get(seed) if value is None else value for value in values]
        logs = [math.log(value) for value in values if value is not None and value > 0]
        if len(logs) == len(values):
            found[seed] = math.fsum(logs) / len(logs) - min(logs)
    return found


def _areas(board: Board, claim: Claim, test: Test, context: Context) -> Differences:
    """The mean over the logarithm of the budget of log A - log B, by the trapezoidal rule, seed by seed."""
    assert test.faster is not None
    assert test.than is not None
    budgets = {c.budget: c for c in contexts(board) if replace(c, budget=context.budget) == context}
    (nfe,) = claim.at.nfe or (None,)
    curves: dict[float, dict[int, float]] = {}
    for amount, where in ((float(budget.split()[0]), where) for budget, where in budgets.items()):
        own = where.entries(board)
        pair = _find(own, test.faster, nfe), _find(own, test.than, nfe)
        curves[amount] = _differences(*pair, claim.metric, test, True).values
    if len(curves) < 2:
        raise LookupError("the area under a curve takes two budgets")
    amounts = sorted(curves)
    seeds = set.intersection(*map(set, curves.values()))
    logs = np.log(amounts)
    areas = {
        s: float(np.trapezoid([curves[a][s] for a in amounts], logs) / (logs[-1] - logs[0])) for s in sorted(seeds)
    }
    return Differences(areas, {}, "ratio")
