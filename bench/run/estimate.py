"""How much of a run is done and how long the rest will take."""

import math
from collections.abc import Iterable

from ..plan.task import Task

MEMORY_SECONDS = 120.0
"""After so long of one kind of work, what was measured before weighs 1/e."""
LEAST_WORK = 100.0
"""What a task of cost 0 counts for, so that each moves the share."""
FIRST_SHARE = 0.05
"""Before so much is done nothing is said about the rest."""


def work(task: Task) -> float:
    """In rough network evaluations."""
    return max(task.cost, LEAST_WORK)


def evaluates(task: Task) -> bool:
    """Whether its time is that of network evaluations: the pace of others says nothing of what these take."""
    return task.cost > LEAST_WORK


def pace_of(task: Task) -> tuple[str, bool]:
    """What it shares a pace with: a teacher that is read says nothing of one that is trained."""
    return task.kind, evaluates(task)


class Rate:
    """Work per second on one worker, the latest counting most."""

    def __init__(self) -> None:
        self.work = self.seconds = 0.0

    def add(self, work: float, seconds: float) -> None:
        kept = math.exp(-seconds / MEMORY_SECONDS)
        self.work, self.seconds = kept * self.work + work, kept * self.seconds + seconds

    @property
    def known(self) -> bool:
        return self.work > 0 and self.seconds > 0

    @property
    def seconds_per_work(self) -> float:
        return self.seconds / self.work


class Estimate:
    """Of a run over `tasks`; `now` is in seconds from any zero."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self.tasks = {task.name: task for task in tasks}
        self.shares: dict[str, float] = {}
        self._since: dict[str, float] = {}
        self._rates: dict[tuple[str, bool], Rate] = {}
        self._overall = Rate()
        self._left_of: dict[tuple[str, bool], float] = {}
        for task in self.tasks.values():
            self._left_of[pace_of(task)] = self._left_of.get(pace_of(task), 0.0) + work(task)
        self._total, self._done = sum(self._left_of.values()), 0.0
        self._begun: dict[str, float] = {}
        self._workers = 1

    def started(self, task: Task, now: float) -> None:
        self._since[task.name] = now
        self._workers = max(self._workers, len(self._since))

    def stopped(self, task: Task) -> None:
        """It runs no longer, whether or not it is done."""
        self._since.pop(task.name, None)

    def advanced(self, task: Task, share: float, now: float) -> None:
        """A share that is smaller than before, or not within 0 and 1, moves nothing."""
        before = self.shares.get(task.name, 0.0)
        share = min(max(share, before), 1.0) if share == share else before
        self.shares[task.name] = share
        self._done += work(task) if share == 1.0 > before else 0.0
        self._begun[task.name] = share * work(task)
        if share == 1.0:
            del self._begun[task.name]
        self._left_of[pace_of(task)] -= (share - before) * work(task)
        if task.name in self._since:
            seconds = now - self._since[task.name]
            self._since[task.name] = now
            self._rates.setdefault(pace_of(task), Rate()).add((share - before) * work(task), seconds)
            if evaluates(task):
                self._overall.add((share - before) * work(task), seconds)

    @property
    def share(self) -> float:
        return min((self._done + sum(self._begun.values())) / self._total, 1.0) if self._total else 1.0

    @property
    def seconds_left(self) -> float | None:
        """None as long as too little is done to tell. At least what the longest running task needs."""
        if self.share < FIRST_SHARE or not self._overall.known:
            return None
        seconds = sum(max(left, 0.0) * self._pace(like) for like, left in self._left_of.items())
        return max(seconds / self._workers, max(map(self._left, self._since), default=0.0))

    def _left(self, name: str) -> float:
        """Seconds that a task still takes."""
        task = self.tasks[name]
        return (1.0 - self.shares.get(name, 0.0)) * work(task) * self._pace(pace_of(task))

    def _pace(self, like: tuple[str, bool]) -> float:
        """Seconds per work."""
        rate = self._rates.get(like)
        return (rate if rate is not None and rate.known else self._overall).seconds_per_work


def rounded(seconds: float) -> str:
    """As one says it: under a minute, about 7 min, about 45 min, about 3 h."""
    minutes = seconds / 60
    if minutes < 1:
        return "under a minute"
    if minutes < 10:
        return f"about {math.ceil(minutes)} min"
    if minutes < 90:
        return f"about {5 * math.ceil(minutes / 5)} min"
    return f"about {math.ceil(minutes / 60)} h"
