"""`fewstep join`: parts of one suite, run apart, as one folder of results."""

from pathlib import Path

import click

from ..errors import InputError
from .places import require_writable, results_folder


@click.command(short_help="Join parts of a suite that were run apart.")
@click.argument("places", metavar="DIR DIR...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write; it must not exist.")
def join(places: tuple[str, ...], out: Path) -> None:
    """Write one folder of results from several of the same suite, each run with `--only` on a machine of its own.

    It is what one run of all their cells would have written; run.json keeps each part's command, machine and versions.
    Rows that several parts have must have equal values.

    \b
    fewstep run claims --only seed=0 --only seed=1 --out one
    fewstep run claims --only seed=2 --only seed=3 --out two
    fewstep join one two --out claims
    """
    folders = [results_folder(place) for place in places]
    if len(folders) < 2:
        raise InputError("give at least two folders to join")
    if out.exists():
        raise InputError(f"{out} is there already; name a folder that is not")
    require_writable(out)
    from ...reports import join as reports
    from ...reports import run

    try:
        merged = reports.join(folders, out)
    except ValueError as error:
        raise InputError(str(error)) from None
    run.write_html([out], out / "report.html")
    click.echo(f"{out}: {len(merged.results)} rows of {len(folders)} folders")
