"""The command line: `fewstep` and its verbs."""

import logging
from typing import Any

import click

from ... import __version__
from ..errors import InputError, RegisterError, UnknownNameError, printable
from .captions import captions
from .check import check
from .doctor import doctor
from .evaluate import evaluate
from .export import export
from .figure import figure
from .leaderboard import leaderboard
from .list import list_names
from .prepare import prepare
from .report import report
from .run import run
from .sample import sample
from .show import show
from .solvers import solvers


class OneLineErrors(click.Group):
    """InputError becomes one line on stderr and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (InputError, RegisterError, UnknownNameError) as error:
            click.echo(f"fewstep: {printable(str(error))}", err=True)
            ctx.exit(2)


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="fewstep %(version)s")
def main() -> None:
    """Compare few-step diffusion samplers: one teacher, one measured compute budget, one way to score."""
    logging.basicConfig(level=logging.WARNING, format="fewstep: %(levelname)s: %(message)s")


for verb in (
    captions,
    check,
    doctor,
    evaluate,
    export,
    figure,
    leaderboard,
    list_names,
    prepare,
    report,
    run,
    sample,
    show,
    solvers,
):
    main.add_command(verb)
