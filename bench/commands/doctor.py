"""`fewstep doctor`: what is missing, and how to get it."""

import sys

import click

from .layout import table
from .places import data_root_option


@click.command(short_help="Say what is missing, and how to get it.")
@click.argument("suite", required=False)
@data_root_option
def doctor(suite: str | None) -> None:
    """Say what is missing to run SUITE, and how to get it; exit code 1 if anything is, or is not what it should be.

    Lines are broken on a terminal only.
    """
    from ..suite.checks import RULES
    from ..suite.loading import load
    from .findings import FAULTS, findings, to_fetch

    # What is wrong with the files is what is asked.
    found = findings(load(suite, rules=RULES) if suite else None)
    if sys.stdout.isatty():
        rows = ((f"{name}: {state}", [advice] if advice else []) for name, state, advice in found)
        click.echo("\n".join(table(rows, indent=0, column=4)))
    else:
        for name, state, advice in found:
            click.echo(f"{name}: {state}" + (f" ({advice})" if advice else ""))
    if total := to_fetch(found):
        click.echo(total)
    sys.exit(1 if any(state in FAULTS for _, state, _ in found) else 0)
