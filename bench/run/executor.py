"""Where tasks run: what the runner asks of an executor, and those that there are. No torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ...methods.register import Register
from ..plan.task import Task

Event = tuple[str, str, Any]
"""("progress", task name, share) | ("done" | "busy", task name, None) | ("failed", task name, Status) | ("died", task
name, reason): its worker ended before it answered |
("unwritable", task name, reason): the disk of the store took no more."""


class Executor(Protocol):
    """Makes the artifacts of tasks in a store, some at a time.

    A task that is submitted is answered by exactly one event that is not "progress".
    """

    @property
    def has_room(self) -> bool:
        """Whether another task can be submitted now."""
        ...

    @property
    def running(self) -> list[Task]:
        """The tasks that are submitted and not answered."""
        ...

    def submit(self, task: Task) -> None:
        """Begin a task; only while there is room."""
        ...

    def events(self, timeout: float) -> Iterator[Event]:
        """What happened, after waiting up to `timeout` seconds for something."""
        ...

    def close(self) -> None:
        """End everything at once; a task that had begun resumes from its checkpoint next time."""
        ...


@dataclass(frozen=True)
class Resources:
    """root: the store's folder. threads: torch threads of a task; threads_of: of tasks, by name, that take more.

    gpus: as CUDA_VISIBLE_DEVICES names them; each worker sees one, in turn.
    """

    root: Path
    workers: int
    threads: int
    gpus: Sequence[str] = ()
    threads_of: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ExecutorSpec:
    """`target` is "module:factory", called with Resources when a run has something to do."""

    name: str
    target: str
    summary: str

    def start(self, resources: Resources) -> Executor:
        module, _, factory = self.target.partition(":")
        executor: Executor = getattr(import_module(module), factory)(resources)
        return executor


LOCAL = ExecutorSpec(
    name="local",
    target=f"{__package__}.local:LocalExecutor",
    summary="processes on this machine, one per GPU or per core",
)
EXECUTORS: Register[ExecutorSpec] = Register("executor", "fewstep.executors", lambda: [LOCAL], of=ExecutorSpec)
