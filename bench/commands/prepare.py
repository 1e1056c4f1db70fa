"""`fewstep prepare`: the archive of a data set from what a user has of it."""

import sys
from pathlib import Path

import click

from ..errors import InputError, printable
from .places import data_root_option


@click.command(short_help="Make the archive of a data set.")
@click.argument("dataset")
@click.option("--from", "source", type=click.Path(path_type=Path), help="What you have of the data set.")
@click.option("--download", is_flag=True, help="Let torchvision download it first (cifar10).")
@click.option("--threads", type=click.IntRange(min=1), help="That decode and resize [default: one per core].")
@data_root_option
def prepare(dataset: str, source: Path | None, download: bool, threads: int | None) -> None:
    """Make the archive of DATASET that suites read. SOURCE is a folder, zip or tar of images, in folders by class or
    with dataset.json; an LSUN database; an npz; or the original download. Interrupted, the same command goes on.
    """
    from ...datasets.registry import data_root
    from ..machine import cores
    from .preparing import prepare as make

    if (source is None) != download:
        raise InputError(f"prepare {dataset}: give either --from SOURCE or --download")
    notes: list[str] = []
    try:
        for path, facts in make(dataset, source, data_root(), threads or cores(), notes.append):
            click.echo(printable(f"{path}: {facts['count']} images, sha256 {facts['sha256'][:16]}"))
        for line in notes:
            click.echo(f"fewstep: {printable(line)}", err=True)
    except KeyboardInterrupt:
        click.echo("fewstep: stopped; the same command resumes from here", err=True)
        sys.exit(130)
