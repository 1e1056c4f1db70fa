"""`fewstep check`: the conformance kit, for what is built in and for what an installed package announces."""

import json
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import click

from ..errors import InputError

KINDS = ("method", "solver", "dataset", "metric", "executor")
DATASETS = ("mixture-2d", "digits")


@click.command(short_help="Check a method, solver or data set of yours.")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), help="What NAME is, where it is the name of several things.")
@click.option(
    "--dataset",
    type=click.Choice(DATASETS),
    default=DATASETS[0],
    show_default=True,
    help="Data of the tiny teacher for a method: points and an MLP, or images and a U-Net.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
def check(name: str, kind: str | None, dataset: str, as_json: bool) -> None:
    """Check that a method, solver, data set, metric or executor keeps its promises.

    Prints a line for each property: `ok`, `FAILED` with what to do, or `not applicable` with the reason. Exit code 1
    if any failed.
    """
    found, entry = find(name, kind)
    _quiet_libraries()
    verdicts = []
    for verdict in checked(found, entry, dataset):
        verdicts.append(verdict)
        if not as_json:
            click.echo(verdict.line)
    failed = [verdict for verdict in verdicts if verdict.state == "FAILED"]
    if as_json:
        rows = [{"property": v.claim, "state": v.state, "reason": v.reason} for v in verdicts]
        click.echo(json.dumps({"name": name, "kind": found, "properties": rows}, indent=1))
    else:
        click.echo(f"{found} {name}: {len(verdicts)} properties, {len(failed)} failed")
    sys.exit(1 if failed else 0)


def registers() -> dict[str, Mapping[str, Any]]:
    """Everything that can be checked, by kind and name. No torch."""
    from ...datasets.registry import DATASETS
    from ...methods.registry import METHODS
    from ..metrics.register import METRICS
    from ..run.executor import EXECUTORS

    return {
        "method": {name: spec for name, spec in METHODS.items() if spec.trains},
        "solver": {name: spec for name, spec in METHODS.items() if spec.kind == "solver"},
        "dataset": DATASETS,
        "metric": METRICS,
        "executor": EXECUTORS,
    }


def find(name: str, kind: str | None = None) -> tuple[str, Any]:
    """(kind, entry) of that name; InputError if there is none, or several and no kind is given."""
    from ...methods.registry import did_you_mean

    known = {key: entries for key, entries in registers().items() if kind in (None, key)}
    found = [(key, entries[name]) for key, entries in known.items() if name in entries]
    if not found:
        names = [other for entries in known.values() for other in entries]
        what = kind or "method, solver, data set, metric or executor"
        raise InputError(f"no {what} is called {name!r}{did_you_mean(name, names)}")
    if len(found) > 1:
        several = " and ".join(f"a {key}" for key, _ in found)
        raise InputError(f"{name!r} is {several}: say which with --kind")
    return found[0]


def checked(kind: str, entry: Any, dataset: str = DATASETS[0]) -> Iterator[Any]:
    """The verdicts on an entry of a register, as they come."""
    from .conformance.properties import verdicts

    if kind == "dataset":
        from .conformance import dataset as of_data

        yield from verdicts(of_data.DataUnderTest(entry), of_data.PROPERTIES)
    elif kind == "metric":
        from .conformance import metric, metric_setup

        yield from verdicts(metric_setup.under_test(entry), metric.PROPERTIES)
    elif kind == "executor":
        from .conformance import executor

        with executor.under_test(entry) as subject:
            yield from verdicts(subject, executor.PROPERTIES)
    else:
        yield from _row(entry, dataset)


def _row(spec: Any, dataset: str) -> Iterator[Any]:
    from .conformance import sampling, setup, solver, training
    from .conformance.properties import verdicts

    data = setup.load_data(dataset)
    if setup.is_solver(spec):
        yield from verdicts(sampling.Row(spec, data), solver.PROPERTIES)
    else:
        yield from verdicts(training.TrainedRow(spec, data), training.PROPERTIES)


def _quiet_libraries() -> None:
    """Lightning's tips are no part of the answer."""
    import pytorch_lightning
    import torch

    torch.set_num_threads(1)
    for name in (pytorch_lightning.__name__, f"{pytorch_lightning.__name__}.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="Found .* in eval mode at the start of training")
    warnings.filterwarnings("ignore", module="pytorch_lightning.*")
