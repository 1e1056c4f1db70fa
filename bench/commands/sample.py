"""`fewstep sample`: a picture of a row's samples."""

from pathlib import Path
from typing import Any

import click

from .places import require_writable_file, results_folder, row_options


@click.command(short_help="Draw samples of a run as a picture.")
@row_options
@click.option("--count", type=click.IntRange(min=1), default=64, show_default=True, help="Samples in the picture.")
def sample(place: str, store: Path | None, out: Path, count: int, **row: Any) -> None:
    """Draw samples of a method of a finished run as a PNG picture."""
    from ..results.lookup import Wanted, unsaid
    from .drawing import write_picture

    folder = results_folder(place)
    require_writable_file(out)
    wanted = Wanted(**row)
    write_picture(folder, wanted, count, store, out)
    if note := unsaid(folder, wanted):
        click.echo(f"fewstep: {note}", err=True)
    click.echo(out)
