"""`fewstep compare`: what changed between two runs of a suite, and whether two boards have one order."""

import sys
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from .places import results_folder

if TYPE_CHECKING:
    from ...reports.compare import Change
    from ...reports.entries import Board

STYLES = ["table", "markdown", "latex", "csv", "html"]
Pair = tuple["Board", "Board"]


@click.command(short_help="Say what changed between two runs, or whether two boards agree.")
@click.argument("old", metavar="A")
@click.argument("new", metavar="B")
@click.option("--metric", help="Only this metric [default: all; for the order each board's Fréchet distance].")
@click.option("--order", is_flag=True, help="Whether B has A's rows in the same order: rank correlations by NFE.")
@click.option("--all", "everything", is_flag=True, help="Print also what is equal or within its error.")
@click.option("--fail", is_flag=True, help="Exit with 1 if something got worse.")
@click.option("--format", "style", type=click.Choice(STYLES), default="table", show_default=True)
def compare(old: str, new: str, metric: str | None, order: bool, everything: bool, fail: bool, style: str) -> None:
    """Say what is better or worse beyond its error in run B than in run A of the same suite.

    Values on the same seeds are compared seed by seed. What was measured by different protocols is not compared. Of
    boards that have no data set with its teacher in common the order of the rows is compared, as with --order.

    \b
    fewstep compare leaderboards/quickstart runs/quickstart --fail
    fewstep compare leaderboards/digits leaderboards/cifar10-cpu
    """
    boards = _board(old), _board(new)
    if order or not _share_a_problem(boards):
        if fail or everything:
            why = "" if order else ": A and B have no data set with its teacher in common"
            raise InputError(f"--all and --fail are about values, and here the order is compared{why}")
        click.echo(_orders(boards, metric, style))
        return
    found = _changes(boards, metric)
    click.echo(_values(found, everything, (old, new), boards, style), nl=False)
    sys.exit(1 if fail and any(change.worse for change in found) else 0)


def _share_a_problem(boards: Pair) -> bool:
    first, second = ({entry.key.problem for entry in board.entries} for board in boards)
    return not first.isdisjoint(second)


def _orders(boards: Pair, metric: str | None, style: str) -> str:
    from ...reports import agreement
    from ...reports.formats import write

    try:
        names = agreement.metrics(boards, metric)
    except ValueError as error:
        raise InputError(str(error)) from None
    found = agreement.agreements(boards, names)
    if style == "csv":
        return agreement.to_frame(found).to_csv(index=False, lineterminator="\n").rstrip("\n")
    return write(agreement.table(found, boards, names), style)


def _changes(boards: Pair, metric: str | None) -> "list[Change]":
    from ...reports.compare import changes

    _require_metric(metric, boards)
    if boards[0].suite != boards[1].suite:
        click.echo(f"fewstep: the suites differ: A is of {boards[0].suite}, B of {boards[1].suite}", err=True)
    return [change for change in changes(*boards) if metric in (None, change.metric)]


def _values(found: "list[Change]", everything: bool, places: tuple[str, str], boards: Pair, style: str) -> str:
    """The changes, or all that was compared, and how many there are of each verdict; csv has no such count."""
    from ...reports import compare as comparing
    from ...reports.formats import write

    shown = found if everything else [change for change in found if change.verdict in comparing.CHANGES]
    if style == "csv":
        return comparing.to_frame(shown).to_csv(index=False, lineterminator="\n")
    table = write(comparing.table(shown, places, boards), style).lstrip("\n") + "\n" if shown else ""
    return f"{table}{comparing.summary(found)}\n"


def _board(place: str) -> "Board":
    from ...reports import leaderboard

    try:
        return leaderboard.read(results_folder(place))
    except ValueError as error:
        raise InputError(str(error)) from None


def _require_metric(metric: str | None, boards: Pair) -> None:
    known = list(dict.fromkeys(name for board in boards for name in board.metrics))
    if metric is not None and metric not in known:
        raise InputError(f"no metric {metric!r} in these results; they have {', '.join(known)}")
