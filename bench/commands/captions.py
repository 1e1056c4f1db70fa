"""`fewstep captions`: the captions that samples are drawn from."""

import click

from .places import data_root_option


@click.command(short_help="Print captions of a data set.")
@click.argument("dataset")
@click.option("--count", type=click.IntRange(min=1), help="How many [default: the whole list].")
@data_root_option
def captions(dataset: str, count: int | None) -> None:
    """Print the captions of DATASET, one a line: a sample of index i, of any seed, is drawn from line i + 1."""
    from .preparing import captions as frozen

    for line in frozen(dataset, count):
        click.echo(line)
