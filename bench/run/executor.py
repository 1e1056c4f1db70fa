"""Where tasks run: what the runner asks of an executor, and those that there are. No torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from ...methods.register import Register
from ..errors import InputError
from ..plan.task import Task

Event = tuple[str, str, Any]
"""("progress", task name, share) | ("done" | "busy", task name, None) | ("failed", task name, Status) | ("died", task
name, reason): its worker ended before it answered | ("lost", task name, reason): the machine of its worker went away |
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

    gpus: as CUDA_VISIBLE_DEVICES names those of one worker; each sees one entry, in turn. devices: of a task.
    Of clusters alone: device, as the suite has it; address, of one that runs already; options, by the names of its own
    command. `workers` is then the most that there may be.
    """

    root: Path
    workers: int
    threads: int
    gpus: Sequence[str] = ()
    threads_of: Mapping[str, int] = field(default_factory=dict)
    device: str = "cpu"
    address: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    devices: int = 1

    def threads_for(self, task: Task) -> int:
        return self.threads_of.get(task.name, self.threads)


@dataclass(frozen=True)
class ExecutorSpec:
    """`target` is "module:factory", called with Resources when a run has something to do.

    package: what must be installed, by the extra of the executor's name. check: "module:function", called with
    Resources before anything runs; raises InputError. cluster: whether tasks run on other machines than this one.
    """

    name: str
    target: str
    summary: str
    package: str = ""
    check: str = ""
    cluster: bool = False

    def require(self, resources: Resources) -> None:
        """InputError if tasks cannot be run so."""
        if self.package and find_spec(self.package) is None:
            raise InputError(
                f"--executor {self.name} needs the package {self.package}: pip install 'fewstep[{self.name}]'"
            )
        if self.check:
            _named(self.check)(resources)

    def start(self, resources: Resources) -> Executor:
        executor: Executor = _named(self.target)(resources)
        return executor


def _named(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


LOCAL = ExecutorSpec(
    name="local",
    target=f"{__package__}.local:LocalExecutor",
    summary="processes on this machine, one per GPU or per core",
    check=f"{__package__}.local:require",
)
RAY = ExecutorSpec(
    name="ray",
    target=f"{__package__}.ray:RayExecutor",
    summary="a Ray cluster, or Ray on this machine",
    package="ray",
    check=f"{__package__}.ray:connect",
    cluster=True,
)
SLURM = ExecutorSpec(
    name="slurm",
    target=f"{__package__}.slurm:SlurmExecutor",
    summary="jobs of SLURM, through submitit",
    package="submitit",
    check=f"{__package__}.slurm:require",
    cluster=True,
)
EXECUTORS: Register[ExecutorSpec] = Register(
    "executor", "fewstep.executors", lambda: [LOCAL, RAY, SLURM], of=ExecutorSpec
)
