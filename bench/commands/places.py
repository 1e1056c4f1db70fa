"""What several verbs are given: where data, runs and artifacts lie, and which row of a run is meant."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..errors import InputError

RUNS = Path("runs")


def _enter(ctx: click.Context, parameter: click.Parameter, value: Path) -> None:
    # Worker processes inherit the environment, and find the archives where this process does.
    os.environ["FEWSTEP_DATA"] = str(value)


data_root_option = click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    envvar="FEWSTEP_DATA",
    default=Path("data"),
    show_default=True,
    expose_value=False,
    callback=_enter,
    help="Folder of the archives that `fewstep prepare` makes.",
)
store_option = click.option(
    "--store", type=click.Path(path_type=Path), envvar="FEWSTEP_STORE", help="Folder of the artifacts."
)


def row_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name a row of a finished run."""
    for option in reversed(
        [
            click.argument("place", metavar="RUN"),
            click.option("--method", required=True, help="A method of the run."),
            click.option("--nfe", type=click.IntRange(min=1), required=True, help="Network evaluations per sample."),
            click.option("--variant", help="Its options, as the leaderboard shows them [default: the first row]."),
            click.option("--budget", help="Its budget, as the leaderboard shows it [default: the first row]."),
            click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
            store_option,
            click.option(
                "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write."
            ),
        ]
    ):
        command = option(command)
    return command


def require_writable(folder: Path) -> None:
    """InputError unless files can be made in `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{folder}: cannot write there: {error.strerror}") from None


def results_folder(place: str) -> Path:
    """The folder of results that DIR|SUITE means."""
    for folder in (Path(place), RUNS / place):
        if (folder / "results.csv").is_file():
            return folder
    raise InputError(f"{place}: no results.csv there, nor in {RUNS / place}; make one with `fewstep run`")
