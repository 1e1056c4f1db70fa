"""`fewstep leaderboard`: the tables of one run or several."""

import click

from ..errors import InputError
from .places import results_folder


@click.command()
@click.argument("places", metavar="DIR|SUITE...", nargs=-1, required=True)
@click.option("--format", "style", type=click.Choice(["table", "markdown", "latex", "csv", "html"]), default="table")
@click.option("--metric", help="The metric to rank by [default: the suite's first].")
@click.option("--label", "labels", multiple=True, help="What to call a run, once for each DIR: their rows stay apart.")
@click.option("--by-run", is_flag=True, help="Keep the rows of different runs apart, under the names of their folders.")
def leaderboard(places: tuple[str, ...], style: str, metric: str | None, labels: tuple[str, ...], by_run: bool) -> None:
    """Print the leaderboard of a run, or of several together."""
    from ...reports import leaderboard as board

    if labels and len(labels) != len(places):
        raise InputError(f"--label: {len(labels)} labels for {len(places)} runs; give one for each")
    try:
        read = board.read(*map(results_folder, places), labels=labels, by_run=by_run)
        click.echo(board.render(read, style, metric))
    except ValueError as error:
        raise InputError(str(error)) from None
