"""The processes that do a task beside its worker, one for each further device: see methods/ranks.py."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ..errors import TaskError
from ..plan.kinds import SampleParams, TeacherParams, TrainParams, TruthParams
from ..store import Store

# On how many devices a task is done changes no number beyond rounding.
PART_OF_RESULTS = False

DEVICES = "FEWSTEP_DEVICES"
"""On how many devices a task is done, by default one. In the environment, which reaches workers everywhere."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
LOG = "log.txt"
WAIT_SECONDS = 0.02


class CompanionDied(TaskError):
    """Something ended a companion from outside, which may not happen again."""


@dataclass(frozen=True)
class Company:
    """What a companion is told. meeting: the file by which the processes find each other."""

    task: dict[str, Any]
    root: Path
    folder: Path
    scratch: Path
    count: int
    backend: str

    @property
    def meeting(self) -> Path:
        return self.scratch / "meeting"

    @property
    def trains(self) -> bool:
        return self.task["kind"] in (TrainParams.kind, TeacherParams.kind)

    def place(self, rank: int) -> Path:
        """Where a companion writes: samples beside the worker's, of a training what nobody keeps."""
        return self.scratch / str(rank) if self.trains else self.folder

    def arrival(self, rank: int) -> Path:
        """A file that is there when a companion is ready to meet the others."""
        return self.scratch / f"{rank}-arrived"

    def log(self, rank: int) -> Path:
        return self.scratch / f"{rank}-{LOG}"


def wanted(task: dict[str, Any]) -> int:
    """On how many devices a task is done: not on several where one would do all of it."""
    count, params = int(os.environ.get(DEVICES, "1")), task["params"]
    if task["kind"] == TrainParams.kind:
        return count
    if task["kind"] == TeacherParams.kind:
        return count if params["teacher"]["name"] == "pretrain" else 1
    if task["kind"] in (SampleParams.kind, TruthParams.kind):
        from ..stages.shards import ROWS

        return min(count, -(-params["samples"] // ROWS))
    return 1


@contextmanager
def beside(task: dict[str, Any], root: Path, folder: Path) -> Iterator[None]:
    """Inside, this process and its companions do the task together; `folder` is the task's.

    Raises TaskError where a companion failed, CompanionDied where it was killed.
    """
    if (count := wanted(task)) == 1:
        yield
        return
    from ...methods import ranks
    from ..stages.device import accelerator

    backend = "nccl" if accelerator(task["params"]["device"]) == "cuda" else "gloo"
    with tempfile.TemporaryDirectory(prefix="fewstep-") as scratch:
        company = Company(task, root, folder, Path(scratch), count, backend)
        processes = list[BaseProcess]()
        try:
            processes += [_start(company, rank) for rank in range(1, count)]
            _await(company, processes)
            try:
                with ranks.joined(0, count, company.meeting, backend):
                    yield
            except RuntimeError as error:
                raise _reason(company, processes) or error from error
        finally:
            for process in processes:
                process.kill()
                process.join()


def _start(company: Company, rank: int) -> BaseProcess:
    if company.trains:
        from ..training.loop import CHECKPOINT

        # All go on from where an attempt that was killed was.
        company.place(rank).mkdir()
        if (company.folder / CHECKPOINT).exists():
            shutil.copyfile(company.folder / CHECKPOINT, company.place(rank) / CHECKPOINT)
    process = get_context("spawn").Process(target=_accompany, args=(company, rank), daemon=True)
    seen = os.environ.get(VISIBLE)
    try:
        if seen is not None and company.backend == "nccl":
            os.environ[VISIBLE] = seen.split(",")[rank]
        process.start()
    finally:
        if seen is not None:
            os.environ[VISIBLE] = seen
    return process


def _accompany(company: Company, rank: int) -> None:
    """Do the task as the worker does; the answer is the worker's to keep."""
    from ...methods import ranks
    from . import worker

    worker.begin()
    company.arrival(rank).touch()
    with worker.logged(company.log(rank)), ranks.joined(rank, company.count, company.meeting, company.backend):
        worker.answer(company.task, Store(company.root), company.place(rank))


def _await(company: Company, processes: list[BaseProcess]) -> None:
    """Until all are ready: who meets others waits half an hour for one that is no more."""
    for rank, process in enumerate(processes, 1):
        while not company.arrival(rank).exists():
            if process.exitcode is not None:
                raise _reason(company, processes) or CompanionDied(f"device {rank}: its process ended")
            time.sleep(WAIT_SECONDS)


def _reason(company: Company, processes: list[BaseProcess]) -> TaskError | None:
    """What ended the first companion that failed: the last line of its log, or a signal."""
    for rank, process in enumerate(processes, 1):
        process.join(timeout=5)
        if process.exitcode and process.exitcode < 0:
            return CompanionDied(f"device {rank}: its process was killed (signal {-process.exitcode})")
        if process.exitcode:
            log = company.log(rank)
            said = log.read_text(encoding="utf-8").strip().splitlines() if log.is_file() else []
            return TaskError(f"device {rank}: {said[-1] if said else f'its process ended ({process.exitcode})'}")
    return None
