"""Ranks and stars: who is better beyond doubt, among entries that may be compared."""

import itertools

import numpy as np

from .entries import Board, Entry
from .run_folder import Metric
from .significance import differing

LEAST = 3
"""Among fewer entries nothing is starred."""
FLOOR = 0.1
"""Of two metrics that are a pair, both are at least so much where either is starred."""


def rank(board: Board, metric: str) -> None:
    """Rank the entries that have a value, within (data set, teacher, NFE) and protocol; budgets are ranked apart where
    there are several.

    An entry's rank is one more than the number of entries that are better than it on their common seeds beyond doubt
    (`differing`): rank 1 says that there is none. A star says the same of an entry among at least LEAST. Of precision
    and recall neither says much without the other: the star of either takes FLOOR of both.
    """

    by_budget = board.by_budget

    def group(entry: Entry) -> tuple[str, ...]:
        budget = entry.budget if by_budget else ""
        return (*entry.key.problem, str(entry.nfe), entry.protocols.get(metric, ""), budget)

    facts = board.about(metric)
    scored = [entry for entry in board.entries if entry.values.get(metric)]
    for _, members in itertools.groupby(sorted(scored, key=group), key=group):
        _rank(list(members), metric, facts)


def _rank(members: list[Entry], metric: str, facts: Metric) -> None:
    sign = -1 if facts.higher_is_better else 1
    ordered = sorted(members, key=lambda entry: sign * _mean(entry, metric))
    apart = _apart(ordered, metric)
    for position, entry in enumerate(ordered):
        entry.ranks[metric] = 1 + sum(apart[position][:position])
        entry.last_ranks[metric] = len(ordered) - sum(apart[position][position + 1 :])
        entry.rivals[metric] = len(ordered)
        if entry.ranks[metric] == 1 and len(ordered) >= LEAST and _whole(entry, metric, facts.pair):
            entry.starred.add(metric)


def _whole(entry: Entry, metric: str, pair: str | None) -> bool:
    """Whether the other half of a pair of metrics does not belie this one."""
    return pair is None or all(_mean(entry, name) >= FLOOR for name in (metric, pair))


def _apart(entries: list[Entry], metric: str) -> list[list[bool]]:
    """Which of the entries differ, on the seeds that two of them have in common."""
    seeds = {seed: i for i, seed in enumerate(dict.fromkeys(seed for e in entries for seed in e.values[metric]))}
    blocks = max((len(found) for e in entries for found in e.without.get(metric, {}).values()), default=1)
    values = np.full((len(entries), len(seeds)), np.nan)
    without = np.full((len(entries), len(seeds), blocks), np.nan)
    for i, entry in enumerate(entries):
        for seed, value in entry.values[metric].items():
            values[i, seeds[seed]] = value
        for seed, found in entry.without.get(metric, {}).items():
            without[i, seeds[seed], : len(found)] = found
    apart: list[list[bool]] = differing(values, without).tolist()
    return apart


def _mean(entry: Entry, metric: str) -> float:
    found = entry.spread(metric)
    return found.mean if found is not None else float("nan")
