"""What the caller asks for, checked against what the runs hold."""

from collections.abc import Sequence
from pathlib import Path

from .. import leaderboard
from ..entries import Board
from .chosen import Chosen

NARROWEST, WIDEST = 2.0, 20.0
"""Inches: in less no label fits, and more is no page."""


def choose(
    folders: Sequence[Path],
    metric: str | None,
    methods: Sequence[str],
    nfes: Sequence[int],
    width: float,
    problem: tuple[str | None, str | None],
    labels: Sequence[str],
    by_run: bool,
    together: bool = False,
) -> Chosen:
    """together: several problems make one figure. ValueError for a name or number that the runs do not have, for
    several problems where they do not, and for an unfit width.
    """
    if not NARROWEST <= width <= WIDEST:
        raise ValueError(f"width {width:g}: give {NARROWEST:g} to {WIDEST:g} inches")
    whole = leaderboard.read(*folders, labels=labels, by_run=by_run)
    if metric is not None and metric not in whole.metrics:
        raise ValueError(f"no metric {metric!r} in these results; they have {', '.join(whole.metrics)}")
    board = whole
    if methods or nfes:
        board = leaderboard.read(*folders, labels=labels, by_run=by_run, methods=methods, nfes=nfes)
    unlike = folders if labels else list({folder.resolve(): folder for folder in folders}.values())
    named = dict(zip(whole.labels, unlike, strict=True))
    found = _problems(board, *problem, together)
    return Chosen(board, metric or whole.metrics[0], found[0], width, tuple(nfes), named, whole, tuple(found))


def _problems(board: Board, dataset: str | None, teacher: str | None, together: bool) -> list[tuple[str, str]]:
    found = [p for p in board.problems if dataset in (None, p[0]) and teacher in (None, p[1])]
    if len(found) == 1 or (found and together):
        return found
    listed = ", ".join(f"{name} with {other}" for name, other in board.problems)
    if found:
        raise ValueError(
            f"the rows are on several data sets or teachers, {listed}: choose with --dataset and --teacher"
        )
    raise ValueError(f"no rows on {dataset or 'any data set'} with {teacher or 'any teacher'}; there are {listed}")
