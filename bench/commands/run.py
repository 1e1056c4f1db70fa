"""`fewstep run`: a suite, from nothing to its leaderboard."""

import shlex
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from ..errors import INTERRUPTED, TERMINATED, InputError, Terminated
from . import placing
from .completion import complete_suite
from .mirroring import mirrored, tracking_options
from .places import RUNS, data_root_option, require_results_folder, require_writable, store_option
from .placing import placing_options
from .recorded import Recorded, words

if TYPE_CHECKING:
    from ...reports.status import Status
    from ..plan.cells import Cell
    from ..suite.schema import Suite


@click.command(cls=Recorded, short_help="Run a suite and print its leaderboard.")
@click.argument("suite", shell_complete=complete_suite)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results [default: runs/<suite>].")
@store_option
@data_root_option
@click.option("--only", multiple=True, metavar="KEY=VALUE", help="Only these cells: method=euler, nfe=4, seed=0, ...")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a value of the suite: nfe=[1,2].")
@placing_options
@click.option("--dry-run", is_flag=True, help="Print the cells and what is missing, and do nothing.")
@click.option(
    "--smoke",
    is_flag=True,
    help="Rehearse the whole grid in minutes, with small random networks, images and statistics.",
)
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
    smoke: bool,
    cached: bool,
    verbosity: str | None,
    project: str | None,
    tags: list[str],
    **own: Any,
) -> None:
    """Run SUITE (a file, or the name of a shipped suite) and print its leaderboard.

    Artifacts go to runs/store, or to DIR/store with --out DIR; what is there already is not done again.
    A rehearsal's go to smoke-store, and its results to runs/smoke/<suite>.
    """
    from ..plan.cells import make_plan
    from ..plan.select import select
    from ..run import runner, stale
    from ..run.executor import LOCAL, Executor
    from ..run.progress import Progress, Verbosity
    from ..run.so_far import SoFar
    from ..store import Store
    from ..suite.loading import find, load

    command = words(), time.time()
    place = placing.place(executor, **own)
    asked = load(suite, settings)
    folder, root = _places(asked.name, out, store, smoke)
    if smoke and not dry_run:
        _require_places(folder, find(suite), settings, None)
    plan = select(make_plan(_rehearsed(asked, root, place is LOCAL, only, dry_run) if smoke else asked), only)
    artifacts = Store(root)
    tasks = plan.tasks()
    resources = placing.resources(place, plan.suite.device, tasks, artifacts.root, workers, threads, **own)
    if dry_run:
        return _print_plan(plan, artifacts, (workers or 1) if place.cluster else resources.workers, verbosity)
    if not cached:
        place.require(resources)
    _require_places(folder, find(suite), settings, None if cached else artifacts)

    def make_executor(missing: int) -> Executor:
        return place.start(replace(resources, workers=min(resources.workers, missing)))

    with mirrored(plan, artifacts.root, folder, project, tags) as mirror:
        try:
            progress = Progress(verbosity=Verbosity[verbosity or "NORMAL"], so_far=SoFar(plan))
            outcome = stale.stored(plan, artifacts) if cached else runner.run(tasks, artifacts, make_executor, progress)
        except KeyboardInterrupt as stop:
            click.echo("fewstep: stopped; the same command resumes from here", err=True)
            sys.exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED)
        progress.note("writing the report")
        lacks = _write(plan, outcome, folder, command)
        mirror(outcome)
    sys.exit(1 if lacks else 0)


def _places(name: str, out: Path | None, store: Path | None, smoke: bool) -> tuple[Path, Path]:
    """(the results' folder, the store); a rehearsal's store is never that of a run."""
    if smoke:
        return out or RUNS / "smoke" / name, (store or out or RUNS) / "smoke-store"
    return out or RUNS / name, store or (out or RUNS) / "store"


def _rehearsed(suite: "Suite", root: Path, here: bool, only: tuple[str, ...], dry_run: bool) -> "Suite":
    """The suite of a rehearsal, whose files take the place of this machine's until the command ends; a dry run leaves
    none behind.
    """
    from ..plan import rehearsal
    from ..plan.cells import make_plan
    from ..plan.select import select
    from ..suite.rehearsal import rehearsal as small

    if not here:
        raise InputError("--smoke rehearses on this machine: leave out --executor")
    found = small(suite)
    # A plan without files, whose cells are the same: what --only gets wrong is said before any is made.
    select(make_plan(found), only)
    context, inputs = click.get_current_context(), root / "inputs"
    if not dry_run:
        require_writable(root)
    elif not inputs.is_dir():
        inputs = Path(context.with_resource(TemporaryDirectory()))
    context.with_resource(rehearsal.entered(suite, inputs))
    return found


def _require_places(folder: Path, suite: Path, settings: tuple[str, ...], artifacts: Any) -> None:
    """InputError unless results and artifacts, if any, can be written; the store's folders are made."""
    from ...reports.run_folder import SUITE
    from ..suite.writing import require_replaceable

    require_results_folder(folder)
    require_replaceable(folder / SUITE, suite, settings)
    if artifacts is not None:
        require_writable(artifacts.root)
        artifacts.prepare()


def _write(plan: Any, outcome: Any, folder: Path, command: Any) -> bool:
    """Write and print the results; whether some of them lack."""
    from ..results import write as outputs

    outputs.write(plan, outcome, folder, outputs.Command(*command))
    _print_run(folder)
    return _said_what_lacks(outputs.failures(plan, outcome), outputs.unmeasured(plan))


def _said_what_lacks(failed: Any, unmeasured: Any) -> bool:
    _print_failures(failed)
    for metric, reason in unmeasured.items():
        click.echo(f"fewstep: {metric}: skipped: {reason}", err=True)
    return bool(failed or unmeasured)


def _print_plan(plan: Any, artifacts: Any, workers: int, verbosity: str | None) -> None:
    from ...reports.status import DONE
    from ..run.forecast import forecast
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
    if missing:
        lines.append(forecast(tasks, missing, artifacts).text(workers))
    lines += [f"  {task.name}  {task.label}" for task in missing if verbosity == "VERBOSE"]
    click.echo("\n".join([*lines, *_runnable(plan)]))


def _runnable(plan: Any) -> list[str]:
    """How many cells can run here, and why the others cannot: what the suite refuses, then what is missing."""
    from ...reports.status import Kind

    reasons = Counter(cell.skipped for cell in plan.cells if cell.score is None)
    refused = sorted(reasons, key=lambda status: (status.kind is not Kind.SKIPPED, -reasons[status]))
    metrics = {
        f"{name}: {why}" for cell in plan.cells if cell.score is not None for name, why in cell.unmeasured.items()
    }
    return [
        f"{len(plan.cells) - reasons.total()} of {len(plan.cells)} cells can run here",
        *(f"  {reasons[status]} {status}" for status in refused),
        *(f"  not measured: {line}" for line in sorted(metrics)),
    ]


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
    apart = {"costs": board.costs, "decoding": board.decoding, "trials": board.trials}
    others = [*board.metrics[1:], *(name for name, table in apart.items() if table)]
    if others:
        click.echo(f"\n{', '.join(others)}:\n  fewstep leaderboard {shlex.quote(str(folder))}")
    click.echo("\n".join(str(folder / name) for name in ("results.csv", "leaderboard.csv", "report.html")))
