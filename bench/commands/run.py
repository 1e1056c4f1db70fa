"""`fewstep run`: a suite, from nothing to its leaderboard."""

import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import INTERRUPTED, TERMINATED, Terminated
from .completion import complete_suite
from .mirroring import mirrored, tracking_options
from .places import RUNS, data_root_option, require_results_folder, require_writable, store_option

if TYPE_CHECKING:
    from ...reports.status import Status
    from ..plan.cells import Cell


@click.command()
@click.argument("suite", shell_complete=complete_suite)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results [default: runs/<suite>].")
@store_option
@data_root_option
@click.option("--only", multiple=True, metavar="KEY=VALUE", help="Only the cells with this method, dataset, seed, nfe.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a value of the suite.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes [default: one per GPU, or per core].")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Torch threads per worker [default: 1; more with GPUs, and for teachers].",
)
@click.option("--executor", default="local", show_default=True, help="Where tasks run: see `fewstep list executors`.")
@click.option("--dry-run", is_flag=True, help="Print the cells and what is missing, and do nothing.")
@click.option("--cached", is_flag=True, help="Compute nothing: write and print what the store holds.")
@click.option("--quiet", "verbosity", flag_value="QUIET", help="Show no progress.")
@click.option(
    "--verbose",
    "verbosity",
    flag_value="VERBOSE",
    help="Print a line as each task starts and ends; with --dry-run, each task.",
)
@tracking_options
def run(
    suite: str,
    out: Path | None,
    store: Path | None,
    only: tuple[str, ...],
    settings: tuple[str, ...],
    workers: int | None,
    threads: int | None,
    executor: str,
    dry_run: bool,
    cached: bool,
    verbosity: str | None,
    project: str | None,
    tags: list[str],
) -> None:
    """Run SUITE (a file, or the name of a shipped suite) and print its leaderboard.

    Artifacts go to runs/store, or to DIR/store with --out DIR; what stands there is not done again.
    """
    from .. import machine
    from ..plan.cells import make_plan
    from ..plan.select import select
    from ..run import runner, stale
    from ..run.executor import EXECUTORS, LOCAL, Executor, Resources
    from ..run.progress import Progress, Verbosity
    from ..run.so_far import SoFar
    from ..store import Store
    from ..suite.loading import load

    place = EXECUTORS.pick(executor)
    plan = select(make_plan(load(suite, settings)), only)
    artifacts = Store(store or (out or RUNS) / "store")
    folder = out or RUNS / plan.suite.name
    if dry_run:
        return _print_plan(plan, artifacts, verbosity == "VERBOSE")
    if not cached and place is LOCAL:
        machine.require(plan.suite.device)
    require_results_folder(folder)
    require_writable(artifacts.root)
    artifacts.prepare()
    shared, each, gpus = machine.shares(plan.suite.device, workers, threads)
    tasks = plan.tasks()
    wide = {} if threads or gpus else _teachers_threads(tasks, shared, each)

    def make_executor(missing: int) -> Executor:
        return place.start(Resources(artifacts.root, min(shared, missing), each, gpus, wide))

    with mirrored(plan, artifacts.root, folder, project, tags) as mirror:
        try:
            progress = Progress(verbosity=Verbosity[verbosity or "NORMAL"], so_far=SoFar(plan))
            outcome = stale.stored(plan, artifacts) if cached else runner.run(tasks, artifacts, make_executor, progress)
        except KeyboardInterrupt as stop:
            click.echo("fewstep: stopped; the same command resumes from here", err=True)
            sys.exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED)
        progress.note("writing the report")
        lacks = _write(plan, outcome, folder)
        mirror(outcome)
    sys.exit(1 if lacks else 0)


def _write(plan: Any, outcome: Any, folder: Path) -> bool:
    """Write and print the results; whether some of them lack."""
    from ..results import write as outputs

    outputs.write(plan, outcome, folder)
    _print_run(folder)
    return _said_what_lacks(outputs.failures(plan, outcome), outputs.unmeasured(plan))


def _said_what_lacks(failed: Any, unmeasured: Any) -> bool:
    _print_failures(failed)
    for metric, reason in unmeasured.items():
        click.echo(f"fewstep: {metric}: skipped: {reason}", err=True)
    return bool(failed or unmeasured)


def _teachers_threads(tasks: list[Any], workers: int, threads: int) -> dict[str, int]:
    from ..machine import teacher_threads

    teachers = [task.name for task in tasks if task.kind == "teacher"]
    return dict.fromkeys(teachers, teacher_threads(len(teachers), workers, threads))


def _print_plan(plan: Any, artifacts: Any, verbose: bool) -> None:
    from ...reports.status import DONE
    from ..run.stale import reasons

    tasks = plan.tasks()
    present = artifacts.names()
    absent = reasons(plan, artifacts, present)
    lines = []
    for cell in plan.cells:
        state = cell.skipped if cell.score is None else absent.get(cell.score.name, DONE)
        lines.append(
            f"{cell.dataset} {cell.method} [{cell.variant}] budget {cell.budget} "
            f"seed {cell.seed} NFE {cell.nfe}: {state}"
        )
    missing = [task for task in tasks if task.name not in present]
    kinds = Counter(task.kind for task in missing)
    counts = f": {', '.join(f'{count} {kind}' for kind, count in kinds.items())}" if kinds else ""
    lines.append(f"{len(plan.cells)} cells, {len(tasks)} tasks, {len(missing)} to do{counts}")
    lines += [f"  {task.name}  {task.label}" for task in missing if verbose]
    click.echo("\n".join(lines))


def _print_failures(failed: "list[tuple[Cell, Status]]") -> None:
    """A line for each reason, with the first cell that has it."""
    alike: dict[str, list[Cell]] = {}
    for cell, status in failed:
        alike.setdefault(str(status), []).append(cell)
    for reason, (first, *others) in alike.items():
        more = f" and {len(others)} more cell{'s' if len(others) > 1 else ''}" if others else ""
        click.echo(f"fewstep: {first.method} NFE {first.nfe} seed {first.seed}{more}: {reason}", err=True)


def _print_run(folder: Path) -> None:
    """The first metric, how to see the rest, and where it all is."""
    from ...reports import leaderboard

    board = leaderboard.read(folder)
    click.echo(leaderboard.render(board, "table", board.metrics[0]))
    others = [*board.metrics[1:], *(["costs"] if board.costs else []), *(["trials"] if board.trials else [])]
    if others:
        click.echo(f"\n{', '.join(others)}:\n  fewstep leaderboard {shlex.quote(str(folder))}")
    click.echo("\n".join(str(folder / name) for name in ("results.csv", "leaderboard.csv", "report.html")))
