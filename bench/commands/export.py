"""`fewstep export`: what a row learned, as a file."""

from pathlib import Path
from typing import Any

import click

from .places import require_writable_file, results_folder, row_options


@click.command()
@row_options
def export(place: str, store: Path | None, out: Path, **row: Any) -> None:
    """Copy what a method of a finished run learned: a safetensors file that fewstep.methods.saved loads."""
    from ..results.lookup import Wanted
    from ..results.lookup import export as copy

    folder = results_folder(place)
    require_writable_file(out)
    copy(folder, Wanted(**row), store, out)
    click.echo(out)
