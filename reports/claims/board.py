"""The board of claims as tables: what of the papers' sentences holds, and with what numbers."""

import math
from collections import Counter
from collections.abc import Sequence

from ..entries import Board
from ..naming import FREE, budget
from ..tables import Cell, Group, Table
from .decide import LEVEL, Outcome
from .judge import ALL, Judged, Part, corrected
from .model import Claim

SCALE = "at this scale: verdicts are about these networks, data and budgets, not about the papers' own runs"


def overview(board: Board, judged: Sequence[Judged]) -> Table:
    """A line per claim and context."""
    firm = corrected(judged)
    rows = [
        [
            Cell(one.claim.id),
            Cell(one.context.dataset),
            Cell(_budget(one)),
            Cell(one.outcome),
            Cell("yes" if holds else "" if one.outcome is not Outcome.HOLDS or one.claim.placebo else "no"),
            Cell("" if one.seeds is None else str(one.seeds)),
            Cell(_short(one)),
        ]
        for one, holds in zip(judged, firm, strict=True)
    ]
    columns = ["claim", "data set", "budget", "verdict", "corrected", "seeds", "A/B"]
    notes = [*foot(judged), *places(judged), *flips(judged), SCALE]
    return Table(f"{board.suite}: claims", columns, [Group("", rows)], notes, left=4)


def sentences(board: Board, judged: Sequence[Judged]) -> Table:
    """A line per claim, with its sentence and the verdict at each problem and budget; one that does not depend on the
    budget is the same at all.
    """
    columns = list(dict.fromkeys(_column(one) for one in judged if one.context.budget not in (FREE, ALL)))
    columns += dict.fromkeys(one.context.dataset for one in judged if not any(_under(name, one) for name in columns))
    kinds: dict[str, list[list[Cell]]] = {}
    for claim in {one.claim.id: one.claim for one in judged}.values():
        of = [one for one in judged if one.claim.id == claim.id]
        said = [next((str(one.outcome) for one in of if _under(name, one)), "") for name in columns]
        kinds.setdefault("controls" if claim.placebo else "", []).append([*_said(claim), *map(Cell, said)])
    groups = [Group(title, rows) for title, rows in kinds.items()]
    firm = f"holds also after Holm's correction for all of them: {sum(corrected(judged))}"
    notes = [*foot(judged)[:1], firm, *flips(judged), SCALE]
    named = ["claim", "what is said"]
    return Table(f"{board.suite}: what papers say", [*named, *columns], groups, notes, left=2 + len(columns))


def _said(claim: Claim) -> list[Cell]:
    where = f" ({claim.paper.where})" if claim.paper.where else ""
    return [Cell(claim.id), Cell(claim.paper.says + where, cites=(claim.paper.key,) if claim.paper.key else ())]


def _column(one: Judged) -> str:
    return f"{one.context.dataset}, {_budget(one)}"


def _under(column: str, one: Judged) -> bool:
    """Whether a verdict stands in a column."""
    dataset, _, budget = column.partition(", ")
    return one.context.dataset == dataset and (one.context.budget in (FREE, ALL) or _budget(one) == budget)


def places(judged: Sequence[Judged]) -> list[str]:
    """In how many of the problems, budgets and rule sets where it was run each claim holds, if there are several."""
    tested: dict[str, list[bool]] = {}
    for one in judged:
        if one.outcome is not Outcome.NOT_RUN and not one.claim.placebo:
            tested.setdefault(one.claim.id, []).append(one.outcome is Outcome.HOLDS)
    said = [f"{name} in {sum(holds)} of {len(holds)}" for name, holds in tested.items() if len(holds) > 1]
    return [f"holds: {', '.join(said)}"] if said else []


def flips(judged: Sequence[Judged]) -> list[str]:
    """Claims that hold under one rule set and do not under another, at one problem and budget."""
    found: dict[tuple[str, ...], set[Outcome]] = {}
    for one in judged:
        where = one.context
        found.setdefault((one.claim.id, where.dataset, where.teacher, where.budget), set()).add(one.outcome)
    names = dict.fromkeys(place[0] for place, said in found.items() if {Outcome.HOLDS, Outcome.FAILS} <= said)
    return [f"depends on tuning: {', '.join(names)}"] if names else []


def foot(judged: Sequence[Judged]) -> list[str]:
    """How many hold, how many would by chance, and what the columns say."""
    tested = [one for one in judged if one.outcome is not Outcome.NOT_RUN and not one.claim.placebo]
    counts = Counter(one.outcome for one in tested)
    said = ", ".join(f"{outcome} {counts[outcome]}" for outcome in (Outcome.HOLDS, Outcome.FAILS, Outcome.UNDECIDED))
    return [
        f"{len(tested)} tested: {said}; if none were true, {LEVEL * len(tested):.2g} would hold by chance",
        "corrected: holds also after Holm's correction for all of them; seeds: how many would decide at this scatter",
        "A/B: ratio with its 95 % interval over the seeds, of the comparison that is least sure; below 1 A is less",
    ]


def details(board: Board, judged: Sequence[Judged]) -> Table:
    """One claim: its sentence and every comparison in every context."""
    claim = judged[0].claim
    groups = []
    for one in judged:
        rows = [
            [Cell(part.text), Cell("" if part.nfe is None else str(part.nfe)), Cell(numbers(part)), *_verdict(part)]
            for part in one.parts
        ]
        absent = [[Cell(one.missing), Cell(), Cell(), Cell(Outcome.NOT_RUN), Cell()]] if one.missing else []
        groups.append(Group(f"{one.context.dataset}, {one.context.teacher}{_after(_budget(one))}", [*rows, *absent]))
    holds = sum(one.outcome is Outcome.HOLDS for one in judged)
    where = ", ".join(filter(None, (claim.paper.key, claim.paper.where)))
    metrics = dict.fromkeys(board.about(one.claim.metric).display for one in judged)
    notes = [
        f"metric {' and '.join(metrics)}; a gain of {100 * claim.negligible:g} % counts as none",
        *([f"in the paper: {claim.paper.scale}"] if claim.paper.scale else []),
        f"holds in {holds} of {len(judged)}",
    ]
    title = f"{claim.id}: “{claim.paper.says}”" + (f" ({where})" if where else "")
    return Table(title, ["test", "NFE", "A/B", "verdict", "seeds"], groups, notes, left=1, key=(board.suite, claim.id))


def numbers(part: Part) -> str:
    """`0.87 [0.72, 1.06]`: a ratio; with a % sign a difference in shares of B."""
    interval = part.decision.interval
    if interval.n == 0:
        return ""
    middle, low, high = interval.mean, interval.low, interval.high
    if part.scale == "ratio":
        middle, low, high = (math.exp(value) for value in (middle, low, high))
        ends = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
        return f"{middle:.2f}{ends}"
    ends = "" if math.isnan(low) else f" [{100 * low:+.0f}, {100 * high:+.0f}]"
    return f"{100 * middle:+.0f}{ends} %"


def _short(one: Judged) -> str:
    """The numbers of the comparison that decides."""
    of = [part for part in one.parts if part.decision.outcome is one.outcome]
    return numbers(max(of, key=lambda part: part.decision.p)) if of else ""


def _verdict(part: Part) -> tuple[Cell, Cell]:
    seeds = part.decision.seeds
    return Cell(part.decision.outcome), Cell("" if seeds is None else str(seeds))


def _budget(one: Judged) -> str:
    amount = "" if one.context.budget == FREE else budget(one.context.budget)
    return " ".join(filter(None, (amount, one.context.rules)))


def _after(text: str) -> str:
    return f", {text}" if text else ""
