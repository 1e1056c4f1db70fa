"""`fewstep report`: one HTML file of a run."""

from pathlib import Path

import click

from .places import require_run_folder, require_writable_file, results_folder


@click.command()
@click.argument("place", metavar="DIR")
@click.option("--out", type=click.Path(path_type=Path), help="The file to write [default: DIR/report.html].")
def report(place: str, out: Path | None) -> None:
    """Write the report of a run as one HTML file."""
    from ...reports import run as reports

    folder = results_folder(place)
    target = out or folder / "report.html"
    require_writable_file(target)
    if target.parent == folder:
        require_run_folder(folder)
    reports.write_html(folder, target)
    click.echo(target)
