"""The leaderboard of run folders: seeds aggregated to entries, entries ranked, written in every format."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from . import costs, trials
from .entries import Board, Entry
from .merge import ConflictError, Merged, merge
from .quality import tables
from .ranking import rank
from .run_folder import ENTRY_KEY, EntryKey, groups
from .selection import select
from .status import DONE, Status
from .tables import write

__all__ = ["Board", "ConflictError", "Entry", "read", "render", "tables", "to_frame"]


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
    made = costs.table(merged), trials.table(merged.trials)
    described = merged.methods, merged.papers
    board = Board(merged.suite, metrics, entries, merged.metrics, merged.labels, *made, *described)
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


def to_frame(board: Board) -> pd.DataFrame:
    """leaderboard.csv: LEADERBOARD_COLUMNS of the run folder, and LEADERBOARD_METRIC_COLUMNS of each metric."""
    lines = []
    first = board.metrics[0]
    for entry in board.entries:
        line: dict[str, object] = {"suite": entry.suite, **{name: getattr(entry.key, name) for name in ENTRY_KEY}}
        if len(board.labels) > 1:
            line["run"] = entry.key.run or _origins(entry, board.labels)
        for metric in board.metrics:
            found = entry.spread(metric)
            for part in ("mean", "std", "low", "high"):
                line[f"{metric}_{part}"] = getattr(found, part) if found else math.nan
            line[f"{metric}_rank"] = entry.rank(metric)
        line |= {"seeds": len(entry.values.get(first, {})), "status": str(entry.statuses.get(first, ""))}
        for metric in board.metrics:
            line[f"{metric}_se"], line[f"{metric}_corrected"] = entry.errors(metric)
            line[f"{metric}_protocol"] = entry.protocols.get(metric, "")
        lines.append(line)
    return pd.DataFrame(lines)


def _origins(entry: Entry, labels: Sequence[str]) -> str:
    having = {label for seeds in entry.sources.values() for found in seeds.values() for label in found}
    return " + ".join(label for label in labels if label in having)


def render(board: Board, style: str, metric: str | None = None) -> str:
    """The board as table, markdown, latex, csv or html; all metrics, the costs and the trials, or the one metric
    named.

    ValueError if it is unknown.
    """
    if metric is not None and metric not in board.metrics:
        raise ValueError(f"no metric {metric!r} in these results; they have {', '.join(board.metrics)}")
    if style == "csv":
        return to_frame(board).to_csv(index=False, lineterminator="\n").rstrip("\n")
    shown = tables(board, [metric] if metric else board.metrics)
    if metric is None:
        shown += [table for table in (board.costs, board.trials) if table is not None]
    return "\n\n".join(write(table, style) for table in shown)
