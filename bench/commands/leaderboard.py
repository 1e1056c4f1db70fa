"""`fewstep leaderboard`: the tables of one run or several."""

import click

from ..errors import InputError
from .places import results_folder


@click.command()
@click.argument("places", metavar="DIR|SUITE...", nargs=-1, required=True)
@click.option("--format", "style", type=click.Choice(["table", "markdown", "latex", "csv", "html"]), default="table")
@click.option("--metric", help="The metric to rank by [default: the suite's first].")
def leaderboard(places: tuple[str, ...], style: str, metric: str | None) -> None:
    """Print the leaderboard of a run, or of several together."""
    from ...reports import leaderboard as board

    try:
        click.echo(board.render(board.read(*map(results_folder, places)), style, metric))
    except ValueError as error:
        raise InputError(str(error)) from None
