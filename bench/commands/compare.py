"""`fewstep compare`: what changed between two runs of a suite."""

import sys
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from .places import results_folder

if TYPE_CHECKING:
    from ...reports.entries import Board


@click.command(short_help="Say what changed between two runs.")
@click.argument("old", metavar="A")
@click.argument("new", metavar="B")
@click.option("--metric", help="Only this metric [default: all].")
@click.option("--all", "everything", is_flag=True, help="Print also what is equal or within its error.")
@click.option("--fail", is_flag=True, help="Exit with 1 if something got worse.")
def compare(old: str, new: str, metric: str | None, everything: bool, fail: bool) -> None:
    """Say what is better or worse beyond its error in run B than in run A of the same suite.

    Values on the same seeds are compared seed by seed. What was measured by different protocols is not compared.

    \b
    fewstep compare leaderboards/quickstart runs/quickstart --fail
    """
    from ...reports import compare as comparing
    from ...reports.formats import write

    boards = [_board(place) for place in (old, new)]
    _require_metric(metric, boards)
    if boards[0].suite != boards[1].suite:
        click.echo(f"fewstep: the suites differ: A is of {boards[0].suite}, B of {boards[1].suite}", err=True)
    found = [change for change in comparing.changes(*boards) if metric in (None, change.metric)]
    shown = found if everything else [change for change in found if change.verdict in comparing.CHANGES]
    if shown:
        click.echo(write(comparing.table(shown, (old, new), (boards[0], boards[1])), "table").lstrip("\n"))
    click.echo(comparing.summary(found))
    worse = any(change.verdict is comparing.Verdict.WORSE for change in found)
    sys.exit(1 if fail and worse else 0)


def _board(place: str) -> "Board":
    from ...reports import leaderboard

    try:
        return leaderboard.read(results_folder(place))
    except ValueError as error:
        raise InputError(str(error)) from None


def _require_metric(metric: str | None, boards: "list[Board]") -> None:
    known = list(dict.fromkeys(name for board in boards for name in board.metrics))
    if metric is not None and metric not in known:
        raise InputError(f"no metric {metric!r} in these results; they have {', '.join(known)}")
