"""CPU seconds and memory of planning and scheduling a sweep of many cells whose tasks cost nothing.

python -m fewstep.bench.benchmarks.many_cells [CELLS...]
"""

import io
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from ..plan.cells import Plan, make_plan
from ..plan.task import Task
from ..run.executor import Executor
from ..run.progress import Progress
from ..run.runner import Outcome, Schedule, look_up
from ..store import Artifact, Store
from ..suite.loading import checked

PLACES = 64
"""Tasks at a time."""
GRIDS, NFES = 10, 10


def sweep(cells: int) -> Plan:
    """Euler on several grids at several NFEs with as many seeds as make at least so many cells: samples and scores, and
    exact solutions for each seed.
    """
    seeds = -(-cells // (GRIDS * NFES))
    rows = "\n".join(
        f"  - {{name: euler, options: {{grid: {{spacing: karras, rho: {3 + i / 10}}}}}}}" for i in range(GRIDS)
    )
    text = (
        f"name: many\ndatasets: mixture-2d\nteachers: exact\nseeds: {list(range(seeds))}\n"
        f"nfe: {list(range(1, NFES + 1))}\nmetrics: [fd_law, rmse]\nsamples: 64\nmethods:\n{rows}\n"
    )
    return make_plan(checked("many", text))


class Nothing:
    """A store in which a task that was done has an artifact that holds nothing."""

    def __init__(self) -> None:
        self.made: set[str] = set()

    def sound(self, name: str) -> Artifact | None:
        return cast(Artifact, self) if name in self.made else None


class Places:
    """An executor whose tasks are done as soon as it is asked. `most`: how many it had at once."""

    def __init__(self, store: Nothing) -> None:
        self.store, self.running, self.most = store, deque[Task](), 0

    @property
    def has_room(self) -> bool:
        return len(self.running) < PLACES

    def submit(self, task: Task) -> None:
        self.running.append(task)
        self.most = max(self.most, len(self.running))

    def events(self, timeout: float) -> Iterator[tuple[str, str, Any]]:
        task = self.running.popleft()
        self.store.made.add(task.name)
        yield "done", task.name, None


@dataclass(frozen=True)
class Measured:
    """planned, scheduled: in CPU seconds. megabytes: of the process, at most."""

    cells: int
    tasks: int
    planned: float
    scheduled: float
    most_at_once: int
    megabytes: float


def measure(cells: int) -> Measured:
    """AssertionError unless everything is done."""
    started = time.process_time()
    plan = sweep(cells)
    tasks = plan.tasks()
    planned = time.process_time() - started
    store = Nothing()
    places, progress = Places(store), Progress(stream=io.StringIO())
    outcome: Outcome = look_up(tasks, cast(Store, store))
    started = time.process_time()
    with progress.over(tasks):
        Schedule(tasks, cast(Store, store), cast(Executor, places), outcome, progress).work()
    scheduled = time.process_time() - started
    assert len(outcome.artifacts) == len(tasks)
    return Measured(len(plan.cells), len(tasks), planned, scheduled, places.most, _most_megabytes())


def _most_megabytes() -> float:
    if sys.platform == "win32":
        return float("nan")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    for cells in map(int, sys.argv[1:] or ["10000", "100000"]):
        found = measure(cells)
        each = 1e6 * found.scheduled / found.tasks
        print(f"{found.cells} cells, {found.tasks} tasks: planned in {found.planned:.1f} CPU s, scheduled in", end=" ")
        print(f"{found.scheduled:.1f} ({each:.0f} us a task, {found.most_at_once} at once), {found.megabytes:.0f} MB")


if __name__ == "__main__":
    main()
