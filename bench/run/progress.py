"""What runs, how far it is, how long it will take: one bar on a terminal, one line per task elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from ..plan.task import Task


class Progress:
    """Counts work in rough network evaluations, so that a long training weighs more than a score."""

    def __init__(self, stream: Any = None) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self._shares: dict[str, float] = {}
        self._running: dict[str, Task] = {}
        self._done = self._count = 0
        self._total = self._work = 0.0
        self._began = time.monotonic()
        self._bar: Any = None

    @contextmanager
    def over(self, tasks: list[Task]) -> Iterator[None]:
        """Show progress over `tasks` while the block runs."""
        self._total, self._count = sum(task.cost for task in tasks), len(tasks)
        self._began = time.monotonic()
        terminal = bool(getattr(self.stream, "isatty", lambda: False)())
        layout = "{percentage:3.0f}%|{bar:24}| {elapsed}<{remaining} {postfix}"
        self._bar = tqdm(total=self._total, file=self.stream, bar_format=layout, disable=not terminal, smoothing=0.05)
        try:
            yield
        finally:
            self._bar.close()

    def started(self, task: Task) -> None:
        self._running[task.name] = task
        self._show()
        if task.cost > 20_000:
            self._line(f"started  {task.label}")

    def advanced(self, task: Task, share: float) -> None:
        work = max(0.0, share - self._shares.get(task.name, 0.0)) * task.cost
        self._shares[task.name] = max(share, self._shares.get(task.name, 0.0))
        self._work += work
        self._bar.update(work)
        self._show()

    def finished(self, task: Task) -> None:
        self._close(task)
        self._line(f"finished {task.label}")

    def failed(self, task: Task, reason: str) -> None:
        self._close(task)
        self._line(f"FAILED   {task.label}: {reason}")

    def dropped(self, task: Task) -> None:
        """A task that will not run because one that it needs failed."""
        self._close(task)

    def waiting(self, task: Task) -> None:
        """Another run is doing this task."""
        self._running.pop(task.name, None)
        self._show()

    def _close(self, task: Task) -> None:
        self._running.pop(task.name, None)
        self._done += 1
        self.advanced(task, 1.0)

    def _show(self) -> None:
        now = [f"{task.label} {self._shares.get(task.name, 0):.0%}" for task in self._running.values()]
        self._bar.set_postfix_str(f"{self._done}/{self._count} tasks · " + ", ".join(now), refresh=True)

    def _line(self, text: str) -> None:
        """One line per task, where no bar can be drawn."""
        if self._bar.disable:
            spent = time.monotonic() - self._began
            share = self._work / self._total if self._total else 1.0
            left = f", about {spent * (1 - share) / share:.0f} s left" if share > 0.02 else ""
            print(f"[{spent:4.0f} s, {share:4.0%}{left}] {text}", file=self.stream, flush=True)
