"""The command line: `fewstep` and its verbs."""

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import click

from ... import __version__
from ...reports.writing import WriteError
from ..errors import (
    INTERRUPTED,
    TERMINATED,
    CorruptError,
    DamagedError,
    InputError,
    Mistakes,
    RegisterError,
    Terminated,
    UnknownNameError,
    printable,
    shortened,
)
from .captions import captions
from .check import check
from .choose import choose
from .claims import claims
from .compare import compare
from .doctor import doctor
from .evaluate import evaluate
from .export import export
from .figure import figure
from .join import join
from .leaderboard import leaderboard
from .list import list_names
from .new import new
from .prepare import prepare
from .report import report
from .run import run
from .sample import sample
from .show import show
from .solvers import solvers
from .sync import sync

COLLECTED = 100_000
"""Objects after which garbage is looked for. Plans and tables are kept whole: looking every 700 takes a fifth of their
time."""


class OneLineErrors(click.Group):
    """What is wrong with an input, a file or a disk becomes one line on stderr, each mistake of a suite one, and exit
    code 2.
    """

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _usage_in_a_line():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _usage_in_a_line():
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            click.echo("fewstep: stopped", err=True)
            ctx.exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED)

    def main(self, *args: Any, **options: Any) -> Any:
        try:
            return super().main(*args, **options)
        except CorruptError as error:
            _refuse(f"{error}; run the suite again, or name its store with --store")
        except Mistakes as error:
            _refuse(*error.lines)
        except (InputError, RegisterError, UnknownNameError, DamagedError) as error:
            _refuse(str(error))
        except OSError as error:
            _refuse(_described(error))


@contextmanager
def _usage_in_a_line() -> Iterator[None]:
    """Click's own complaints, which take four lines with the usage, as an InputError that names the help."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        said = error.format_message().removesuffix(".")
        end = "" if said.endswith(("?", "?)")) else "."
        command = error.ctx.command_path if error.ctx else "fewstep"
        raise InputError(f"{said[:1].lower()}{said[1:]}{end} See `{command} --help`") from None


def _described(error: OSError) -> str:
    if isinstance(error, WriteError):
        return str(error)
    reason = error.strerror or str(error)
    return f"{shortened(error.filename)}: {reason}" if error.filename is not None else f"cannot write: {reason}"


def _refuse(*lines: str) -> NoReturn:
    with suppress(OSError):
        click.echo("\n".join(f"fewstep: {printable(line)}" for line in lines), err=True)
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        # What a full device has not taken would fail again when Python ends.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.exit(2)


@click.group("fewstep", cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="fewstep %(version)s")
def main() -> None:
    """Compare few-step diffusion samplers: one teacher, one measured compute budget, one way to score."""
    gc.set_threshold(COLLECTED)
    logging.basicConfig(level=logging.WARNING, format="fewstep: %(levelname)s: %(message)s")


for verb in (
    captions,
    check,
    choose,
    claims,
    compare,
    doctor,
    evaluate,
    export,
    figure,
    join,
    leaderboard,
    list_names,
    new,
    prepare,
    report,
    run,
    sample,
    show,
    solvers,
    sync,
):
    main.add_command(verb)
