"""The leaderboard of run folders: seeds aggregated to entries, entries ranked, written in every format."""

import math
import operator
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import costs, decoding, trials
from .entries import Board, Entry
from .exact import with_percents
from .formats import write
from .merge import ConflictError, Merged, merge
from .order import ordered
from .quality import tables
from .ranking import rank
from .run_folder import ENTRY_KEY, LEADERBOARD_COLUMNS, EntryKey, papers_by_key
from .selection import select
from .status import DONE, Status

__all__ = ["Board", "ConflictError", "Entry", "bibliography", "read", "render", "tables", "to_frame"]


def read(
    *folders: Path,
    labels: Sequence[str] = (),
    by_run: bool = False,
    methods: Sequence[str] = (),
    nfes: Sequence[int] = (),
) -> Board:
    """The board of these run folders, entries in the order of their files.

    Rows of several folders are merged by their keys, and seeds of one entry pooled, as `merge` says. With `by_run`, or
    `labels` for the folders, rows of different folders are different entries instead. Of the rest only these `methods`
    and `nfes` are taken, if any are given (`selection.select`), so that entries are ranked among those shown.

    ConflictError where two values have one key, or the seeds of an entry were measured by several protocols; ValueError
    for methods or NFEs that no row has.
    """
    merged = select(with_percents(merge(folders, labels, by_run)), methods, nfes)
    rows: dict[EntryKey, list[Any]] = {}
    names = operator.attrgetter(*ENTRY_KEY, "run")
    for row in merged.results.astype(object).itertuples(index=False):
        rows.setdefault(EntryKey(*names(row)), []).append(row)
    entries = [_entry(key, own, merged) for key, own in rows.items()]
    metrics = list(dict.fromkeys(merged.results["metric"]))
    described = merged.metrics, merged.labels, merged.methods, merged.papers
    board = Board(merged.suite, metrics, entries, *described)
    board.costs, board.trials = costs.table(board, merged), trials.table(board, merged.trials)
    board.decoding = decoding.table(board, merged)
    for metric in metrics:
        rank(board, metric)
    return board


def _entry(key: EntryKey, rows: Sequence[Any], merged: Merged) -> Entry:
    """The entry of these rows of `Merged.results`."""
    entry = Entry(key, suite=" + ".join(dict.fromkeys(row.suite for row in rows)))
    entry.evaluations = _mean([row.train_evaluations for row in rows], 0.0)
    entry.train_flops = _mean([row.train_flops for row in rows])
    entry.flops_per_image = _mean([row.flops_per_image for row in rows])
    for metric in dict.fromkeys(row.metric for row in rows):
        own = [row for row in rows if row.metric == metric]
        bad = (status for status in map(_parsed, (row.status for row in own)) if not status.done)
        entry.statuses[metric] = next(bad, DONE)
        valued = [row for row in own if not math.isnan(row.value)]
        if valued:
            _add_values(entry, metric, valued, merged)
    return entry


@lru_cache
def _parsed(status: str) -> Status:
    return Status.parse(status)


def _mean(numbers: Sequence[float], otherwise: float = math.nan) -> float:
    """Of those that are there."""
    known = [number for number in numbers if not math.isnan(number)]
    return float(np.mean(known)) if known else otherwise


def _add_values(entry: Entry, metric: str, rows: Sequence[Any], merged: Merged) -> None:
    """The values by seed of one metric, which must all have been measured by one protocol."""
    protocols = {row.protocol: row.source for row in rows}
    if len(protocols) > 1:
        found = ", ".join(f"{protocol or 'unknown'} in {source}" for protocol, source in protocols.items())
        apart = "; tell them apart with --label" * (len(set(protocols.values())) > 1)
        raise ConflictError(
            f"{entry.method} at NFE {entry.nfe} has {metric} by several protocols, which cannot be averaged: "
            f"{found}{apart}"
        )
    entry.values[metric] = {int(row.seed): row.value for row in rows}
    entry.samples[metric] = int(rows[0].samples)
    (entry.protocols[metric],) = protocols
    entry.sources[metric] = {int(row.seed): row.sources for row in rows}
    entry.lacked[metric] = [(label, int(row.seed), status) for row in rows for label, status in row.lacked]
    blocks = {int(row.seed): merged.blocks.get((row.source, row.cell, metric)) for row in rows}
    known = {seed: values for seed, values in blocks.items() if values is not None}
    entry.without |= {metric: known} if known else {}


def to_frame(board: Board, metrics: Sequence[str] = (), sort: str = "") -> pd.DataFrame:
    """leaderboard.csv: a line per entry and metric that was asked of it, of all metrics or of these."""
    lines = []
    for metric in metrics or board.metrics:
        for entry in _sorted(board, metric, sort):
            if metric in entry.statuses:
                lines.append(_line(board, entry, metric))
    return pd.DataFrame(lines, columns=list(LEADERBOARD_COLUMNS))


def _sorted(board: Board, metric: str, sort: str) -> list[Entry]:
    if not sort:
        return board.entries
    places = {(entry.key.row, entry.nfe): entry for entry in board.entries}
    rows = ordered(board, dict.fromkeys(entry.key.row for entry in board.entries), places, metric, sort)
    position = {row: i for i, row in enumerate(rows)}
    return sorted(board.entries, key=lambda entry: position[entry.key.row])


def _line(board: Board, entry: Entry, metric: str) -> dict[str, object]:
    found = entry.spread(metric)
    error, corrected = entry.errors(metric)
    return {
        "suite": entry.suite,
        **{name: getattr(entry.key, name) for name in ENTRY_KEY},
        "run": entry.key.run or _origins(entry, metric, board.labels),
        "metric": metric,
        **{part: getattr(found, part) if found else math.nan for part in ("mean", "std", "low", "high")},
        "standard_error": error,
        "corrected": corrected,
        "rank": entry.rank(metric),
        "best": int(metric in entry.starred),
        "seeds": len(entry.values.get(metric, {})),
        "samples": entry.samples.get(metric, ""),
        "status": str(entry.statuses[metric]),
        "protocol": entry.protocols.get(metric, ""),
        "train_evaluations": math.nan if entry.elsewhere else entry.evaluations,
    }


def _origins(entry: Entry, metric: str, labels: Sequence[str]) -> str:
    """Where several folders were read, those that have a value."""
    having = {label for found in entry.sources.get(metric, {}).values() for label in found}
    return " + ".join(label for label in labels if label in having) if len(labels) > 1 else ""


def render(
    board: Board,
    style: str,
    metric: str | None = None,
    *,
    sort: str = "",
    width: int | None = None,
    transpose: bool = False,
) -> str:
    """The board as table, markdown, latex, siunitx, csv or html.

    All metrics, the costs, the trials, or the one metric named; as LaTeX the first metric where none is. sort: as
    `order.ordered`. width: of the style table in characters, by default the terminal's. transpose: methods across and
    NFE down, in any style but csv. ValueError if the metric, or the column to sort by, is unknown.
    """
    if metric is not None and metric not in board.metrics:
        raise ValueError(f"no metric {metric!r} in these results; they have {', '.join(board.metrics)}")
    if style == "csv":
        return to_frame(board, [metric] if metric else (), sort).to_csv(index=False, lineterminator="\n").rstrip("\n")
    if style in ("latex", "siunitx"):
        metric = metric or board.metrics[0]
    shown = tables(board, [metric] if metric else board.metrics, sort)
    if metric is None:
        shown += [table for table in (board.costs, board.decoding, board.trials) if table is not None]
    return "\n\n".join(write(table.transposed() if transpose else table, style, width) for table in shown)


def bibliography(board: Board) -> str:
    """The papers of the board's methods, for BibTeX."""
    cited = {key for entry in board.entries for key in board.method(entry.method).papers}
    return "\n\n".join(entry for key, entry in papers_by_key(board.papers).items() if key in cited) + "\n"
