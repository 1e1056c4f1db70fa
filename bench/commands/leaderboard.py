"""`fewstep leaderboard`: the tables of one run or several."""

from pathlib import Path

import click

from ..errors import InputError
from . import beside
from .places import require_writable_file, results_folder
from .rows import require_labels, rows_options

STYLES = ["table", "markdown", "latex", "siunitx", "csv", "html"]
STYLES_HELP = "[default: table] latex is for booktabs; siunitx is the same with numbers aligned by that package."


@click.command(short_help="Print the tables of runs.")
@click.argument("places", metavar="DIR|SUITE...", nargs=-1, required=True)
@click.option("--format", "style", type=click.Choice(STYLES), default="table", help=STYLES_HELP)
@click.option("--metric", metavar="NAME", help="Only this metric [default: all; as LaTeX the suite's first].")
@rows_options
@click.option("--sort", default="", metavar="COLUMN", help="Sort each group by method, budget or nfe:N.")
@click.option(
    "--against",
    type=click.Choice(["published"]),
    help="The paper's table that the suite repeats, with ours beside it; alone where nothing has been run.",
)
@click.option("--transpose", is_flag=True, help="Methods across and NFE down.")
@click.option("--bib", type=click.Path(path_type=Path, dir_okay=False), help="Write the papers cited, for BibTeX.")
def leaderboard(
    places: tuple[str, ...],
    style: str,
    metric: str | None,
    nfes: list[int],
    methods: list[str],
    sort: str,
    transpose: bool,
    against: str | None,
    bib: Path | None,
    labels: tuple[str, ...],
    by_run: bool,
) -> None:
    """Print the leaderboard of a run, or of several together.

    scoreboard-cifar10 and scoreboard-imagenet64 are what papers print of sampling in at most four evaluations.

    A table is as wide as the terminal, or as COLUMNS says; 100 characters in a file or a pipe.
    """
    from ...reports import leaderboard as board
    from ...reports.writing import write_atomic

    require_labels(labels, places)
    if len(places) == 1 and (quoted := beside.scoreboard(places[0], style)) is not None:
        if any((metric, nfes, methods, sort, transpose, against, bib)):
            raise InputError(f"{places[0]} is a table of published numbers: of the options it has --format alone")
        return click.echo(quoted)
    if against or (len(places) == 1 and beside.only_published(places[0])):
        click.echo(beside.text(places, style, metric))
        return
    if bib is not None:
        require_writable_file(bib)
    try:
        read = board.read(*map(results_folder, places), labels=labels, by_run=by_run, methods=methods, nfes=nfes)
        text = board.render(read, style, metric, sort=sort, transpose=transpose)
    except ValueError as error:
        raise InputError(str(error)) from None
    if bib is not None:
        write_atomic(bib, board.bibliography(read))
    click.echo(text)
