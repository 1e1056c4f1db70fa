"""What runs, how far it is, how long it will take: a few lines redrawn on a terminal, now and then a line elsewhere."""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from ..plan.task import Task
from ..store import Artifact
from .estimate import Estimate, rounded

REDRAW_SECONDS, HEARTBEAT_SECONDS = 1.0, 30.0
LINES = 8
"""So many workers have a line of their own."""


class Verbosity(IntEnum):
    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


class Progress:
    """The runner says what happens, and calls `tick` several times a second.

    On a terminal the lines are drawn again each second. Elsewhere there is a line each half minute or, if verbose, for
    each task. Nothing is written if quiet.

    clock: seconds from any zero. so_far: told of each artifact, returns the best results until now in a few words.
    """

    def __init__(
        self,
        stream: Any = None,
        verbosity: Verbosity = Verbosity.NORMAL,
        clock: Callable[[], float] = time.monotonic,
        so_far: Callable[[Task, Artifact], str] | None = None,
    ) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self.verbosity, self.clock, self._so_far = verbosity, clock, so_far
        self.terminal = bool(getattr(self.stream, "isatty", lambda: False)())
        self._running: dict[str, Task] = {}
        self._failures: Counter[str] = Counter()
        self._estimate = Estimate([])
        self._words = ""
        self._ended = self._drawn = 0
        self._began = self._last = clock()

    @contextmanager
    def over(self, tasks: list[Task]) -> Iterator[None]:
        """Show progress over `tasks` while the block runs."""
        self._estimate = Estimate(tasks)
        self._began = self._last = self.clock()
        self._show()
        try:
            yield
        finally:
            self._clear()
            for reason, count in self._failures.items():
                if count > 1:
                    self._print(f"FAILED   {count} tasks: {reason}")
            self._print(f"{self._ended} of {len(tasks)} tasks in {_clock(self.clock() - self._began)}")

    def tick(self) -> None:
        """Draw, if it is time."""
        if self.clock() - self._last >= (REDRAW_SECONDS if self.terminal else HEARTBEAT_SECONDS):
            self._show()

    def note(self, text: str) -> None:
        """A step that is none of the tasks."""
        self._print(text)

    def started(self, task: Task) -> None:
        self._running[task.name] = task
        self._estimate.started(task, self.clock())
        self._verbose(f"started  {task.label}")

    def advanced(self, task: Task, share: float) -> None:
        self._estimate.advanced(task, share, self.clock())

    def finished(self, task: Task, artifact: Artifact) -> None:
        self._end(task)
        if self._so_far is not None:
            self._words = self._so_far(task, artifact) or self._words
        self._verbose(f"finished {task.label}")

    def failed(self, task: Task, reason: str) -> None:
        """Each reason is written once, when it first appears, and at the end how many tasks had it."""
        self._end(task)
        alike = reason.replace(task.name, "...")  # In the path of its log.
        self._failures[alike] += 1
        if self._failures[alike] == 1:
            self._clear()
            self._print(f"FAILED   {task.label}: {reason}")

    def dropped(self, task: Task) -> None:
        """A task that will not run because one that it needs failed."""
        self._end(task)

    def waiting(self, task: Task) -> None:
        """Another run is doing this task."""
        self._running.pop(task.name, None)
        self._estimate.stopped(task)

    def lost(self, task: Task, reason: str) -> None:
        """It runs no longer, and will be run again."""
        self.waiting(task)
        self._clear()
        self._print(f"LOST     {task.label}: {reason}; it is run again")

    def _end(self, task: Task) -> None:
        self._running.pop(task.name, None)
        self._ended += 1
        self._estimate.advanced(task, 1.0, self.clock())
        self._estimate.stopped(task)

    def _show(self) -> None:
        self._last = self.clock()
        if self.verbosity is Verbosity.QUIET:
            return
        if not self.terminal:
            running = "; ".join(self._worker(task) for task in list(self._running.values())[:LINES])
            self._print(", ".join(part for part in (self._head(), running, self._best()) if part))
            return
        lines = [self._head(), *([self._best()] if self._words else [])]
        lines += [f"  {self._worker(task)}" for task in list(self._running.values())[:LINES]]
        if len(self._running) > LINES:
            lines.append(f"  and {len(self._running) - LINES} more")
        width = shutil.get_terminal_size().columns - 1
        self._clear()
        self.stream.write("".join(f"{line[:width]}\n" for line in lines))
        self.stream.flush()
        self._drawn = len(lines)

    def _head(self) -> str:
        spent = _clock(self.clock() - self._began)
        if not self._running and not self._estimate.shares:
            return f"{spent}, starting workers"
        share = min(int(100 * self._estimate.share), 100 if self._ended == len(self._estimate.tasks) else 99)
        left = self._estimate.seconds_left
        ahead = f", {rounded(left)} left" if left is not None else ""
        return f"{spent}, {share} %{ahead}, {self._ended} of {len(self._estimate.tasks)} tasks"

    def _worker(self, task: Task) -> str:
        return f"{min(self._estimate.shares.get(task.name, 0.0), 0.99):4.0%} {task.label}"

    def _best(self) -> str:
        return f"so far: {self._words}" if self._words else ""

    def _verbose(self, text: str) -> None:
        if self.verbosity is Verbosity.VERBOSE:
            self._clear()
            self._print(f"{self._head()}: {text}")

    def _clear(self) -> None:
        """Take back what was drawn last."""
        if self._drawn:
            self.stream.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0

    def _print(self, text: str) -> None:
        if self.verbosity is not Verbosity.QUIET:
            print(text, file=self.stream, flush=True)


def _clock(seconds: float) -> str:
    """Such as 0:07 or 1:02:33."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
