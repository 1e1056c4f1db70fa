"""A worker on another machine, with the store on a shared file system. No torch before there is a task.

Tasks reach it as JSON; how far they are goes into a file beside their checkpoints, which the run reads.
"""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...reports.status import Kind, Status
from ...reports.writing import PART
from ..plan import source_version
from ..plan.task import Task, torch_version
from ..store import Store
from .allocator import keep_freed_memory
from .executor import Event, Resources
from .worker import execute, quiet_libraries

SHARE = f"share{PART}"
"""Removed with all that is unfinished when the artifact is sealed."""
SECONDS = 2.0
"""Between two looks at how far a task is."""
PREFIX, NAMES = "FEWSTEP_", ("HF_HOME", "TORCH_HOME", "WANDB_MODE", "XDG_CACHE_HOME")
"""What a worker takes over of the environment of the run."""


@dataclass(frozen=True)
class Origin:
    """What a worker must know of the run that it works for: plain values, which any version of Python can read.

    folder: where the command was given, from which relative paths are read. threads: of OpenMP.
    """

    root: str
    folder: str
    environment: dict[str, str]
    threads: int

    @classmethod
    def here(cls, resources: Resources) -> "Origin":
        kept = {key: value for key, value in os.environ.items() if key.startswith(PREFIX) or key in NAMES}
        return cls(str(resources.root.absolute()), os.getcwd(), kept, resources.threads)

    def enter(self) -> str | None:
        """Make this process a worker of the run; the reason if it cannot be one."""
        for folder in (self.folder, self.root):
            if not os.path.isdir(folder):
                machine = f"{os.uname().nodename}: " if hasattr(os, "uname") else ""
                return f"{machine}there is no {folder}: a cluster needs it on a file system that all machines share"
        os.chdir(self.folder)
        # Read by OpenMP when torch is imported, which follows.
        os.environ |= self.environment | {"OMP_NUM_THREADS": str(self.threads)}
        keep_freed_memory()
        quiet_libraries()
        return None

    def do(self, task: dict[str, Any], threads: int, holder: str) -> tuple[str, Any]:
        """One task's answer, as `execute` has it."""
        if (reason := _differs(task)) is not None:
            return "failed", Status(Kind.FAILED, reason)
        import torch

        torch.set_num_threads(threads)
        return execute(task, Store(Path(self.root), holder), _Told(_share_file(self.root, _name(task))))


def shares(root: Path, tasks: Iterable[Task]) -> Iterator[Event]:
    """How far tasks are that workers do elsewhere, of those that say so."""
    for task in tasks:
        with suppress(OSError, ValueError):
            share = float(_share_file(root, task.name).read_text(encoding="ascii"))
            if 0 <= share <= 1:
                yield "progress", task.name, share


class _Told:
    """Writes shares to a file, not more often than it is read."""

    def __init__(self, file: Path) -> None:
        self._file, self._last = file, 0.0

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if now - self._last >= SECONDS:
            self._last = now
            self._file.write_text(f"{share:.4f}", encoding="ascii")


def _name(task: dict[str, Any]) -> str:
    return f"{task['kind']}-{task['key']}"


def _share_file(root: Path | str, name: str) -> Path:
    return Path(root) / ".work" / name / SHARE


def _differs(task: dict[str, Any]) -> str | None:
    """What this machine would make the artifact with, other than the task says; None if all is the same."""
    if task["torch"] != torch_version():
        return f"a worker has torch {torch_version()}, and this machine {task['torch']}"
    here = source_version.digests(*task["sources"])
    changed = [name for name, digest in task["sources"].items() if here.get(name) != digest]
    return f"a worker has another version of {changed[0]} than this machine" if changed else None
