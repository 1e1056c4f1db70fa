"""Ranks and stars: who is better beyond doubt, among entries that may be compared."""

import itertools

from .entries import Board, Entry
from .run_folder import Metric
from .significance import differ

LEAST = 3
"""Among fewer entries nothing is starred."""
FLOOR = 0.1
"""Of two metrics that are a pair, both are at least so much where either is starred."""


def rank(board: Board, metric: str) -> None:
    """Rank the entries that have a value, within (data set, teacher, NFE) and protocol; budgets are ranked apart where
    there are several.

    An entry's rank is one more than the number of entries that are better than it on their common seeds beyond doubt
    (`differ`): rank 1 says that there is none. A star says the same of an entry among at least LEAST. Of precision and
    recall neither says much without the other: the star of either takes FLOOR of both.
    """

    def group(entry: Entry) -> tuple[str, ...]:
        budget = entry.budget if board.by_budget else ""
        return (*entry.key.problem, str(entry.nfe), entry.protocols.get(metric, ""), budget)

    facts = board.about(metric)
    scored = [entry for entry in board.entries if entry.values.get(metric)]
    for _, members in itertools.groupby(sorted(scored, key=group), key=group):
        _rank(list(members), metric, facts)


def _rank(members: list[Entry], metric: str, facts: Metric) -> None:
    sign = -1 if facts.higher_is_better else 1
    ordered = sorted(members, key=lambda entry: sign * _mean(entry, metric))
    apart = [[differs(one, two, metric) for two in ordered] for one in ordered]
    for position, entry in enumerate(ordered):
        entry.ranks[metric] = 1 + sum(apart[position][:position])
        entry.last_ranks[metric] = len(ordered) - sum(apart[position][position + 1 :])
        entry.rivals[metric] = len(ordered)
        if entry.ranks[metric] == 1 and len(ordered) >= LEAST and _whole(entry, metric, facts.pair):
            entry.starred.add(metric)
    for position, entry in enumerate(ordered):
        ahead = [other for other, worse in zip(ordered[:position], apart[position], strict=False) if worse]
        starred = bool(ahead) and all(metric in other.starred for other in ahead)
        if starred and _whole(entry, metric, facts.pair):
            entry.second.add(metric)


def _whole(entry: Entry, metric: str, pair: str | None) -> bool:
    """Whether the other half of a pair of metrics does not belie this one."""
    return pair is None or all(_mean(entry, name) >= FLOOR for name in (metric, pair))


def differs(entry: Entry, other: Entry, metric: str) -> bool:
    """Whether two entries differ on their common seeds, of which there must be one."""
    common = sorted(set(entry.values[metric]) & set(other.values[metric]))
    one, two = ([e.values[metric][seed] for seed in common] for e in (entry, other))
    known = [e.without.get(metric, {}) for e in (entry, other)]
    blocks = [(known[0][seed], known[1][seed]) for seed in common if all(seed in k for k in known)]
    return bool(common) and differ(one, two, blocks)


def _mean(entry: Entry, metric: str) -> float:
    found = entry.spread(metric)
    return found.mean if found is not None else float("nan")
