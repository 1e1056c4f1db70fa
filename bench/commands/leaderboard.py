"""`fewstep leaderboard`: the tables of one run or several."""

from pathlib import Path

import click

from ..errors import InputError
from .places import require_writable_file, results_folder


def _names(_: click.Context, __: click.Parameter, text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _numbers(_: click.Context, option: click.Parameter, text: str | None) -> list[int]:
    names = _names(_, option, text)
    if not all(name.isdecimal() for name in names):
        raise InputError(f"--nfe: expected numbers such as 1,2,4, got {text!r}")
    return list(map(int, names))


@click.command()
@click.argument("places", metavar="DIR|SUITE...", nargs=-1, required=True)
@click.option("--format", "style", type=click.Choice(["table", "markdown", "latex", "csv", "html"]), default="table")
@click.option("--metric", metavar="NAME", help="Only this metric [default: all; as LaTeX the suite's first].")
@click.option("--nfe", "nfes", metavar="N,...", callback=_numbers, help="Only these NFEs, such as 1,2,4.")
@click.option(
    "--methods",
    metavar="NAME,...",
    callback=_names,
    help="Only these methods, such as euler,dpm* or bespoke:RK1; ranks are among them.",
)
@click.option("--sort", default="", metavar="COLUMN", help="Sort each group by method, budget or nfe:N.")
@click.option("--bib", type=click.Path(path_type=Path, dir_okay=False), help="Write the papers cited, for BibTeX.")
@click.option("--label", "labels", multiple=True, help="What to call a run, once for each DIR: their rows stay apart.")
@click.option("--by-run", is_flag=True, help="Keep the rows of different runs apart, under the names of their folders.")
def leaderboard(
    places: tuple[str, ...],
    style: str,
    metric: str | None,
    nfes: list[int],
    methods: list[str],
    sort: str,
    bib: Path | None,
    labels: tuple[str, ...],
    by_run: bool,
) -> None:
    """Print the leaderboard of a run, or of several together.

    A table is as wide as the terminal, or as COLUMNS says; 100 characters in a file or a pipe.
    """
    from ...reports import leaderboard as board
    from ...reports.writing import write_atomic

    if labels and len(labels) != len(places):
        raise InputError(f"--label: {len(labels)} labels for {len(places)} runs; give one for each")
    if bib is not None:
        require_writable_file(bib)
    try:
        read = board.read(*map(results_folder, places), labels=labels, by_run=by_run, methods=methods, nfes=nfes)
        text = board.render(read, style, metric, sort=sort)
    except ValueError as error:
        raise InputError(str(error)) from None
    if bib is not None:
        write_atomic(bib, board.bibliography(read))
    click.echo(text)
