"""`fewstep report`: one HTML file of a run."""

from pathlib import Path

import click

from ..errors import InputError
from .places import require_writable, results_folder


@click.command()
@click.argument("place", metavar="DIR")
@click.option("--out", type=click.Path(path_type=Path), help="The file to write [default: DIR/report.html].")
def report(place: str, out: Path | None) -> None:
    """Write the report of a run as one HTML file."""
    from ...reports import run as reports

    folder = results_folder(place)
    target = out or folder / "report.html"
    require_writable(target.parent)
    try:
        reports.write_html(folder, target)
    except ValueError as error:
        raise InputError(str(error)) from None
    click.echo(target)
