"""What a run will take, said before it starts: time, FLOPs and disk. No torch."""

import json
import math
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ...datasets import frozen
from ...datasets.registry import DATASETS
from ...methods.specs.teachers.pretrain import PretrainOptions
from ..machine import gpus
from ..plan.kinds import SampleParams, TeacherParams, TeacherResult, TrainParams, TruthParams
from ..plan.task import Task
from ..plan.training import OVERHEAD
from ..store import Artifact, CorruptError, Store
from .estimate import Rate, evaluates, rounded, work
from .pretrain_flops import evaluation_flops

BYTES = 4
"""Of a number in a file of samples; 1 where they are kept in 8 bits."""
PACE = 3e10
"""FLOP/s of small networks on one core of a desktop, for what no finished task tells."""
PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")


@dataclass(frozen=True)
class Forecast:
    """Of the tasks that are still to do. Seconds on one worker, FLOPs of networks, bytes on disk; None: not known."""

    seconds: float | None
    flops: float | None
    bytes: float
    source: str
    """What the time was told by."""
    longest: float = 0.0
    """Seconds of the tasks that wait for one another: less time no number of workers takes."""

    def text(self, workers: int) -> str:
        if self.seconds is None:
            time = "time not known yet: no task of the suite is finished"
        else:
            seconds = max(self.seconds / workers, self.longest)
            time = f"{rounded(seconds)} with {workers} worker{'s' * (workers != 1)} ({self.source})"
        flops = "" if self.flops is None else f"; about {_scaled(self.flops, 'FLOP')}"
        return f"{time}{flops}; about {_scaled(self.bytes, 'B')} on disk"


def forecast(tasks: Sequence[Task], missing: Iterable[Task], store: Store) -> Forecast:
    """Of the `missing` among `tasks`, which are in order: by the pace of those that the store has, kind by kind.

    Where it has none the time on a CPU follows from the FLOPs.
    """
    missing = list(missing)
    found = _present(tasks, {task.name for task in missing}, store)
    rates, overall, sizes = _measured(tasks, found)
    teachers = _teachers(tasks)
    units = _units(teachers.values(), found)
    flops = [of for task in missing if (of := _flops(task, teachers[task.name], units)) is not None]
    total = sum(flops) if len(flops) == len(missing) else None
    each, source = list[float](), ""
    if overall.known:
        each = [work(task) * rates.get(task.kind, overall).seconds_per_work for task in missing]
        source = f"by the pace of {len(found)} finished task{'s' * (len(found) != 1)}"
    elif total is not None and not any(gpus(task.params.device) for task in missing):
        each, source = [of / PACE for of in flops], f"at {PACE / 1e9:.0f} GFLOP/s each"
    size = sum(_bytes(task, teachers[task.name], sizes) for task in missing)
    return Forecast(sum(each) if source else None, total, size, source, _longest(missing, each))


def _longest(missing: Sequence[Task], seconds: Sequence[float]) -> float:
    """Of the chains of tasks in which each needs the one before."""
    ends = dict[str, float]()
    for task, own in zip(missing, seconds, strict=False):
        ends[task.name] = own + max([0.0, *(ends.get(needed.name, 0.0) for needed in task.inputs.values())])
    return max(ends.values(), default=0.0)


def _present(tasks: Iterable[Task], absent: Collection[str], store: Store) -> dict[str, Artifact]:
    """What the store has of the tasks that are not `absent`; what is corrupt tells nothing."""
    found = {}
    for task in tasks:
        with suppress(CorruptError):
            if task.name not in absent and (artifact := store.get(task.name)) is not None:
                found[task.name] = artifact
    return found


def _measured(
    tasks: Iterable[Task], found: dict[str, Artifact]
) -> tuple[dict[str, Rate], Rate, dict[str, list[float]]]:
    """Seconds per work by kind and of all evaluations, and the sizes of artifacts by kind."""
    rates, overall, sizes = dict[str, Rate](), Rate(), dict[str, list[float]]()
    for task in tasks:
        if (artifact := found.get(task.name)) is None:
            continue
        seconds = artifact.manifest["ended"] - artifact.manifest["started"]
        for rate in [rates.setdefault(task.kind, Rate()), *([overall] if evaluates(task) else [])]:
            rate.work, rate.seconds = rate.work + work(task), rate.seconds + max(seconds, 1e-3)
        sizes.setdefault(task.kind, []).append(sum(file["bytes"] for file in artifact.manifest["files"].values()))
    return rates, overall, sizes


def _teachers(tasks: Iterable[Task]) -> dict[str, Task | None]:
    """By a task's name, the teacher behind it; inputs come before the tasks that read them."""
    found: dict[str, Task | None] = {}
    for task in tasks:
        behind = (found[needed.name] for needed in task.inputs.values())
        found[task.name] = task if isinstance(task.params, TeacherParams) else next(filter(None, behind), None)
    return found


def _shipped(teacher: Task | None) -> str | None:
    params = teacher.params if teacher is not None else None
    return params.file if isinstance(params, TeacherParams) else None


def _units(teachers: Iterable[Task | None], found: dict[str, Artifact]) -> dict[str, float | None]:
    """FLOPs of an evaluation by the teacher's name; None: not known."""
    named = {teacher.name: teacher for teacher in teachers if teacher is not None}
    return {name: _unit(teacher, found) for name, teacher in named.items()}


def _unit(teacher: Task, found: dict[str, Artifact]) -> float | None:
    if (artifact := found.get(teacher.name)) is not None:
        return artifact.answer(TeacherResult).flops_per_evaluation
    if (name := _shipped(teacher)) is not None:
        ledger = json.loads(frozen.facts(name)["ledger"])
        return float(ledger["flops"] / ledger["evaluations"])
    params = teacher.params
    assert isinstance(params, TeacherParams)
    if params.teacher["name"] != "pretrain":
        return None
    return evaluation_flops(PretrainOptions.model_validate(params.teacher).network, DATASETS[params.dataset].shape)


def _flops(task: Task, teacher: Task | None, units: dict[str, float | None]) -> float | None:
    """Of the networks, in the FLOPs of the teacher behind the task; 0 for a task without one."""
    if teacher is None:
        return 0.0
    unit = units[teacher.name]
    return None if unit is None else unit * work(task) / (OVERHEAD if isinstance(task.params, TrainParams) else 1.0)


def _bytes(task: Task, teacher: Task | None, sizes: dict[str, list[float]]) -> float:
    """Exact for samples; otherwise as others of the kind took, or as the shipped teacher's file."""
    if isinstance(task.params, SampleParams | TruthParams) and teacher is not None:
        assert isinstance(teacher.params, TeacherParams)
        numbers = math.prod(DATASETS[teacher.params.dataset].shape)
        if isinstance(task.params, SampleParams) and task.params.rounding is not None:
            return numbers * (task.params.samples + (task.params.exact or 0) * BYTES)
        return numbers * task.params.samples * BYTES
    if task.kind in sizes:
        return sum(sizes[task.kind]) / len(sizes[task.kind])
    name = _shipped(teacher)
    return frozen.path(name).stat().st_size if name is not None and task.kind == "train" else 0.0


def _scaled(amount: float, unit: str) -> str:
    """Two digits and the prefix that leaves a number below 1,000."""
    power = 0
    while amount >= 995 and power < len(PREFIXES) - 1:
        amount, power = amount / 1000, power + 1
    return f"{float(f'{amount:.2g}'):g} {PREFIXES[power]}{unit}"
