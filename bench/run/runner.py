"""Runs tasks: those that are missing from the store, on the workers, the first of the list that can be done first."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from ...reports.status import Kind, Status
from ..errors import InputError
from ..plan.task import Task
from ..store import Artifact, Store
from .executor import Executor
from .progress import Progress
from .signals import terminable

BUSY_SECONDS, IDLE_SECONDS, EVENT_SECONDS = 1.0, 0.05, 0.5
ATTEMPTS = 2
"""How often a task is tried whose worker was killed, or whose artifact turned out to be corrupt."""


@dataclass
class Outcome:
    """The artifacts of a plan by task name, and why other tasks have none: they failed, or were not run."""

    artifacts: dict[str, Artifact] = field(default_factory=dict)
    failures: dict[str, Status] = field(default_factory=dict)
    absent: dict[str, Status] = field(default_factory=dict)


def look_up(tasks: Iterable[Task], store: Store) -> Outcome:
    """What the store already holds; corrupt artifacts are set aside."""
    found = {task.name: store.sound(task.name) for task in tasks}
    return Outcome({name: artifact for name, artifact in found.items() if artifact is not None})


def run(tasks: list[Task], store: Store, make_executor: Callable[[int], Executor], progress: Progress) -> Outcome:
    """Do what is missing. A task that fails takes those that need it along; the others go on.

    make_executor: from the number of tasks to a running executor. Raises Terminated at SIGTERM, InputError where
    the disk takes no more; the workers are then ended.
    """
    outcome = look_up(tasks, store)
    missing = [task for task in tasks if task.name not in outcome.artifacts]
    try:
        if missing:
            with terminable(), progress.over(missing):
                executor = make_executor(len(missing))
                try:
                    Schedule(missing, store, executor, outcome, progress).work()
                finally:
                    executor.close()
    finally:
        store.tidy()
    return outcome


class Schedule:
    """Which task is next: inputs before what reads them, on as many places as the executor has.

    What is tried again, or waits for another run, comes last.
    """

    def __init__(self, missing: list[Task], store: Store, executor: Executor, outcome: Outcome, progress: Progress):
        self.tasks = {task.name: task for task in missing}
        self.store, self.executor, self.outcome, self.progress = store, executor, outcome, progress
        self._readers: dict[str, list[Task]] = {}
        self._lacking: dict[str, int] = {}
        self._places: dict[str, int] = {}
        self._ready: list[tuple[int, str]] = []
        self._busy_until: deque[tuple[float, Task]] = deque()
        self._attempts: Counter[str] = Counter()
        self._handlers: dict[str, Callable[[Task, Any], None]] = {
            "progress": progress.advanced,
            "busy": self._busy,
            "done": self._done,
            "died": self._again,
            "lost": self._lost,
            "failed": self._failed,
            "unwritable": self._stop,
        }
        for place, task in enumerate(missing):
            lacking = {needed.name for needed in task.inputs.values()} - outcome.artifacts.keys()
            for name in lacking:
                self._readers.setdefault(name, []).append(task)
            self._lacking[task.name], self._places[task.name] = len(lacking), place
            if not lacking:
                heappush(self._ready, (place, task.name))

    def work(self) -> None:
        """Until nothing is left that can be done."""
        while self._ready or self._busy_until or self.executor.running:
            self._submit_ready()
            self.progress.tick()
            if not self.executor.running:
                time.sleep(IDLE_SECONDS)
                continue
            for event, name, payload in self.executor.events(timeout=EVENT_SECONDS):
                self._handlers[event](self.tasks[name], payload)

    def _submit_ready(self) -> None:
        while self._busy_until and self._busy_until[0][0] <= time.monotonic():
            self._put_last(self._busy_until.popleft()[1])
        while self._ready and self.executor.has_room:
            task = self.tasks[heappop(self._ready)[1]]
            self.progress.started(task)
            self.executor.submit(task)

    def _put_last(self, task: Task) -> None:
        self._places[task.name] += len(self.tasks)
        heappush(self._ready, (self._places[task.name], task.name))

    def _busy(self, task: Task, payload: Any) -> None:
        """Another run is doing it: look again in a while."""
        self.progress.waiting(task)
        self._busy_until.append((time.monotonic() + BUSY_SECONDS, task))

    def _done(self, task: Task, payload: Any) -> None:
        artifact = self.store.sound(task.name)
        if artifact is None:
            return self._again(task, "its artifact is corrupt again")
        self.outcome.artifacts[task.name] = artifact
        self.progress.finished(task, artifact)
        for reader in self._readers.pop(task.name, []):
            self._lacking[reader.name] -= 1
            if not self._lacking[reader.name]:
                heappush(self._ready, (self._places[reader.name], reader.name))

    def _again(self, task: Task, reason: str) -> None:
        """Its worker died or its artifact is corrupt: that may have been chance, once."""
        self._attempts[task.name] += 1
        if self._attempts[task.name] >= ATTEMPTS:
            return self._failed(task, Status(Kind.FAILED, reason))
        self.progress.waiting(task)
        self._put_last(task)

    def _lost(self, task: Task, reason: str) -> None:
        """The machine went away, which is not the task's fault however often it happens."""
        self.progress.lost(task, reason)
        self._put_last(task)

    def _stop(self, task: Task, reason: str) -> None:
        """No task could be stored: the run ends, and what was under way goes on from its checkpoint next time."""
        raise InputError(f"{self.store.root}: cannot write there: {reason}; the same command resumes from here")

    def _failed(self, task: Task, status: Status) -> None:
        """All that needs the task fails with its reason."""
        self.outcome.failures[task.name] = status
        self.progress.failed(task, str(status))
        waiting = self._readers.pop(task.name, [])
        while waiting:
            reader = waiting.pop()
            if reader.name not in self.outcome.failures:
                self.outcome.failures[reader.name] = status
                self.progress.dropped(reader)
                waiting += self._readers.pop(reader.name, [])
