"""`fewstep doctor`: what is missing, and how to get it."""

import sys

import click

from .places import data_root_option


@click.command()
@click.argument("suite", required=False)
@data_root_option
def doctor(suite: str | None) -> None:
    """Say what is missing to run SUITE, and how to get it; exit code 1 if anything is, or is not what it should be."""
    from ..suite.loading import load
    from .findings import FAULTS, findings

    faulty = False
    for name, state, advice in findings(load(suite) if suite else None):
        click.echo(f"{name}: {state}" + (f" ({advice})" if advice else ""))
        faulty |= state in FAULTS
    sys.exit(1 if faulty else 0)
