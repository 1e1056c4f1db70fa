"""A paper's table beside a run of its suite, or alone where the suite has not been run."""

import io
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import InputError
from .places import results_folder

if TYPE_CHECKING:
    from ...reports.entries import Board
    from ...reports.published.against import Beside


PAPERS = "papers/"
"""The folder of shipped suites in which scoreboards may be looked for too."""


def only_published(place: str) -> bool:
    """Whether `place` is a suite that repeats a paper's table and has no results."""
    from ..suite.loading import load, shipped_names

    with suppress(InputError):
        results_folder(place)
        return False
    if not (os.path.isfile(place) or place in shipped_names()):
        return False
    return load(place).paper is not None


def scoreboard(place: str, style: str) -> str | None:
    """The published numbers of a data set in a style of `fewstep leaderboard`, as csv the rows of the collection; None
    if `place` names no scoreboard, or a run that somebody has called so.
    """
    import dataclasses

    from ...reports.formats import write
    from ...reports.published import scoreboard as boards

    dataset = boards.SCOREBOARDS.get(place.removeprefix(PAPERS))
    with suppress(InputError):
        results_folder(place)
        return None
    if dataset is None:
        return None
    if style == "csv":
        return _csv([dataclasses.asdict(row) for row in boards.rows(dataset)])
    return write(boards.table(dataset), style)


def text(places: Sequence[str], style: str, metric: str | None) -> str:
    """The table in a style of `fewstep leaderboard`; as csv a row for each published number."""
    from ...reports.formats import write
    from ...reports.published import against

    if len(places) != 1:
        raise InputError("--against published: give one run, or one suite")
    beside, board = _read(places[0])
    if style == "csv":
        return _csv(against.frame(beside, board))
    made = [table for table in against.tables(beside, board) if metric in (None, table.key[-1])]
    if not made:
        known = dict.fromkeys(table.key[-1] for table in against.tables(beside, board))
        raise InputError(f"--metric {metric}: the paper's table has {', '.join(known)}")
    return "\n\n".join(write(table, style) for table in made)


def _read(place: str) -> "tuple[Beside, Board | None]":
    from ...reports import leaderboard
    from ...reports.published import against
    from ..results.published import beside
    from ..suite.loading import load

    if only_published(place):
        stated = beside(load(place))
        assert stated is not None
        return stated, None
    folder = results_folder(place)
    found = against.read(folder)
    if found is None:
        raise InputError(f"{place}: its suite repeats no paper's table; see `paper` in docs/suites.md")
    return found, leaderboard.read(folder)


def _csv(rows: list[dict[str, object]]) -> str:
    import pandas as pd

    stream = io.StringIO()
    pd.DataFrame(rows).to_csv(stream, index=False, lineterminator="\n")
    return stream.getvalue().rstrip("\n")
