"""The command line. Each command imports what it needs when it runs: --help and mistakes are answered at once."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from ... import __version__
from ..errors import InputError, RegisterError, printable

RUNS = Path("runs")


class OneLineErrors(click.Group):
    """InputError and RegisterError become one line on stderr and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (InputError, RegisterError) as error:
            click.echo(f"fewstep: {printable(str(error))}", err=True)
            ctx.exit(2)


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="fewstep %(version)s")
def main() -> None:
    """Compare few-step diffusion samplers: one teacher, one measured compute budget, one way to score."""
    logging.basicConfig(level=logging.WARNING, format="fewstep: %(levelname)s: %(message)s")


_data_root = click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    envvar="FEWSTEP_DATA",
    default=Path("data"),
    show_default=True,
    help="Folder of the archives that `fewstep prepare` makes.",
)


@main.command()
@click.argument("suite")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results [default: runs/<suite>].")
@click.option("--store", type=click.Path(path_type=Path), envvar="FEWSTEP_STORE", help="Folder of the artifacts.")
@_data_root
@click.option("--only", multiple=True, metavar="KEY=VALUE", help="Only the cells with this method, dataset, seed, nfe.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a value of the suite.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes [default: one per GPU, or per core].")
@click.option("--threads", type=click.IntRange(min=1), help="Torch threads per worker [default: 1; more with GPUs].")
@click.option("--executor", type=click.Choice(["local"]), default="local", show_default=True)
@click.option("--dry-run", is_flag=True, help="Print the cells and what is missing, and do nothing.")
@click.option("--cached", is_flag=True, help="Compute nothing: write and print what the store holds.")
def run(
    suite: str,
    out: Path | None,
    store: Path | None,
    data_root: Path,
    only: tuple[str, ...],
    settings: tuple[str, ...],
    workers: int | None,
    threads: int | None,
    executor: str,
    dry_run: bool,
    cached: bool,
) -> None:
    """Run SUITE (a file, or the name of a shipped suite) and print its leaderboard.

    Artifacts go to runs/store, or to DIR/store with --out DIR; what stands there is not done again.
    """
    from ..machine import shares
    from ..plan.cells import make_plan
    from ..plan.select import select
    from ..results import write as outputs
    from ..run import runner, stale
    from ..run.executors import LocalExecutor
    from ..run.progress import Progress
    from ..store import Store
    from ..suite.schema import load

    os.environ["FEWSTEP_DATA"] = str(data_root)
    plan = select(make_plan(load(suite, settings)), only)
    artifacts = Store(store or (out or RUNS) / "store")
    folder = out or RUNS / plan.suite.name
    if dry_run:
        return _print_plan(plan, artifacts)
    _writable(folder)
    artifacts.prepare()
    shared, each, gpus = shares(plan.suite.device, workers, threads)

    def make_executor(tasks: int) -> LocalExecutor:
        return LocalExecutor(artifacts.root, min(shared, tasks), each, gpus)

    try:
        outcome = (
            stale.stored(plan, artifacts) if cached else runner.run(plan.tasks(), artifacts, make_executor, Progress())
        )
    except KeyboardInterrupt:
        click.echo("fewstep: stopped; the same command goes on from here", err=True)
        sys.exit(130)
    outputs.write(plan, outcome, folder)
    _print_run(folder)
    failed = outputs.failures(plan, outcome)
    for cell, status in failed:
        click.echo(f"fewstep: {cell.method} NFE {cell.nfe} seed {cell.seed}: {status}", err=True)
    unmeasured = outputs.unmeasured(plan)
    for metric, reason in unmeasured.items():
        click.echo(f"fewstep: {metric}: skipped: {reason}", err=True)
    sys.exit(1 if failed or unmeasured else 0)


def _print_plan(plan: Any, artifacts: Any) -> None:
    from ..run.stale import reasons

    tasks = plan.tasks()
    present = {task.name for task in tasks if (artifacts.root / task.name).is_dir()}
    absent = reasons(plan, artifacts, present)
    for cell in plan.cells:
        state = f"skipped: {cell.skipped}" if cell.score is None else absent.get(cell.score.name, "done")
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


def _writable(folder: Path) -> None:
    """InputError unless files can be made in `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{folder}: cannot write there: {error.strerror}") from None


def _results_folder(place: str) -> Path:
    """The folder of results that DIR|SUITE means."""
    for folder in (Path(place), RUNS / place):
        if (folder / "results.csv").is_file():
            return folder
    raise InputError(f"{place}: no results.csv there, nor in {RUNS / place}; make one with `fewstep run`")


@main.command()
@click.argument("places", metavar="DIR|SUITE...", nargs=-1, required=True)
@click.option("--format", "style", type=click.Choice(["table", "markdown", "latex", "csv", "html"]), default="table")
@click.option("--metric", help="The metric to rank by [default: the suite's first].")
def leaderboard(places: tuple[str, ...], style: str, metric: str | None) -> None:
    """Print the leaderboard of a run, or of several together."""
    from ...reports import leaderboard as board

    try:
        click.echo(board.render(board.read(*map(_results_folder, places)), style, metric))
    except ValueError as error:
        raise InputError(str(error)) from None


@main.command()
@click.argument("place", metavar="DIR")
@click.option("--out", type=click.Path(path_type=Path), help="The file to write [default: DIR/report.html].")
def report(place: str, out: Path | None) -> None:
    """Write the report of a run as one HTML file."""
    from ...reports import run as reports

    folder = _results_folder(place)
    target = out or folder / "report.html"
    _writable(target.parent)
    reports.write_html(folder, target)
    click.echo(target)


@main.command("list")
@click.argument("kind", type=click.Choice(["methods", "solvers", "datasets", "teachers", "metrics", "suites"]))
def list_names(kind: str) -> None:
    """List what a suite may name."""
    _list(kind)


def _list(kind: str) -> None:
    from .catalogue import catalogue

    entries = catalogue(kind)
    width = max(len(name) for name, _ in entries)
    for name, summary in entries:
        click.echo(f"{name:<{width}}  {summary}".rstrip())


@main.command()
@click.option("--orders", is_flag=True, help="Measure each solver's order of accuracy on laws with a known solution.")
def solvers(orders: bool) -> None:
    """List the training-free solvers."""
    if not orders:
        return _list("solvers")
    from ..benchmarks.solver_orders import table

    table(click.echo)


def _row_options(command: Any) -> Any:
    """The options that name a row of a finished run."""
    for option in reversed(
        [
            click.argument("place", metavar="RUN"),
            click.option("--method", required=True, help="A method of the run."),
            click.option("--nfe", type=click.IntRange(min=1), required=True),
            click.option("--variant", help="Its options, as the leaderboard shows them [default: the first row]."),
            click.option("--budget", help="Its budget, as the leaderboard shows it [default: the first row]."),
            click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
            click.option("--store", type=click.Path(path_type=Path), envvar="FEWSTEP_STORE"),
            click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True),
        ]
    ):
        command = option(command)
    return command


@main.command()
@_row_options
@click.option("--count", type=click.IntRange(min=1), default=64, show_default=True)
def sample(place: str, store: Path | None, out: Path, count: int, **row: Any) -> None:
    """Draw samples of a method of a finished run as a PNG picture."""
    from ..results.lookup import Wanted
    from .sample import draw

    draw(_results_folder(place), Wanted(**row), count, store, out)
    click.echo(out)


@main.command()
@_row_options
def export(place: str, store: Path | None, out: Path, **row: Any) -> None:
    """Copy what a method of a finished run learned: a safetensors file that fewstep.methods.saved loads."""
    from ..results.lookup import Wanted
    from ..results.lookup import export as copy

    copy(_results_folder(place), Wanted(**row), store, out)
    click.echo(out)


@main.command()
@click.argument("images", type=click.Path(path_type=Path))
@click.option("--dataset", required=True, help="What they are compared with: a name, or other images.")
@click.option("--metrics", help="Names, with commas between [default: all that can be had here].")
@click.option(
    "--reference", "given", multiple=True, metavar="METRIC=FILE", help="Published statistics to compare with."
)
@click.option(
    "--rounding",
    type=click.Choice(["round", "truncate", "unknown"]),
    default="round",
    show_default=True,
    help="How the samples became 8 bits, for the protocol.",
)
@click.option(
    "--captions",
    type=click.Path(path_type=Path),
    help="A text file with a caption per image and line [default: the data set's].",
)
@click.option("--method", help="What made them [default: the name of IMAGES].")
@click.option("--variant", default="", help="Its options.")
@click.option(
    "--teacher", default="elsewhere", show_default=True, help="The network behind it, as leaderboards call it."
)
@click.option("--budget", default="elsewhere", show_default=True, help="What its training cost.")
@click.option("--nfe", type=click.IntRange(min=0), default=0, help="Its network evaluations per image, if known.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the results [default: runs/evaluated/<method>]."
)
@click.option("--store", type=click.Path(path_type=Path), envvar="FEWSTEP_STORE", help="Folder of the artifacts.")
@_data_root
def evaluate(
    images: Path,
    dataset: str,
    metrics: str | None,
    given: tuple[str, ...],
    rounding: str,
    captions: Path | None,
    device: str,
    out: Path | None,
    store: Path | None,
    data_root: Path,
    **row: Any,
) -> None:
    """Measure IMAGES made anywhere: a folder, zip or tar of files, or an npz of guided-diffusion's form.

    The results can stand beside a suite's: `fewstep leaderboard DIR OTHER`.
    """
    from ..machine import gpus, shares
    from .evaluate_request import Request

    os.environ["FEWSTEP_DATA"] = str(data_root)
    row["method"] = row["method"] or images.stem
    names = tuple(name.strip() for name in metrics.split(",")) if metrics else ()
    references = dict(_assignment("--reference", word) for word in given)
    # As a suite on the CPU names it, whose features are then found in the store.
    device = "cpu" if device == "auto" and not gpus(device) else device
    request = Request(images, dataset, names, row, references, rounding, captions, device)
    request.wanted()
    folder = out or RUNS / "evaluated" / row["method"]
    from ..results import rows as results
    from ..results import write
    from ..run import runner
    from ..run.executors import LocalExecutor
    from ..run.progress import Progress
    from ..store import Store, write_atomic
    from . import evaluate_images as stage

    artifacts = Store(store or (out or RUNS) / "store")

    def run(tasks: list[Any]) -> Any:
        _writable(folder)  # Only now: wrong images leave nothing behind.
        artifacts.prepare()
        _, threads, cards = shares(device, 1, None)
        return runner.run(tasks, artifacts, lambda count: LocalExecutor(artifacts.root, 1, threads, cards), Progress())

    rows, blocks = stage.evaluate(request, run)
    write_atomic(folder / "results.csv", results.to_csv(rows))
    write_atomic(folder / "blocks.csv", results.to_csv(blocks, results.BLOCK_COLUMNS))
    write_atomic(folder / write.METRICS, write.metric_facts(request.wanted()))
    from ...reports import leaderboard as board

    click.echo(board.render(board.read(folder), "table"))
    click.echo(folder / "results.csv")
    skipped = [line for line in rows if line["status"] != "done"]
    for line in skipped:
        click.echo(f"fewstep: {line['metric']}: {line['status']}", err=True)
    sys.exit(1 if skipped else 0)


def _assignment(option: str, word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not (key and equals and value):
        raise InputError(f"{option} {word}: expected METRIC=FILE")
    return key, value


@main.command()
@click.argument("dataset")
@click.option("--from", "source", type=click.Path(path_type=Path), help="What you have of the data set.")
@click.option("--download", is_flag=True, help="Let torchvision download it first (cifar10).")
@click.option("--threads", type=click.IntRange(min=1), help="That decode and resize [default: one per core].")
@_data_root
def prepare(dataset: str, source: Path | None, download: bool, threads: int | None, data_root: Path) -> None:
    """Make the archive of DATASET that suites read. SOURCE is a folder, zip or tar of images, in folders by class or
    with dataset.json; an LSUN database; an npz; or the original download. Interrupted, the same command goes on.
    """
    from ..machine import cores
    from .prepare import prepare as make

    if (source is None) != download:
        raise InputError(f"prepare {dataset}: give either --from SOURCE or --download")
    _writable(data_root)
    try:
        for path, facts in make(dataset, source, data_root, threads or cores()):
            click.echo(f"{path}: {facts['count']} images, sha256 {facts['sha256'][:16]}")
    except KeyboardInterrupt:
        click.echo("fewstep: stopped; the same command goes on from here", err=True)
        sys.exit(130)


@main.command()
@click.argument("dataset")
@click.option("--count", type=click.IntRange(min=1), help="How many [default: the whole list].")
@_data_root
def captions(dataset: str, count: int | None, data_root: Path) -> None:
    """Print the captions of DATASET, one a line: a sample of index i, of any seed, is drawn from line i + 1."""
    from .prepare import captions as frozen

    os.environ["FEWSTEP_DATA"] = str(data_root)
    for line in frozen(dataset, count):
        click.echo(line)


@main.command()
@click.argument("suite", required=False)
@_data_root
def doctor(suite: str | None, data_root: Path) -> None:
    """Say what is missing to run SUITE, and how to get it; exit code 1 if anything is, or is not what it should be."""
    from ..suite.schema import load
    from .doctor import FAULTS, findings

    os.environ["FEWSTEP_DATA"] = str(data_root)
    faulty = False
    for name, state, advice in findings(load(suite) if suite else None):
        click.echo(f"{name}: {state}" + (f" ({advice})" if advice else ""))
        faulty |= state in FAULTS
    sys.exit(1 if faulty else 0)
