"""Runs tasks: those that are missing from the store, in the order of their inputs, on the workers."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..plan.task import Task
from ..store import Artifact, Store
from .executors import LocalExecutor
from .progress import Progress
from .signals import terminable

# What others wait for longest comes first; within a kind, the plan's order.
PRIORITY = {
    kind: i for i, kind in enumerate(["teacher", "extractor", "reference", "train", "tune", "truth", "sample", "score"])
}
BUSY_SECONDS = 1.0
ATTEMPTS = 2
"""How often a task is tried whose worker was killed, or whose artifact turned out to be corrupt."""


@dataclass
class Outcome:
    """The artifacts of a plan by task name, and why other tasks have none: they failed, or were not run."""

    artifacts: dict[str, Artifact] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def look_up(tasks: Iterable[Task], store: Store) -> Outcome:
    """What the store already holds; corrupt artifacts are set aside."""
    found = {task.name: store.sound(task.name) for task in tasks}
    return Outcome({name: artifact for name, artifact in found.items() if artifact is not None})


def run(tasks: list[Task], store: Store, make_executor: Callable[[int], LocalExecutor], progress: Progress) -> Outcome:
    """Do what is missing. A task that fails takes those that need it along; the others go on.

    make_executor: from the number of tasks to a running executor. Raises Terminated at SIGTERM, its workers ended.
    """
    outcome = look_up(tasks, store)
    missing = [task for task in tasks if task.name not in outcome.artifacts]
    if not missing:
        return outcome
    with terminable():
        executor = make_executor(len(missing))
        try:
            with progress.over(missing):
                _schedule(missing, store, executor, outcome, progress)
        finally:
            executor.close()
    return outcome


def _schedule(missing: list[Task], store: Store, executor: LocalExecutor, outcome: Outcome, progress: Progress) -> None:
    waiting = sorted(missing, key=lambda task: PRIORITY[task.kind])
    not_before: dict[str, float] = {}
    attempts: Counter[str] = Counter()
    tasks = {task.name: task for task in missing}
    while waiting or executor.running:
        for task in [task for task in waiting if _is_doomed(task, outcome)]:
            waiting.remove(task)
            cause = next(t for t in task.inputs.values() if t.name in outcome.failures)
            outcome.failures[task.name] = outcome.failures[cause.name]
            progress.dropped(task)
        ready = [
            task for task in waiting if _is_ready(task, outcome) and time.monotonic() >= not_before.get(task.name, 0)
        ]
        for task in ready:
            if not executor.has_room:
                break
            waiting.remove(task)
            progress.started(task)
            executor.submit(task)
        if not executor.running:
            time.sleep(0.05)
            continue
        for event, name, payload in executor.events(timeout=0.5):
            task = tasks[name]
            if event == "progress":
                progress.advanced(task, payload)
            elif event == "busy":
                progress.waiting(task)
                not_before[name] = time.monotonic() + BUSY_SECONDS
                waiting.append(task)
            elif event == "done" and (artifact := store.sound(name)) is not None:
                outcome.artifacts[name] = artifact
                progress.finished(task)
            elif event in ("done", "died"):
                attempts[name] += 1
                if attempts[name] < ATTEMPTS:
                    progress.waiting(task)
                    waiting.append(task)
                else:
                    outcome.failures[name] = payload or "its artifact is corrupt again"
                    progress.failed(task, outcome.failures[name])
            else:
                outcome.failures[name] = payload
                progress.failed(task, payload)


def _is_ready(task: Task, outcome: Outcome) -> bool:
    return all(needed.name in outcome.artifacts for needed in task.inputs.values())


def _is_doomed(task: Task, outcome: Outcome) -> bool:
    return any(needed.name in outcome.failures for needed in task.inputs.values())
