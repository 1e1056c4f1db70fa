"""The leaderboard of run folders: seeds aggregated to entries, entries ranked, written in every format."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from . import costs, trials
from .entries import Board, Entry
from .merge import ConflictError, Merged, merge
from .order import ordered
from .quality import tables
from .ranking import rank
from .run_folder import ENTRY_KEY, LEADERBOARD_COLUMNS, EntryKey, groups, papers_by_key
from .selection import select
from .status import DONE, Status
from .writing import write

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
    merged = select(merge(folders, labels, by_run), methods, nfes)
    entries = [_entry(EntryKey(*key), rows, merged) for key, rows in groups(merged.results, [*ENTRY_KEY, "run"])]
    metrics = list(dict.fromkeys(merged.results["metric"]))
    described = merged.metrics, merged.labels, merged.methods, merged.papers
    board = Board(merged.suite, metrics, entries, *described)
    board.costs, board.trials = costs.table(board, merged), trials.table(board, merged.trials)
    for metric in metrics:
        rank(board, metric)
    return board


def _entry(key: EntryKey, rows: pd.DataFrame, merged: Merged) -> Entry:
    entry = Entry(key, suite=" + ".join(dict.fromkeys(rows["suite"])))
    spent = rows["train_evaluations"].mean()
    entry.evaluations = 0.0 if math.isnan(spent) else float(spent)
    for name, part in rows.groupby("metric", sort=False):
        bad = [status for status in map(Status.parse, part["status"]) if not status.done]
        entry.statuses[str(name)] = bad[0] if bad else DONE
        valued = part[part["value"].notna()]
        if len(valued):
            _add_values(entry, str(name), valued, merged)
    return entry


def _add_values(entry: Entry, metric: str, rows: pd.DataFrame, merged: Merged) -> None:
    """The values by seed of one metric, which must all have been measured by one protocol."""
    protocols = dict(zip(rows["protocol"], rows["source"], strict=True))
    if len(protocols) > 1:
        found = ", ".join(f"{protocol or 'unknown'} in {source}" for protocol, source in protocols.items())
        apart = "; tell them apart with --label" * (len(set(protocols.values())) > 1)
        raise ConflictError(
            f"{entry.method} at NFE {entry.nfe} has {metric} by several protocols, which cannot be averaged: "
            f"{found}{apart}"
        )
    seeds = rows["seed"].astype(int).tolist()
    entry.values[metric] = dict(zip(seeds, rows["value"], strict=True))
    entry.samples[metric] = int(rows["samples"].iloc[0])
    (entry.protocols[metric],) = protocols
    entry.sources[metric] = dict(zip(seeds, rows["sources"], strict=True))
    entry.lacked[metric] = [
        (label, seed, s) for seed, row in zip(seeds, rows["lacked"], strict=True) for label, s in row
    ]
    cells = zip(rows["source"], rows["cell"], strict=True)
    blocks = {seed: merged.blocks.get((*cell, metric)) for seed, cell in zip(seeds, cells, strict=True)}
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
    }


def _origins(entry: Entry, metric: str, labels: Sequence[str]) -> str:
    """Where several folders were read, those that have a value."""
    having = {label for found in entry.sources.get(metric, {}).values() for label in found}
    return " + ".join(label for label in labels if label in having) if len(labels) > 1 else ""


def render(board: Board, style: str, metric: str | None = None, *, sort: str = "", width: int | None = None) -> str:
    """The board as table, markdown, latex, csv or html.

    All metrics, the costs and the trials, or the one metric named; as latex the first metric where none is. sort: as
    `order.ordered`. width: of the style table in characters, by default the terminal's. ValueError if the metric, or
    the column to sort by, is unknown.
    """
    if metric is not None and metric not in board.metrics:
        raise ValueError(f"no metric {metric!r} in these results; they have {', '.join(board.metrics)}")
    if style == "csv":
        return to_frame(board, [metric] if metric else (), sort).to_csv(index=False, lineterminator="\n").rstrip("\n")
    if style == "latex":
        metric = metric or board.metrics[0]
    shown = tables(board, [metric] if metric else board.metrics, sort)
    if metric is None:
        shown += [table for table in (board.costs, board.trials) if table is not None]
    return "\n\n".join(write(table, style, width) for table in shown)


def bibliography(board: Board) -> str:
    """The papers of the board's methods, for BibTeX."""
    cited = {key for entry in board.entries for key in board.method(entry.method).papers}
    return "\n\n".join(entry for key, entry in papers_by_key(board.papers).items() if key in cited) + "\n"
