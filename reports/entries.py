"""A leaderboard in memory: its entries, in each of which the seeds are together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from . import jackknife
from .run_folder import ELSEWHERE, EntryKey, Method, Metric
from .significance import Spread, spread
from .status import Status
from .tables import Table

MADE_ELSEWHERE = "made elsewhere"
"""The kind of a row that was made elsewhere, whatever its method is called."""
EACH_ITS_OWN = "each row's own"
"""The teacher of a data set on which there are only rows with networks of their own."""

Problem = tuple[str, str]
"""Data set, teacher."""


@dataclass
class Entry:
    """A method at one NFE; `values` holds each metric's values by seed, as do `sources` and `without`."""

    key: EntryKey
    statuses: dict[str, Status] = field(default_factory=dict)
    """By metric: done, or the first reason among the seeds why a value is missing. Metrics nobody asked for lack."""
    values: dict[str, dict[int, float]] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)
    protocols: dict[str, str] = field(default_factory=dict)
    without: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    """The values without each block of samples, where they are known."""
    evaluations: float = 0.0
    """What training spent, the mean over seeds."""
    train_flops: float = math.nan
    """The same in FLOPs, and below of sampling per sample; NaN where unknown."""
    flops_per_image: float = math.nan
    suite: str = ""
    sources: dict[str, dict[int, tuple[str, ...]]] = field(default_factory=dict)
    """The labels of the folders that have the value."""
    lacked: dict[str, list[tuple[str, int, str]]] = field(default_factory=dict)
    """(label, seed, status) of folders that lack a value which another folder has."""
    ranks: dict[str, int] = field(default_factory=dict)
    """1 + the number of entries that are better beyond doubt."""
    last_ranks: dict[str, int] = field(default_factory=dict)
    """The number of entries, this one included, that are not worse beyond doubt."""
    rivals: dict[str, int] = field(default_factory=dict)
    """The number of entries ranked together, this one included."""
    starred: set[str] = field(default_factory=set)
    """Metrics by which none that it is ranked among is better beyond doubt."""
    unbeaten: set[str] = field(default_factory=set)
    """Those of them by which none of at most its NFE and budget is, either."""
    second: set[str] = field(default_factory=set)
    """Metrics by which only starred ones are."""

    @property
    def dataset(self) -> str:
        return self.key.dataset

    @property
    def teacher(self) -> str:
        return self.key.teacher

    @property
    def method(self) -> str:
        return self.key.method

    @property
    def variant(self) -> str:
        return self.key.variant

    @property
    def budget(self) -> str:
        return self.key.budget

    @property
    def nfe(self) -> int:
        return self.key.nfe

    @property
    def elsewhere(self) -> bool:
        return self.key.elsewhere

    @property
    def trained(self) -> bool:
        """Whether it was trained here, under a budget."""
        return self.budget not in ("", "0", *ELSEWHERE)

    def rank(self, metric: str) -> str:
        """`5`, or the range that it shares, `1-3`; empty without a value."""
        if metric not in self.ranks:
            return ""
        return "-".join(map(str, dict.fromkeys((self.ranks[metric], self.last_ranks[metric]))))

    def spread(self, metric: str) -> Spread | None:
        return spread(list(self.values[metric].values())) if self.values.get(metric) else None

    def errors(self, metric: str) -> tuple[float, float]:
        """(standard error from the noises, value corrected for the bias of few samples), the means over seeds; NaN."""
        known = [(self.values[metric][seed], blocks) for seed, blocks in self.without.get(metric, {}).items()]
        if not known or len(known) < len(self.values[metric]):
            return math.nan, math.nan
        error = sum(jackknife.standard_error(blocks) ** 2 for _, blocks in known) ** 0.5 / len(known)
        return error, sum(jackknife.corrected(value, blocks) for value, blocks in known) / len(known)


@dataclass
class Board:
    """suite: the names of all suites. facts: of the metrics that a metrics.json describes. methods: those that a
    methods.json describes, and papers what they cite, for BibTeX.
    """

    suite: str
    metrics: list[str]
    entries: list[Entry]
    facts: dict[str, Metric] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    """Of the folders that were read."""
    methods: dict[str, Method] = field(default_factory=dict)
    papers: str = ""
    costs: Table | None = None
    trials: Table | None = None
    decoding: Table | None = None

    def about(self, metric: str) -> Metric:
        return self.facts.get(metric, Metric.unknown(metric))

    def method(self, name: str) -> Method:
        return self.methods.get(name, Method(name))

    def kind(self, row: tuple[str, ...]) -> str:
        """Of the method of a row (`EntryKey.row`), or MADE_ELSEWHERE."""
        return MADE_ELSEWHERE if row[2] in ELSEWHERE else self.method(row[0]).kind

    @property
    def by_budget(self) -> bool:
        """Whether ranks are made for each budget apart, as there are several."""
        return len({entry.budget for entry in self.entries if not entry.elsewhere} - {"0"}) > 1

    @property
    def problems(self) -> list[Problem]:
        """In the order of the entries."""
        return list(self.shown)

    @cached_property
    def shown(self) -> dict[Problem, list[Entry]]:
        """Problem -> its entries. A row that was made elsewhere with a network of its own is beside the others of its
        data set, whatever their teacher; on several teachers, beside each.
        """
        here = dict.fromkeys(entry.key.problem for entry in self.entries if not entry.elsewhere)
        foreign = [entry for entry in self.entries if entry.elsewhere and entry.key.problem not in here]
        strangers = {id(entry) for entry in foreign}
        found: dict[Problem, list[Entry]] = {}
        for entry in self.entries:
            own = [entry.key.problem]
            for problem in _beside(entry, list(here), foreign) if id(entry) in strangers else own:
                found.setdefault(problem, []).append(entry)
        return found


def _beside(entry: Entry, here: Sequence[Problem], foreign: Sequence[Entry]) -> list[Problem]:
    """Where a row with a network of its own is shown; where it could not be told from another, by itself."""
    alike = [other for other in foreign if (other.dataset, other.key.row) == (entry.dataset, entry.key.row)]
    if any(other.nfe == entry.nfe and other is not entry for other in alike):
        return [entry.key.problem]
    beside = [problem for problem in here if problem[0] == entry.dataset]
    owners = {other.teacher for other in foreign if other.dataset == entry.dataset}
    return beside or [(entry.dataset, EACH_ITS_OWN) if len(owners) > 1 else entry.key.problem]
