"""Tasks on a Ray cluster: an actor for each place, which keeps torch imported. No torch.

Actors that find no room wait for it, so that machines may join and leave while a run lasts.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from ..errors import InputError
from ..plan.task import Task
from ..store import Store
from .executor import Event, Resources
from .remote import SECONDS, Origin, shares

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
PATIENCE = 5.0
"""Seconds within which the head of a cluster must answer."""
FIRST_SECONDS = 60.0
"""So long a new executor waits for the first worker to start; on a full cluster it waits on while it is asked."""


def connect(resources: Resources) -> None:
    """Join the cluster at `address` or, without, the one that Ray finds or starts here. InputError."""
    import ray

    if ray.is_initialized():
        return
    _require_answer(resources.address)
    try:
        with _signals_kept():
            ray.init(resources.address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
    except Exception as error:
        raise InputError(f"--executor ray: {_named(resources.address)} cannot be used: {_line(error)}") from None
    _require_room(resources)


def _require_answer(address: str | None) -> None:
    """InputError unless something listens at HOST:PORT: Ray itself would try for a minute."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if address in (None, "auto", "local"):
        return
    if not (colon and host and port.isdecimal()):
        raise InputError(f"--address {address}: expected HOST:PORT of a Ray cluster, or auto")
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--address {address}: no Ray cluster answers there: {reason}") from None


def _require_room(resources: Resources) -> None:
    """InputError if no machine of the cluster is large enough for one worker."""
    import ray

    wanted = {"CPU": float(resources.threads), "GPU": float(_gpus(resources))}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(kind, 0.0) >= count for kind, count in wanted.items()) for node in nodes):
        needs = " and ".join(f"{count:.0f} {kind}" for kind, count in wanted.items() if count)
        ray.shutdown()
        raise InputError(f"--executor ray: no machine of {_named(resources.address)} has {needs} for a worker")


def _gpus(resources: Resources) -> int:
    """Of each worker: as many as a task has devices where the suite asks for GPUs, or where the cluster has any."""
    import ray

    if resources.device == "auto":
        return resources.devices * (ray.cluster_resources().get("GPU", 0.0) > 0)
    return resources.devices * (resources.device == "cuda")


class Slot:
    """One worker at a time takes a place on some machine; it runs there as a Ray actor."""

    def __init__(self, origin: Origin, holder: str) -> None:
        self.origin, self.holder = origin, holder

    def enter(self) -> tuple[str, str | None]:
        """(the machine's id in the cluster, why the worker cannot work there)."""
        import ray

        return ray.get_runtime_context().get_node_id(), self.origin.enter()

    def do(self, task: dict[str, Any], threads: int) -> tuple[str, Any]:
        return self.origin.do(task, threads, self.holder)


class Actor:
    """The run's side of a slot."""

    def __init__(self, resources: Resources) -> None:
        import ray

        self.holder, self.node = f"ray {uuid4().hex}", ""
        options = ray.remote(Slot).options(num_cpus=resources.threads, num_gpus=_gpus(resources), max_restarts=0)
        self.slot = options.remote(Origin.here(resources), self.holder)
        self.entered = self.slot.enter.remote()


class RayExecutor:
    """As many actors as there may be workers; those that the cluster has no room for yet are not counted as room."""

    def __init__(self, resources: Resources) -> None:
        connect(resources)
        self.resources, self._store = resources, Store(resources.root)
        self._starting: dict[Any, Actor] = {}
        self._idle: list[Actor] = []
        self._tasks: dict[Any, tuple[Task, Actor]] = {}
        self._looked = time.monotonic()
        for _ in range(resources.workers):
            self._start()
        self._welcome(_finished(self._starting, FIRST_SECONDS))

    def _start(self) -> None:
        actor = Actor(self.resources)
        self._starting[actor.entered] = actor

    @property
    def has_room(self) -> bool:
        if not self._idle:
            self._welcome(_finished(self._starting, 0.0))
        return bool(self._idle)

    @property
    def running(self) -> list[Task]:
        return [task for task, _ in self._tasks.values()]

    def submit(self, task: Task) -> None:
        actor = self._idle.pop(0)
        self._tasks[actor.slot.do.remote(task.to_json(), self.resources.threads_for(task))] = task, actor

    def events(self, timeout: float) -> Iterator[Event]:
        """What the actors answered; how far the others are, every few seconds."""
        finished = _finished({**self._tasks, **self._starting}, timeout)
        self._welcome([entered for entered in finished if entered in self._starting])
        for answer in finished:
            if answer in self._tasks:
                yield self._answered(answer)
        if time.monotonic() - self._looked >= SECONDS:
            self._looked = time.monotonic()
            yield from shares(self.resources.root, self.running)

    def close(self) -> None:
        import ray

        for actor in (*self._starting.values(), *self._idle, *(actor for _, actor in self._tasks.values())):
            with suppress(Exception):  # Of a cluster that has gone away.
                ray.kill(actor.slot)
        ray.shutdown()

    def _welcome(self, entered: list[Any]) -> None:
        """Take up the actors that have found a place."""
        import ray

        for each in entered:
            actor = self._starting.pop(each)
            try:
                actor.node, reason = ray.get(each)
            except ray.exceptions.RayActorError as error:
                if not _node_died(error):
                    raise InputError(f"--executor ray: a worker cannot start: {_line(error)}") from None
                self._start()
                continue
            if reason is not None:
                raise InputError(f"--executor ray: {reason}")
            self._idle.append(actor)

    def _answered(self, answer: Any) -> Event:
        import ray

        task, actor = self._tasks.pop(answer)
        try:
            event, payload = ray.get(answer)
        except ray.exceptions.RayError as error:
            self._store.forget(task.name, actor.holder)
            self._start()
            if _node_died(error) or actor.node not in _alive():
                return "lost", task.name, "its machine left the Ray cluster"
            return "died", task.name, f"the worker died ({_line(error)})"
        self._idle.append(actor)
        return event, task.name, payload


def _finished(waited: Any, timeout: float) -> list[Any]:
    """Those of the results waited for that have come, after up to `timeout` seconds."""
    import ray

    results = list(waited)
    if not results:
        time.sleep(timeout)
        return []
    try:
        ray.wait(results, timeout=timeout)
        done, _ = ray.wait(results, num_returns=len(results), timeout=0)
    except ray.exceptions.RaySystemError as error:
        raise InputError(f"the Ray cluster has gone: {_line(error)}; the same command resumes from here") from None
    return list(done)


def _alive() -> set[str]:
    import ray

    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def _node_died(error: Exception) -> bool:
    import ray

    return isinstance(error, ray.exceptions.NodeDiedError) or getattr(error, "preempted", False) is True


def _named(address: str | None) -> str:
    return "Ray on this machine" if address in (None, "local") else f"the Ray cluster at {address}"


def _line(error: Exception) -> str:
    """The last line of an error, which in Ray's says most."""
    return ([line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__])[-1]


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray sets handlers of its own where a process joins a cluster; what SIGTERM does to a run stays the run's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if sys.platform != "win32":
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
