"""`fewstep run`: a suite, from nothing to its leaderboard."""

import sys
from pathlib import Path
from typing import Any

import click

from ..errors import INTERRUPTED, TERMINATED, InputError, Terminated
from .completion import complete_suite
from .mirroring import mirrored, tracking_options
from .places import RUNS, data_root_option, require_run_folder, require_writable, store_option


@click.command()
@click.argument("suite", shell_complete=complete_suite)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results [default: runs/<suite>].")
@store_option
@data_root_option
@click.option("--only", multiple=True, metavar="KEY=VALUE", help="Only the cells with this method, dataset, seed, nfe.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a value of the suite.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes [default: one per GPU, or per core].")
@click.option("--threads", type=click.IntRange(min=1), help="Torch threads per worker [default: 1; more with GPUs].")
@click.option("--executor", default="local", show_default=True, help="Where tasks run: see `fewstep list executors`.")
@click.option("--dry-run", is_flag=True, help="Print the cells and what is missing, and do nothing.")
@click.option("--cached", is_flag=True, help="Compute nothing: write and print what the store holds.")
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
    project: str | None,
    tags: list[str],
) -> None:
    """Run SUITE (a file, or the name of a shipped suite) and print its leaderboard.

    Artifacts go to runs/store, or to DIR/store with --out DIR; what stands there is not done again.
    """
    from ..machine import shares
    from ..plan.cells import make_plan
    from ..plan.select import select
    from ..run import runner, stale
    from ..run.executor import EXECUTORS, Executor, Resources
    from ..run.progress import Progress
    from ..store import Store
    from ..suite.loading import load

    place = EXECUTORS.pick(executor)
    plan = select(make_plan(load(suite, settings)), only)
    artifacts = Store(store or (out or RUNS) / "store")
    folder = out or RUNS / plan.suite.name
    if dry_run:
        return _print_plan(plan, artifacts)
    from ..results import write as outputs

    require_run_folder(folder)
    require_writable(artifacts.root)
    _check_place(folder)
    artifacts.prepare()
    shared, each, gpus = shares(plan.suite.device, workers, threads)

    def make_executor(tasks: int) -> Executor:
        return place.start(Resources(artifacts.root, min(shared, tasks), each, gpus))

    with mirrored(plan, artifacts.root, folder, project, tags) as mirror:
        try:
            outcome = (
                stale.stored(plan, artifacts)
                if cached
                else runner.run(plan.tasks(), artifacts, make_executor, Progress())
            )
        except KeyboardInterrupt as stop:
            click.echo("fewstep: stopped; the same command resumes from here", err=True)
            sys.exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED)
        outputs.write(plan, outcome, folder)
        _print_run(folder)
        faults = _print_faults(plan, outcome)
        mirror(outcome)
    sys.exit(1 if faults else 0)


def _print_faults(plan: Any, outcome: Any) -> int:
    """One line for each cell that failed and each metric that something is missing for; how many."""
    from ..results import write as outputs

    failed, unmeasured = outputs.failures(plan, outcome), outputs.unmeasured(plan)
    for cell, status in failed:
        click.echo(f"fewstep: {cell.method} NFE {cell.nfe} seed {cell.seed}: {status}", err=True)
    for metric, reason in unmeasured.items():
        click.echo(f"fewstep: {metric}: skipped: {reason}", err=True)
    return len(failed) + len(unmeasured)


def _check_place(folder: Path) -> None:
    """InputError for a folder of `fewstep evaluate`, whose results no store could give back."""
    from ..results import evaluated

    if evaluated.made_of(folder) is not None:
        raise InputError(f"{folder} holds results of `fewstep evaluate`; choose another folder with --out")


def _print_plan(plan: Any, artifacts: Any) -> None:
    from ...reports.status import DONE
    from ..run.stale import reasons

    tasks = plan.tasks()
    present = {task.name for task in tasks if (artifacts.root / task.name).is_dir()}
    absent = reasons(plan, artifacts, present)
    for cell in plan.cells:
        state = cell.skipped if cell.score is None else absent.get(cell.score.name, DONE)
        click.echo(
            f"{cell.dataset} {cell.method} [{cell.variant}] budget {cell.budget} "
            f"seed {cell.seed} NFE {cell.nfe}: {state}"
        )
    missing = [task for task in tasks if task.name not in present]
    click.echo(f"{len(plan.cells)} cells, {len(tasks)} tasks, {len(missing)} to do:")
    for task in missing:
        click.echo(f"  {task.name}  {task.label}")


def _print_run(folder: Path) -> None:
    from ...reports import leaderboard

    click.echo(leaderboard.render(leaderboard.read(folder), "table"))
    click.echo("\n".join(str(folder / name) for name in ("results.csv", "leaderboard.csv", "report.html")))
