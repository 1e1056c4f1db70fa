"""Runs tasks: those that are missing from the store, on the workers, the first of the list that can be done first."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
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
    """Which task is next: inputs before what reads them, on as many places as the executor has."""

    def __init__(self, missing: list[Task], store: Store, executor: Executor, outcome: Outcome, progress: Progress):
        self.tasks = {task.name: task for task in missing}
        self.store, self.executor, self.outcome, self.progress = store, executor, outcome, progress
        self._waiting = list(missing)
        self._not_before: dict[str, float] = {}
        self._attempts: Counter[str] = Counter()
        self._handlers: dict[str, Callable[[Task, Any], None]] = {
            "progress": progress.advanced,
            "busy": self._busy,
            "done": self._done,
            "died": self._again,
            "failed": self._failed,
            "unwritable": self._stop,
        }

    def work(self) -> None:
        """Until nothing is left that can be done."""
        while self._waiting or self.executor.running:
            self._drop_doomed()
            self._submit_ready()
            self.progress.tick()
            if not self.executor.running:
                time.sleep(IDLE_SECONDS)
                continue
            for event, name, payload in self.executor.events(timeout=EVENT_SECONDS):
                self._handlers[event](self.tasks[name], payload)

    def _drop_doomed(self) -> None:
        """A task fails with the reason of the input that failed."""
        failures = self.outcome.failures
        for task in list(self._waiting):
            cause = next((needed.name for needed in task.inputs.values() if needed.name in failures), None)
            if cause is not None:
                self._waiting.remove(task)
                failures[task.name] = failures[cause]
                self.progress.dropped(task)

    def _submit_ready(self) -> None:
        for task in list(self._waiting):
            if not self.executor.has_room:
                break
            if not self._is_ready(task):
                continue
            self._waiting.remove(task)
            self.progress.started(task)
            self.executor.submit(task)

    def _is_ready(self, task: Task) -> bool:
        made = all(needed.name in self.outcome.artifacts for needed in task.inputs.values())
        return made and time.monotonic() >= self._not_before.get(task.name, 0)

    def _busy(self, task: Task, payload: Any) -> None:
        """Another run is doing it: look again in a while."""
        self.progress.waiting(task)
        self._not_before[task.name] = time.monotonic() + BUSY_SECONDS
        self._waiting.append(task)

    def _done(self, task: Task, payload: Any) -> None:
        artifact = self.store.sound(task.name)
        if artifact is None:
            return self._again(task, "its artifact is corrupt again")
        self.outcome.artifacts[task.name] = artifact
        self.progress.finished(task, artifact)

    def _again(self, task: Task, reason: str) -> None:
        """Its worker died or its artifact is corrupt: that may have been chance, once."""
        self._attempts[task.name] += 1
        if self._attempts[task.name] >= ATTEMPTS:
            return self._failed(task, Status(Kind.FAILED, reason))
        self.progress.waiting(task)
        self._waiting.append(task)

    def _stop(self, task: Task, reason: str) -> None:
        """No task could be stored: the run ends, and what was under way goes on from its checkpoint next time."""
        raise InputError(f"{self.store.root}: cannot write there: {reason}; the same command resumes from here")

    def _failed(self, task: Task, status: Status) -> None:
        self.outcome.failures[task.name] = status
        self.progress.failed(task, str(status))
