"""Ranks and stars: who is better beyond doubt, among entries that may be compared."""

import itertools
from collections.abc import Sequence

import numpy as np

from .entries import Board, Entry
from .run_folder import Metric
from .significance import differ_from, differing

LEAST = 3
"""Among fewer entries nothing is starred."""
FLOOR = 0.1
"""Of two metrics that are a pair, both are at least so much where either is starred."""


def rank(board: Board, metric: str) -> None:
    """Rank the entries that have a value, within (data set, teacher, NFE) and protocol; budgets are ranked apart where
    there are several.

    An entry's rank is one more than the number of entries that are better than it on their common seeds beyond doubt
    (`differ`): rank 1 says that there is none. A star says the same of an entry among at least LEAST, and two stars
    that none of fewer NFE or a smaller budget is better either. Of precision and recall neither says much without the
    other: the star of either takes FLOOR of both. Rows that were made elsewhere have no rank.
    """

    def group(entry: Entry) -> tuple[str, ...]:
        return (*comparable(entry), str(entry.nfe), entry.budget if by_budget else "")

    def comparable(entry: Entry) -> tuple[str, ...]:
        return (*entry.key.problem, entry.protocols.get(metric, ""))

    facts, by_budget = board.about(metric), board.by_budget
    scored = [entry for entry in board.entries if entry.values.get(metric) and not entry.elsewhere]
    for _, members in itertools.groupby(sorted(scored, key=group), key=group):
        _rank(list(members), metric, facts)
    for _, members in itertools.groupby(sorted(scored, key=comparable), key=comparable):
        _mark_unbeaten(list(members), metric, facts)


def _rank(members: list[Entry], metric: str, facts: Metric) -> None:
    ordered = sorted(members, key=lambda entry: _badness(entry, metric, facts))
    apart = Values(ordered, metric).apart()
    ahead = np.tril(apart, -1).sum(1)
    behind = np.triu(apart, 1).sum(1)
    for position, entry in enumerate(ordered):
        entry.ranks[metric] = 1 + int(ahead[position])
        entry.last_ranks[metric] = len(ordered) - int(behind[position])
        entry.rivals[metric] = len(ordered)
        if entry.ranks[metric] == 1 and len(ordered) >= LEAST and _whole(entry, metric, facts.pair):
            entry.starred.add(metric)
    starred = np.array([metric in entry.starred for entry in ordered])
    for position, entry in enumerate(ordered):
        better = np.flatnonzero(apart[position, :position])
        if better.size and starred[better].all() and _whole(entry, metric, facts.pair):
            entry.second.add(metric)


def _mark_unbeaten(members: list[Entry], metric: str, facts: Metric) -> None:
    """Of the starred, those that no entry of at most their NFE and budget is ahead of beyond doubt."""
    badness = np.array([_badness(entry, metric, facts) for entry in members])
    nfe = np.array([entry.nfe for entry in members])
    units, amounts = (np.array(column) for column in zip(*map(_budget, members), strict=True))
    values = Values(members, metric)
    for position, entry in enumerate(members):
        if metric not in entry.starred:
            continue
        cheaper = (amounts == 0) | ((units == units[position]) & (amounts <= amounts[position]))
        better = np.flatnonzero(cheaper & (nfe <= nfe[position]) & (badness < badness[position]))
        if not values.apart_from(position, better).any():
            entry.unbeaten.add(metric)


def _budget(entry: Entry) -> tuple[str, float]:
    """(unit, amount); a text that is no budget is a unit of its own."""
    amount, _, unit = entry.budget.partition(" ")
    try:
        return unit, float(amount)
    except ValueError:
        return entry.budget, 1.0


class Values:
    """A metric of several entries by seed, to be compared on the seeds that they have in common."""

    def __init__(self, entries: Sequence[Entry], metric: str) -> None:
        seeds = {seed: i for i, seed in enumerate(sorted({s for e in entries for s in e.values[metric]}))}
        longest = max((len(b) for e in entries for b in e.without.get(metric, {}).values()), default=0)
        self.values = np.full((len(entries), len(seeds)), np.nan)
        self.blocks = np.full((len(entries), len(seeds), longest), np.nan)
        for i, entry in enumerate(entries):
            for seed, value in entry.values[metric].items():
                self.values[i, seeds[seed]] = value
            for seed, blocks in entry.without.get(metric, {}).items():
                self.blocks[i, seeds[seed], : len(blocks)] = blocks

    def apart_from(self, position: int, others: np.ndarray) -> np.ndarray:
        """Whether an entry differs beyond doubt from each of the others, which are given by their positions."""
        return differ_from(self.values[position], self.blocks[position], self.values[others], self.blocks[others])

    def apart(self) -> np.ndarray:
        """The same of each pair of entries."""
        return differing(self.values, self.blocks)


def _whole(entry: Entry, metric: str, pair: str | None) -> bool:
    """Whether the other half of a pair of metrics does not belie this one."""
    return pair is None or all(_mean(entry, name) >= FLOOR for name in (metric, pair))


def _badness(entry: Entry, metric: str, facts: Metric) -> float:
    """Lower is better."""
    return -_mean(entry, metric) if facts.higher_is_better else _mean(entry, metric)


def _mean(entry: Entry, metric: str) -> float:
    values = entry.values.get(metric)
    return float(np.mean(list(values.values()))) if values else float("nan")
