"""Properties of executors, on a trivial graph of tasks: an exact teacher, samples of it, a failure, a lock."""

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import yaml

from ....reports.status import Status
from ...plan.cells import make_plan
from ...plan.kinds import TeacherParams
from ...plan.task import Task
from ...run.executor import ExecutorSpec, Resources
from ...store import Store
from ...suite.loading import load
from .properties import NotApplicable, require

WORKERS = 2
PATIENCE = 90.0
"""Seconds after which a task that is not answered counts as lost."""
ENDING = 15.0
"""Seconds within which close() must return and leave nothing."""
SUITE: dict[str, Any] = {
    "name": "conformance",
    "datasets": "mixture-2d",
    "teachers": {"name": "exact"},
    "budgets": {"evaluations": 1000},
    "seeds": [0, 1],
    "nfe": [1, 2],
    "samples": 300,
    "truth": {"samples": 4},
    "metrics": ["rmse"],
    "methods": [{"name": "euler"}],
    "device": "cpu",
}
LONG: dict[str, Any] = {"teachers": {"name": "pretrain", "images": 10**8, "network": {"name": "mlp"}}}
"""A task that nobody waits for the end of."""


@dataclass
class ExecutorUnderTest:
    """A running executor with a store of its own, and what it has answered so far."""

    executor: Any
    store: Store
    folder: Path
    seen: list[tuple[str, str, Any]] = field(default_factory=list)
    broken: bool = False
    closed: bool = False

    def tasks(self, **changes: Any) -> list[Task]:
        """The tasks of the suite, inputs first."""
        file = self.folder / "suite.yaml"
        file.write_text(yaml.safe_dump({**SUITE, **changes}, sort_keys=False), encoding="utf-8")
        return make_plan(load(str(file))).tasks()

    def submit(self, task: Task) -> None:
        self.seen.append(("submitted", task.name, None))
        self.executor.submit(task)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.executor.close()

    def answers(self, tasks: list[Task]) -> dict[str, tuple[str, Any]]:
        """Submit the tasks as there is room; each one's answer (event, payload) by its name."""
        if self.broken:
            raise NotApplicable("a task was lost, see above")
        waiting = list(tasks)
        found: dict[str, tuple[str, Any]] = {}
        wanted = {task.name for task in tasks}
        deadline = time.monotonic() + PATIENCE
        while wanted - found.keys() and time.monotonic() < deadline:
            while waiting and self.executor.has_room:
                self.submit(waiting.pop(0))
            for event in self.executor.events(timeout=0.5):
                self.seen.append(event)
                if event[0] != "progress":
                    found[event[1]] = event[0], event[2]
        self.broken = bool(wanted - found.keys())
        require(
            not self.broken, f"{len(wanted - found.keys())} of {len(wanted)} tasks were not answered in {PATIENCE:g} s"
        )
        return found


@contextmanager
def running(start: Callable[[Path, int], Any]) -> Iterator[ExecutorUnderTest]:
    """An executor that start(root, workers) gives, closed at the end whatever happens."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        store.prepare()
        # A process of Python's own, which stays. Windows has none.
        if sys.platform != "win32":
            resource_tracker.ensure_running()
        subject = ExecutorUnderTest(start(store.root, WORKERS), store, Path(folder))
        try:
            yield subject
        finally:
            subject.close()


def under_test(spec: ExecutorSpec) -> AbstractContextManager[ExecutorUnderTest]:
    """The registered executor, running."""

    def start(root: Path, workers: int) -> Any:
        resources = Resources(root, workers, threads=1)
        spec.require(resources)
        return spec.start(resources)

    return running(start)


def room_is_told(subject: ExecutorUnderTest) -> None:
    """has_room and running follow what is submitted and answered."""
    executor, task = subject.executor, subject.tasks()[0]
    require(bool(executor.has_room), "a new executor has no room")
    require(list(executor.running) == [], "a new executor says that something is running")
    subject.submit(task)
    require([t.name for t in executor.running] == [task.name], "a submitted task is not among `running`")
    deadline = time.monotonic() + PATIENCE
    while executor.running and time.monotonic() < deadline:
        subject.seen += executor.events(timeout=0.5)
    subject.broken = bool(executor.running)
    require(not executor.running, f"the task was not answered in {PATIENCE:g} s: every task needs one final event")
    require(bool(executor.has_room), "there is no room once all tasks are answered")


def graph_is_done(subject: ExecutorUnderTest) -> None:
    """All tasks are done, inputs first, and their artifacts are in the store."""
    done: set[str] = set()
    tasks = subject.tasks()
    while ready := [t for t in tasks if t.name not in done and all(i.name in done for i in t.inputs.values())]:
        for name, (event, payload) in subject.answers(ready).items():
            require(event == "done", f"{name} is {event}: {payload}")
            require(subject.store.sound(name) is not None, f"{name} is said to be done, and is not in the store")
            done.add(name)
    require(len(done) == len(tasks), f"{len(done)} of {len(tasks)} tasks are done")


def events_are_in_order(subject: ExecutorUnderTest) -> None:
    """Of each task: progress from 0 to 1 that never falls, then one answer, then nothing."""
    if not any(event == "progress" for event, _, _ in subject.seen):
        raise NotApplicable("no task reported its progress")
    shares: dict[str, float] = {}
    for event, name, payload in subject.seen:
        if event == "submitted":
            shares[name] = 0.0
            continue
        require(name in shares, f"{name} has the event {event!r}, and was not submitted or is answered already")
        require(event in ("progress", "done", "busy", "failed", "died", "lost"), f"unknown event {event!r}")
        if event == "progress":
            require(shares[name] <= payload <= 1, f"the progress of {name} is {payload} after {shares[name]}")
            shares[name] = payload
        else:
            del shares[name]
    require(not shares, f"{len(shares)} submitted tasks have no answer")


def failures_are_one_line(subject: ExecutorUnderTest) -> None:
    task = subject.tasks()[0]
    bad = replace(task, params=_with(task, dataset="no-such-data"), label="a task that fails")
    event, status = subject.answers([bad])[bad.name]
    require(event == "failed", f"a task that cannot be done is {event!r}")
    require(isinstance(status, Status) and bool(status.reason), "a failed task has no Status with a reason")
    require("\n" not in status.reason, "a failed task's reason has several lines")


def _with(task: Task, **changed: Any) -> TeacherParams:
    """The parameters of a teacher's task with some changed."""
    return TeacherParams.model_validate({**task.params.dumped(), **changed})


def busy_tasks_come_again(subject: ExecutorUnderTest) -> None:
    """A task that somebody else is doing is answered with "busy", and can be submitted again."""
    first = subject.tasks()[0]
    task = replace(first, params=_with(first, teacher={**first.params.dumped()["teacher"], "sigma_max": 41.0}))
    with subject.store.work(task.name):
        event, _ = subject.answers([task])[task.name]
        require(event == "busy", f"a task whose lock another process holds is {event!r}, not 'busy'")
    event, _ = subject.answers([task])[task.name]
    require(event == "done", f"a task that was busy, submitted again, is {event!r}")


def close_ends_everything(subject: ExecutorUnderTest) -> None:
    """close() ends a task under way at once and leaves no process."""
    before = children()
    long = subject.tasks(**LONG)[0]
    if subject.executor.has_room:
        subject.submit(long)
        list(subject.executor.events(timeout=1.0))
    began = time.monotonic()
    subject.close()
    took = time.monotonic() - began
    require(took < ENDING, f"close() took {took:.0f} s with a task under way: end it at once, it resumes next time")
    left = (before | children()) & children()
    require(not left, f"close() leaves {len(left)} processes: {', '.join(map(str, sorted(left)))}")
    require(subject.store.sound(long.name) is None, "a task that was ended is in the store as if done")


def children() -> set[int]:
    """The processes that this one has started and that are alive, apart from those that Python keeps: its resource
    tracker, and what workers are forked off.
    """
    kept = {resource_tracker._resource_tracker._pid}  # type: ignore[attr-defined]
    if forks := sys.modules.get("multiprocessing.forkserver"):
        kept.add(forks._forkserver._forkserver_pid)
    found = {process.pid for process in multiprocessing.active_children() if process.pid is not None}
    for file in Path("/proc/self/task").glob("*/children"):
        found |= {int(pid) for pid in file.read_text(encoding="ascii").split()}
    return found - kept


PROPERTIES: dict[str, Callable[[ExecutorUnderTest], None]] = {
    "has_room and running tell the truth": room_is_told,
    "a graph of tasks is done, inputs first": graph_is_done,
    "events come in order, one answer a task": events_are_in_order,
    "a failure is one line": failures_are_one_line,
    "a busy task is said to be busy, and comes again": busy_tasks_come_again,
    "close() ends everything": close_ends_everything,
}
