"""What training cost, beside what it gave: evaluations by use, seconds, parameters."""

import math

import pandas as pd

from .entries import Board
from .lines import Line, fill
from .merge import Merged
from .naming import named
from .run_folder import CELL_KEY, ELSEWHERE
from .tables import Cell, Table

SHOWN = {
    "ground truth": ("ground truth", "pairs"),
    "selection": ("selection", "search"),
}
"""Columns of the table, if any run has them: uses that are not the training itself."""
MEASURED = {"train_seconds": "seconds", "trainable_parameters": "parameters", "train_peak_bytes": "peak MB"}


def table(board: Board, merged: Merged) -> Table | None:
    """The training runs, a line per method, options and budget; None if nothing was trained.

    A method that is trained anew for each NFE has a range where these runs differ.
    """
    frame = _runs(merged)
    if frame.empty:
        return None
    spent = {name: name for name in SHOWN if frame[name].any()}
    columns = {"train_evaluations": "evaluations", **spent, **MEASURED}
    places, rows = named(frame)
    lines = []
    for key, runs in frame.groupby([*places, *rows], sort=False):
        names = tuple(map(str, key))
        by_nfe = runs.groupby("nfe")[list(columns)].mean()
        cells = [_trained_for(runs), *(_span(by_nfe[name]) for name in by_nfe)]
        lines.append(Line(names[len(places) :], list(map(Cell, cells)), names[: len(places)]))
    suite = " + ".join(dict.fromkeys(frame["suite"]))
    note = (
        "one evaluation is one teacher forward on one sample, in measured FLOPs; means over the seeds, ranges over NFE"
    )
    empty = Table(
        f"{suite}: what training cost", ["trained for", *columns.values()], [], [note], left=1, key=(suite, "costs")
    )
    return fill(board, empty, lines, list(places.values()))


def _trained_for(runs: pd.DataFrame) -> str:
    nfes = sorted(set(runs["nfe"]))
    if len(nfes) == 1:
        return f"NFE {nfes[0]}"
    return "all NFEs" if (runs.groupby("seed")["training"].nunique() == 1).all() else "each NFE"


def _runs(merged: Merged) -> pd.DataFrame:
    """One line per trained cell: key, seed, nfe, what was spent in all and on SHOWN."""
    cells = merged.results.drop_duplicates([*CELL_KEY, "run"])
    cells = cells[~cells["budget"].isin(["0", *ELSEWHERE]) & cells["train_seconds"].notna()]
    cells = cells.assign(train_peak_bytes=cells["train_peak_bytes"] / 1e6)
    spent, keys = merged.costs, [*CELL_KEY, "run"]
    cells = cells.merge(spent[[*keys, "training"]].drop_duplicates(), how="left", on=keys)
    for name, uses in SHOWN.items():
        sums = spent[spent["use"].isin(uses)].groupby(keys)["evaluations"].sum()
        cells = cells.merge(sums.rename(name).reset_index(), how="left", on=keys)
        cells[name] = cells[name].astype(float).fillna(0.0)
    return cells


def _span(values: pd.Series) -> str:
    """The value, or the range of values that differ."""
    low, high = float(values.min()), float(values.max())
    if math.isnan(high):
        return "–"
    digits = 1 if high < 100 and high != int(high) else 0
    if high - low <= 0.02 * high:
        low = high = float(values.mean())
    ends = dict.fromkeys(f"{end:,.{digits}f}" if end else "0" for end in (low, high))
    return "–".join(ends)
