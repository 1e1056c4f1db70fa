"""`fewstep export`: what a row learned, as a file."""

from pathlib import Path
from typing import Any

import click

from .places import require_writable_file, results_folder, row_options


@click.command(short_help="Copy what a method learned to a file.")
@row_options
def export(place: str, store: Path | None, out: Path, **row: Any) -> None:
    """Copy what a method of a finished run learned: a safetensors file that fewstep.methods.saved loads."""
    from ..results.lookup import Wanted, unsaid
    from ..results.lookup import export as copy

    folder = results_folder(place)
    require_writable_file(out)
    wanted = Wanted(**row)
    copy(folder, wanted, store, out)
    if note := unsaid(folder, wanted):
        click.echo(f"fewstep: {note}", err=True)
    click.echo(out)
