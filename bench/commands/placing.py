"""Where the tasks of a run are done: the options that say so, and what they come to."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError, shortened

if TYPE_CHECKING:
    from ..plan.task import Task
    from ..run.executor import ExecutorSpec, Resources

PLACES = 256
"""Tasks that a cluster is given at once, unless --workers says how many."""
OPTION = re.compile(r"[a-z][a-z-]*")
OWNERS = {"address": ("--address", "ray"), "slurm_options": ("--slurm-option", "slurm")}
"""The options that one executor alone has, as they are written, and whose they are."""


def placing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--workers, --devices, --threads, --executor, --address and --slurm-option."""
    for option in (
        click.option(
            "--slurm-option",
            "slurm_options",
            multiple=True,
            metavar="KEY=VALUE",
            callback=_slurm_options,
            help="An option of sbatch, such as partition=gpu, time=4:00:00 or gres=gpu:1.",
        ),
        click.option("--address", metavar="HOST:PORT", help="A Ray cluster that runs already."),
        click.option(
            "--executor", default="local", show_default=True, help="Where tasks run: see `fewstep list executors`."
        ),
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            help="Torch threads per worker [default: 1, and 2 for a teacher; more with GPUs].",
        ),
        click.option(
            "--devices",
            type=click.IntRange(min=1, max=64),
            default=1,
            show_default=True,
            help="GPUs, or processes on a CPU, that train one student or draw one row's samples together.",
        ),
        click.option(
            "--workers", type=click.IntRange(min=1), help="Worker processes [default: one per GPU, or per core]."
        ),
    ):
        command = option(command)
    return command


def _slurm_options(ctx: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        key, _, value = word.removeprefix("--").partition("=")
        key = key.replace("_", "-")
        if not OPTION.fullmatch(key) or not value.isprintable():
            raise InputError(f"--slurm-option {shortened(word)!r}: expected KEY=VALUE, such as partition=gpu")
        if key in found:
            raise InputError(f"--slurm-option {key} is given twice")
        found[key] = value
    return found


def place(executor: str, **own: Any) -> "ExecutorSpec":
    """The executor of that name; InputError for options that are another's."""
    from ..run.executor import EXECUTORS

    spec = EXECUTORS.pick(executor)
    for name, (option, owner) in OWNERS.items():
        if own[name] and owner != spec.name:
            raise InputError(f"{option} is for --executor {owner}, not {spec.name}")
    return spec


def resources(
    spec: "ExecutorSpec",
    device: str,
    tasks: "list[Task]",
    root: Path,
    workers: int | None,
    threads: int | None,
    **own: Any,
) -> "Resources":
    """A worker per core or GPU of this machine, or as many as a cluster has room for; a teacher's training has
    TEACHER_THREADS, unless `threads` says how many. InputError for more devices than can be used.
    """
    from ..machine import TEACHER_THREADS, shares
    from ..run import companions
    from ..run.executor import Resources

    devices: int = own["devices"]
    if devices > 1 and any("seconds" in getattr(task.params, "budget", {}) for task in tasks):
        raise InputError(
            f"--devices {devices}: a budget in seconds ends at another step on each; use one in evaluations"
        )
    os.environ[companions.DEVICES] = str(devices)
    count, each, gpus = shares(device, workers, threads, 1 if spec.cluster else devices)
    if spec.cluster:
        count, each, gpus = workers or PLACES, threads or 1, []
    teachers = [] if threads or gpus else [task.name for task in tasks if task.kind == "teacher"]
    return Resources(
        root,
        count,
        each,
        gpus,
        dict.fromkeys(teachers, TEACHER_THREADS),
        device,
        own["address"],
        own["slurm_options"],
        devices,
    )
