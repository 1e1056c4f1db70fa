"""Tasks as jobs of SLURM, through submitit: what is ready together is one array, with small tasks in one job. No torch.

The queue is asked once in a while for all jobs together; answers come as files. A job that SLURM takes back, or that
reaches its time limit, is queued again and resumes from its task's checkpoint.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from ...reports.status import Kind, Status
from ...reports.writing import write_atomic
from ..errors import TERMINATED, CorruptError, InputError
from ..plan.task import Task
from ..store import Store
from .estimate import work
from .executor import Event, Resources
from .remote import SECONDS, Origin, shares

FOLDER = ".slurm"
"""In the store: what jobs are given and what they say, removed at the end of a run in which none died."""
QUEUE_SECONDS = 15.0
"""Between two looks at the queue."""
ABSENCES = 3
"""So often a job is not in the queue, without an answer, until it counts as dead: files may come late."""
ENDING_SECONDS = 8.0
"""What jobs are given to end."""
WARNING_SECONDS = 60
"""So long before its time limit a job is told to come back later."""
SMALL_WORK, MOST_SMALL = 200_000.0, 8
"""Network evaluations, and tasks, up to which they share a job."""
ENDLESS = 10**6
OWN = ("array", "chdir", "error", "job-name", "nodes", "ntasks", "open-mode", "output", "requeue", "signal", "wrap")
"""Options of sbatch that are set here."""


def require(resources: Resources) -> None:
    """InputError unless SLURM would take a job with these options."""
    missing = [program for program in ("sbatch", "squeue", "srun", "scancel") if shutil.which(program) is None]
    if missing:
        raise InputError(f"--executor slurm: there is no {missing[0]} on this machine: start the run on a login node")
    if taken := [option for option in resources.options if option in OWN]:
        raise InputError(f"--slurm-option {taken[0]}: fewstep sets it itself")
    if resources.device == "cuda" and not any("gpu" in word for item in resources.options.items() for word in item):
        raise InputError("device: cuda needs GPUs for each job, such as --slurm-option gres=gpu:1")
    flags = [f"--{key}={value}" if value is not True else f"--{key}" for key, value in _options(resources, 1).items()]
    _called("sbatch", "--test-only", *flags, "--wrap", "true")


def _options(resources: Resources, threads: int) -> dict[str, Any]:
    """Of sbatch, as submitit takes them: True for one without a value."""
    given = {key: value or True for key, value in resources.options.items()}
    return {
        "cpus-per-task": max(threads, resources.threads),
        "requeue": True,
        "time": _limit(resources.options.get("partition")),
        **given,
    }


@cache
def _limit(partition: str | None) -> str:
    """The time limit that a partition, or the default one, gives to jobs that ask for none."""
    given = ["--partition", partition] if partition else []
    lines = _called("sinfo", "--noheader", "--format=%P %L %l", *given).split("\n")
    for name, default, most in (line.split() for line in lines if len(line.split()) == 3):
        if partition or name.endswith("*"):
            return most if default == "n/a" else default
    raise InputError(
        "--executor slurm: there is no such partition, or no default one: give --slurm-option partition=NAME"
    )


def _called(*command: str) -> str:
    """What a program of SLURM prints; InputError with its reason."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"--executor slurm: {command[0]}: {error}") from None
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise InputError(f"--executor slurm: {reason}")
    return done.stdout


class Job:
    """Some tasks, one after another, as submitit calls them on a machine of the cluster.

    tasks: each with the file that its answer goes to.
    """

    def __init__(self, origin: Origin, tasks: list[tuple[dict[str, Any], str]], threads: int) -> None:
        self.origin, self.tasks, self.threads = origin, tasks, threads

    def __call__(self) -> None:
        # A job that is taken back ends at once: submitit would wait for the kill that follows.
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(TERMINATED))
        os.environ.pop("SLURM_NTASKS", None)  # By which Lightning would take the job for one of its own.
        reason = self.origin.enter()
        for task, answer in self.tasks:
            if reason is None:
                event, payload = self.origin.do(task, self.threads, f"slurm {_own_id()}")
            else:
                event, payload = "failed", Status(Kind.FAILED, reason)
            content = str(payload) if isinstance(payload, Status) else payload
            write_atomic(Path(answer), json.dumps([event, content]))

    def checkpoint(self) -> Any:
        """At the time limit: the same again, which finds what is done and the checkpoint of what is not."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _own_id() -> str:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def _lots(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    """The tasks of each job: one, or some that together take less than it takes to import torch a few times."""
    lot: list[Task] = []
    for task in tasks:
        if lot and (len(lot) >= MOST_SMALL or sum(map(work, [*lot, task])) > SMALL_WORK):
            yield lot
            lot = []
        lot.append(task)
    if lot:
        yield lot


class SlurmExecutor:
    """As many tasks in the queue as there may be workers."""

    def __init__(self, resources: Resources) -> None:
        require(resources)
        self.resources, self._store = resources, Store(resources.root)
        self._name = f"fewstep-{uuid4().hex[:12]}"
        self._folder = resources.root.absolute() / FOLDER / self._name
        self._folder.mkdir(parents=True)
        self._ready: list[Task] = []
        self._jobs: dict[str, tuple[Task, str]] = {}
        self._absent: dict[str, int] = {}
        self._known: list[tuple[Task, str]] = []
        self._died = False
        self._looked = self._asked = time.monotonic()

    @property
    def has_room(self) -> bool:
        return len(self.running) < self.resources.workers

    @property
    def running(self) -> list[Task]:
        return [*self._ready, *(task for task, _ in self._known), *(task for task, _ in self._jobs.values())]

    def submit(self, task: Task) -> None:
        """No job is queued for what another run has done or is doing."""
        if self._is_done(task):
            self._known.append((task, "done"))
        elif self._store.is_busy(task.name):
            self._known.append((task, "busy"))
        else:
            self._ready.append(task)

    def _is_done(self, task: Task) -> bool:
        try:
            return self._store.get(task.name) is not None
        except CorruptError:
            return False

    def events(self, timeout: float) -> Iterator[Event]:
        """What jobs answered, and the end of those that will not answer; how far the others are."""
        self._queue()
        known, self._known = self._known, []
        yield from ((event, task.name, None) for task, event in known)
        if not known:
            time.sleep(timeout)
        now = time.monotonic()
        if now - self._looked >= SECONDS:
            self._looked = now
            yield from self._answers()
            yield from shares(self.resources.root, self.running)
        if now - self._asked >= QUEUE_SECONDS:
            self._asked = now
            yield from self._deaths()

    def close(self) -> None:
        if self._jobs:
            subprocess.run(["scancel", "--quiet", f"--name={self._name}"], check=False)
            deadline = time.monotonic() + ENDING_SECONDS
            while self._queued() and time.monotonic() < deadline:
                time.sleep(0.5)
        if not self._died:
            shutil.rmtree(self._folder, ignore_errors=True)
        with suppress(OSError):
            self._folder.parent.rmdir()

    def _queue(self) -> None:
        """Queue what is ready: an array for all tasks of as many threads."""
        ready, self._ready = self._ready, []
        for threads in sorted({self.resources.threads_for(task) for task in ready}):
            self._send([task for task in ready if self.resources.threads_for(task) == threads], threads)

    def _send(self, tasks: Sequence[Task], threads: int) -> None:
        import submitit

        executor = submitit.SlurmExecutor(self._folder, max_num_timeout=ENDLESS)
        options = _options(self.resources, threads)
        executor.update_parameters(
            job_name=self._name,
            signal_delay_s=WARNING_SECONDS,
            array_parallelism=self.resources.workers,
            srun_args=[f"--cpus-per-task={options['cpus-per-task']}"],
            stderr_to_stdout=True,
            additional_parameters=options,
        )
        origin, lots = Origin.here(self.resources), list(_lots(tasks))
        jobs = [Job(origin, [(task.to_json(), str(self._answer(task))) for task in lot], threads) for lot in lots]
        try:
            queued = executor.submit_array(jobs)
        except submitit.core.utils.FailedJobError as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"--executor slurm: sbatch refuses: {reason}; the same command resumes from here"
            ) from None
        for lot, job in zip(lots, queued, strict=True):
            self._jobs.update({task.name: (task, job.job_id) for task in lot})

    def _answer(self, task: Task) -> Path:
        return self._folder / f"{task.name}.json"

    def _answers(self) -> Iterator[Event]:
        present = {entry.name for entry in os.scandir(self._folder)}
        for task, _ in list(self._jobs.values()):
            file = self._answer(task)
            if file.name not in present:
                continue
            event, content = json.loads(file.read_text(encoding="utf-8"))
            file.unlink()
            del self._jobs[task.name]
            self._absent.pop(task.name, None)
            yield event, task.name, Status.parse(content) if event == "failed" else content

    def _queued(self) -> set[str] | None:
        """The ids of this run's jobs that SLURM has not done with; None if it does not say."""
        command = ["squeue", "--noheader", "--array", "--format=%i", f"--name={self._name}"]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
        return set(done.stdout.split()) if done.returncode == 0 else None

    def _deaths(self) -> Iterator[Event]:
        queued = self._queued()
        if queued is None:
            return
        for name, (task, job) in list(self._jobs.items()):
            self._absent[name] = 0 if job in queued else self._absent.get(name, 0) + 1
            if self._absent[name] >= ABSENCES:
                self._died = True
                del self._jobs[name], self._absent[name]
                self._store.forget(name, f"slurm {job}")
                yield "died", task.name, f"the SLURM job {job} ended without an answer (see {self._folder})"
