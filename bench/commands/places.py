"""What several verbs are given: where data, runs and artifacts lie, and which row of a run is meant."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from ...methods.options import LARGEST_INTEGER
from ..errors import InputError, shortened

RUNS = Path("runs")

NAME_BYTES, PATH_BYTES = 255, 4000
"""What file systems take of a name and of a path."""

NFE = click.IntRange(0, 10**9)
SEED = click.IntRange(0, LARGEST_INTEGER)
"""What results.csv holds of them."""


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
    return _row_options(command, required=True)


def optional_row_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a verb that can be given something else: method and nfe are then None."""
    return _row_options(command, required=False)


def _row_options(command: Callable[..., Any], required: bool) -> Callable[..., Any]:
    least = click.IntRange(1, NFE.max)
    for option in reversed(
        [
            click.argument("place", metavar="RUN"),
            click.option("--method", required=required, help="A method of the run."),
            click.option("--nfe", type=least, required=required, help="Network evaluations per sample."),
            click.option("--variant", help="Its options, as the leaderboard shows them [default: the first row]."),
            click.option("--budget", help="Its budget, as the leaderboard shows it [default: the first row]."),
            click.option("--seed", type=SEED, default=0, show_default=True),
            store_option,
            click.option("--out", type=click.Path(path_type=Path), required=True, help="The file to write."),
        ]
    ):
        command = option(command)
    return command


def require_writable(folder: Path) -> None:
    """InputError unless files can be made in `folder`, which need not exist. Nothing is left behind."""
    try:
        _probe(folder.absolute())
    except (OSError, ValueError) as error:
        raise _unwritable(folder, error) from None


def require_writable_file(path: Path) -> None:
    """InputError unless the file `path` can be made or replaced. Nothing is left behind."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if path.exists() and not path.is_file():
            return path.open("ab").close()
        _check_names(path.absolute())
        _probe(path.absolute().parent)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None


def require_run_folder(folder: Path) -> None:
    """InputError unless the files of a run can be made or replaced in `folder`."""
    from ...reports.run_folder import FIGURES, FILES

    require_writable(folder)
    for name in FILES:
        if (folder / name).is_dir() != (name == FIGURES) and os.path.lexists(folder / name):
            raise InputError(f"{shortened(folder / name)}: cannot write there: it is in the way of a run's {name}")


def require_results_folder(folder: Path) -> None:
    """As `require_run_folder`; nor may it be a folder of `fewstep evaluate`, whose results no store could give back."""
    from ..results import evaluated

    require_run_folder(folder)
    if evaluated.made_of(folder) is not None:
        raise InputError(f"{folder} holds results of `fewstep evaluate`; choose another folder with --out")


def _unwritable(path: Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(f"{shortened(path)}: cannot write there: {reason}")


def _check_names(path: Path) -> None:
    """OSError for a name that no file system takes: what lies in a folder that is not there yet, nobody else tells."""
    if max(len(os.fsencode(part)) for part in path.parts) > NAME_BYTES or len(os.fsencode(path)) > PATH_BYTES:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def _probe(folder: Path) -> None:
    _check_names(folder)
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    probe = folder / f".probe-{os.getpid()}"
    probe.touch()
    probe.unlink()


def results_folder(place: str) -> Path:
    """The folder of results that DIR|SUITE means."""
    for folder in (Path(place), RUNS / place):
        with suppress(OSError):
            if (folder / "results.csv").is_file():
                return folder
    where, runs = shortened(place), shortened(RUNS / place)
    raise InputError(f"{where}: no results.csv there, nor in {runs}; make one with `fewstep run`")
