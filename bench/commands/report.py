"""`fewstep report`: one HTML file about a run, or about several."""

from pathlib import Path

import click

from ..errors import InputError
from .places import require_run_folder, require_writable_file, results_folder


@click.command(short_help="Write a report as one HTML file.")
@click.argument("places", metavar="DIR|SUITE...", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The file to write [default: DIR/report.html; several runs need it].",
)
@click.option("--label", "labels", multiple=True, help="What to call a run, once for each DIR: their rows stay apart.")
@click.option("--by-run", is_flag=True, help="Keep the rows of different runs apart, under the names of their folders.")
def report(places: tuple[str, ...], out: Path | None, labels: tuple[str, ...], by_run: bool) -> None:
    """Write a report as one HTML file, which opens without a network: a summary, tables that sort and filter, figures,
    and for each row how to repeat it, what it cost and its samples.

    Several runs are read as `fewstep leaderboard` reads them.
    """
    folders = [results_folder(place) for place in places]
    if labels and len(labels) != len(places):
        raise InputError(f"--label: {len(labels)} labels for {len(places)} runs; give one for each")
    if out is None and len(folders) > 1:
        raise InputError("a report of several runs belongs to none of their folders: name its file with --out")
    target = out or folders[0] / "report.html"
    require_writable_file(target)
    if target.parent == folders[0]:
        require_run_folder(folders[0])
    from ...reports import run as reports

    try:
        reports.write_html(folders, target, labels, by_run)
    except ValueError as error:
        raise InputError(str(error)) from None
    click.echo(target)
