"""The executor that comes with fewstep: a pool of worker processes on this machine."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from .. import machine
from ..plan.task import Task
from . import worker
from .executor import Event, Resources
from .signals import held_back

SPINS = "10000"
"""How often a thread of GNU's OpenMP looks whether the others are done before it sleeps.

By default it looks until its time slice ends, and where another program has one of the cores a step of a small network
takes 20 times as long with two threads as with one; with this, 1.2 times as long, and on idle cores no longer.
"""

IMPORTED = ["torch", "pytorch_lightning"]
"""What takes seconds to import and hundreds of MB, once for all workers where they are forked."""


def require(resources: Resources) -> None:
    """InputError if this machine lacks the device that the suite asks for."""
    machine.require(resources.device)


class LocalExecutor:
    """Worker processes, each with its torch threads; they end with this process, however it ends."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self._idle: list[int] = []
        self._slots: list[tuple[Any, Connection]] = []
        self._running: dict[int, Task] = {}
        try:
            for slot in range(resources.workers):
                self._slots.append(self._start(slot))
                self._idle.append(slot)
        except BaseException:
            self.close()
            raise

    def _start(self, slot: int) -> tuple[Any, Any]:
        context = _context(self.resources)
        ours, theirs = context.Pipe()
        # Read by OpenMP when torch is imported, before any code of ours runs there.
        os.environ["OMP_NUM_THREADS"] = str(self.resources.threads)
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
        if self.resources.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.resources.gpus[slot % len(self.resources.gpus)]
        process = context.Process(target=worker.main, args=(theirs, self.resources.root, dict(os.environ)))
        # A child inherits the mask: Ctrl-C while it still imports must not end it with a traceback. The
        # tracker, which multiprocessing starts with the first child, would lift it. Windows has neither.
        if sys.platform != "win32":
            resource_tracker.ensure_running()
        with held_back(signal.SIGINT, signal.SIGTERM):
            process.start()
        theirs.close()
        return process, ours

    @property
    def has_room(self) -> bool:
        return bool(self._idle)

    @property
    def running(self) -> list[Task]:
        return list(self._running.values())

    def submit(self, task: Task) -> None:
        """Give `task` to an idle worker."""
        slot = self._idle.pop(0)
        self._running[slot] = task
        with contextlib.suppress(OSError):  # A worker killed while idle: `events` finds it dead.
            self._slots[slot][1].send((task.to_json(), self.resources.threads_for(task)))

    def events(self, timeout: float) -> Iterator[Event]:
        """What the workers reported, waiting up to `timeout` seconds for something; a dead worker is replaced."""
        connections = {self._slots[slot][1]: slot for slot in self._running}
        for connection in wait(list(connections), timeout):
            slot = connections[connection]  # type: ignore[index]
            task = self._running[slot]
            try:
                event = self._slots[slot][1].recv()
            except (EOFError, OSError):
                process = self._slots[slot][0]
                process.join()
                self._slots[slot] = self._start(slot)
                event = ("died", task.name, f"the worker died (exit code {process.exitcode})")
            if event[0] != "progress":
                del self._running[slot]
                self._idle.append(slot)
            yield event

    def close(self) -> None:
        """End the workers, whatever they are doing: a task begun goes on from its checkpoint next time."""
        for process, connection in self._slots:
            connection.close()
            process.kill()
        for process, _ in self._slots:
            process.join()


def _context(resources: Resources) -> Any:
    """Workers are forked off a process that has imported what all need, and has started nothing: on Linux, and without
    GPUs, whose driver does not survive a fork.
    """
    if sys.platform != "linux" or resources.gpus:
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context
