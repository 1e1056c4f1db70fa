"""The leaderboard: seeds aggregated to entries, entries ranked, one table model for every format."""

import itertools
import math
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from . import costs, jackknife, trials
from .measures import measure
from .significance import ERRORS, Spread, differ, spread
from .tables import Table, write

KEY = ["dataset", "teacher", "method", "variant", "budget", "nfe"]


@dataclass
class Entry:
    """One line: a method at one NFE, seeds aggregated. `values` holds each metric's values by seed."""

    dataset: str
    teacher: str
    method: str
    variant: str
    budget: str
    nfe: int
    statuses: dict[str, str] = field(default_factory=dict)
    """By metric: "done", or the first reason among the seeds why a value is missing."""
    values: dict[str, dict[int, float]] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    evaluations: float = 0.0
    """What training spent, the mean over seeds."""
    protocols: dict[str, str] = field(default_factory=dict)
    without: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    """The metric's values without each block of samples, by seed, where they are known."""

    def errors(self, metric: str) -> tuple[float, float]:
        """(standard error from the noises, value corrected for the bias of few samples), the means over seeds; NaN."""
        known = [(self.values[metric][seed], blocks) for seed, blocks in self.without.get(metric, {}).items()]
        if not known or len(known) < len(self.values[metric]):
            return math.nan, math.nan
        error = sum(jackknife.standard_error(blocks) ** 2 for _, blocks in known) ** 0.5 / len(known)
        return error, sum(jackknife.corrected(value, blocks) for value, blocks in known) / len(known)

    def spread(self, metric: str) -> Spread | None:
        return spread(list(self.values[metric].values())) if self.values.get(metric) else None

    @property
    def row(self) -> tuple[str, ...]:
        return self.method, self.variant, self.budget


@dataclass
class Board:
    suite: str
    metrics: list[str]
    entries: list[Entry]
    costs: Table | None = None
    trials: Table | None = None


def read(*folders: Path) -> Board:
    """The board of the results.csv of these folders, entries in the order of the files; costs are the first's."""
    text = dict.fromkeys(("variant", "budget", "status", "method"), "string")
    frames = [
        pd.read_csv(folder / "results.csv", dtype=text, keep_default_na=False, na_values={"value": [""]})
        for folder in folders
    ]
    frame = pd.concat(frames, ignore_index=True)
    frame["protocol"] = frame["protocol"].fillna("") if "protocol" in frame else ""
    blocks = {key: values for folder in folders for key, values in _blocks(folder / "blocks.csv").items()}
    entries = []
    for key, group in frame.groupby(KEY, sort=False):
        dataset, teacher, method, variant, budget, nfe = map(str, key)
        entry = Entry(dataset, teacher, method, variant, budget, int(nfe))
        for metric, part in group.groupby("metric", sort=False):
            bad = part.loc[part["status"] != "done", "status"]
            entry.statuses[str(metric)] = str(bad.iloc[0]) if len(bad) else "done"
        spent = pd.to_numeric(group["train_evaluations"], errors="coerce").mean()
        entry.evaluations = 0.0 if math.isnan(spent) else float(spent)
        for metric, part in group.dropna(subset="value").groupby("metric", sort=False):
            _add_values(entry, str(metric), part, blocks)
        entries.append(entry)
    metrics = list(dict.fromkeys(frame["metric"]))
    board = Board(str(frame["suite"].iloc[0]), metrics, entries, costs.table(folders[0]), trials.table(folders[0]))
    for metric in board.metrics:
        _rank(board.entries, metric)
    return board


def _add_values(entry: Entry, metric: str, rows: pd.DataFrame, blocks: dict[tuple[str, str], list[float]]) -> None:
    """The values by seed of one metric, which must all have been measured by one protocol."""
    protocols = set(rows["protocol"])
    if len(protocols) > 1:
        name = f"{entry.method} at NFE {entry.nfe}"
        raise ValueError(f"{name} has {metric} by several protocols, which cannot be averaged: {', '.join(protocols)}")
    seeds = rows["seed"].astype(int)
    entry.values[metric] = dict(zip(seeds, rows["value"].astype(float), strict=True))
    entry.samples[metric] = int(rows["samples"].iloc[0])
    entry.protocols[metric] = protocols.pop()
    known = {
        seed: blocks[cell, metric] for seed, cell in zip(seeds, rows["cell"], strict=True) if (cell, metric) in blocks
    }
    entry.without |= {metric: known} if known else {}


def _blocks(file: Path) -> dict[tuple[str, str], list[float]]:
    """(cell, metric) -> values without each block of samples; none where the file is missing."""
    if not file.is_file():
        return {}
    frame = pd.read_csv(file, dtype="string")
    return {
        (str(row.cell), str(row.metric)): [float(value) for value in str(row.without).split()]
        for row in frame.itertuples()
    }


def _rank(entries: list[Entry], metric: str) -> None:
    """Ranks within (dataset, teacher, NFE) and protocol; budgets are ranked apart where there are several.

    An entry's rank is one more than the number of entries that are better than it on their common seeds beyond doubt
    (`differ`): rank 1 says that none is.
    """
    several = len({entry.budget for entry in entries} - {"0"}) > 1

    def group(entry: Entry) -> tuple[str, ...]:
        return (
            entry.dataset,
            entry.teacher,
            str(entry.nfe),
            entry.protocols.get(metric, ""),
            entry.budget if several else "",
        )

    sign = -1 if measure(metric).higher_is_better else 1
    scored = [entry for entry in entries if entry.values.get(metric)]
    for _, members in itertools.groupby(sorted(scored, key=group), key=group):
        ordered = sorted(members, key=lambda entry: sign * _mean(entry, metric))
        for position, entry in enumerate(ordered):
            entry.ranks[metric] = 1 + sum(_differ(entry, better, metric) for better in ordered[:position])


def _differ(entry: Entry, other: Entry, metric: str) -> bool:
    """Whether two entries differ on their common seeds, of which there must be one."""
    common = sorted(set(entry.values[metric]) & set(other.values[metric]))
    one, two = ([e.values[metric][seed] for seed in common] for e in (entry, other))
    known = [e.without.get(metric, {}) for e in (entry, other)]
    blocks = [(known[0][seed], known[1][seed]) for seed in common if all(seed in k for k in known)]
    return bool(common) and differ(one, two, blocks)


def _mean(entry: Entry, metric: str) -> float:
    found = entry.spread(metric)
    return found.mean if found is not None else math.nan


def to_frame(board: Board) -> pd.DataFrame:
    """leaderboard.csv: key columns, then mean, std, low, high of each metric, seeds, and the first metric's rank; then
    each metric's standard error by the jackknife, its corrected value and its protocol.
    """
    lines = []
    for entry in board.entries:
        line: dict[str, object] = {"suite": board.suite, **{key: getattr(entry, key) for key in KEY}}
        for metric in board.metrics:
            found = entry.spread(metric)
            for part in ("mean", "std", "low", "high"):
                line[f"{metric}_{part}"] = getattr(found, part) if found else math.nan
        first = entry.values.get(board.metrics[0], {})
        line |= {
            "seeds": len(first),
            "rank": entry.ranks.get(board.metrics[0], ""),
            "status": entry.statuses[board.metrics[0]],
        }
        for metric in board.metrics:
            line[f"{metric}_se"], line[f"{metric}_corrected"] = entry.errors(metric)
            line[f"{metric}_protocol"] = entry.protocols.get(metric, "")
        lines.append(line)
    return pd.DataFrame(lines)


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


def tables(board: Board, metrics: list[str]) -> list[Table]:
    """One table per (dataset, teacher, metric, protocol): methods down, NFE across."""
    shown = []
    for problem in dict.fromkeys((entry.dataset, entry.teacher) for entry in board.entries):
        entries = [entry for entry in board.entries if (entry.dataset, entry.teacher) == problem]
        for metric in metrics:
            protocols = list(dict.fromkeys(e.protocols[metric] for e in entries if metric in e.protocols))
            for protocol in protocols or [""]:
                same = [e for e in entries if e.protocols.get(metric, protocol) == protocol]
                shown.append(_table(board.suite, same, metric, protocol))
    return shown


def _table(suite: str, entries: list[Entry], metric: str, protocol: str) -> Table:
    dataset, teacher = entries[0].dataset, entries[0].teacher
    nfes = sorted({entry.nfe for entry in entries})
    rows = list(dict.fromkeys(entry.row for entry in entries))
    found = {(entry.row, entry.nfe): entry for entry in entries}
    cells = [[*row, *(_cell(found.get((row, nfe)), metric) for nfe in nfes)] for row in rows]
    counts = {entry.samples[metric] for entry in entries if metric in entry.samples}
    seeds = {len(entry.values[metric]) for entry in entries if entry.values.get(metric)}
    better = "higher" if measure(metric).higher_is_better else "lower"
    title = f"{suite}: {metric} ({better} is better) on {dataset}, teacher {teacher}"
    notes = [_about(seeds, counts, any(metric in entry.without for entry in entries))]
    enough = measure(metric).enough
    if counts and min(counts) < enough:
        notes.append(f"{min(counts)} samples are few for {metric}: {enough} are asked for")
    if protocol:
        notes.append(f"protocol {protocol}")
    notes += _reasons([(entry.method, entry.statuses[metric]) for entry in entries if not entry.values.get(metric)])
    return Table(title, ["method", "options", "budget", *(f"NFE {nfe}" for nfe in nfes)], cells, notes)


def _about(seeds: set[int], counts: set[int], blocks: bool) -> str:
    """What a cell is, and what its star says."""
    most = max(seeds, default=0)
    about = "mean ± standard deviation over" if most > 1 else "value of"
    tests = [f"{ERRORS:g} standard errors over the noises (paired jackknife)"] * blocks
    if most > 1:
        tests.append("95 % over the seeds (paired t test)" if most > 2 else f"{ERRORS:g} over the seeds")
    star = f"* nothing is better beyond {' and '.join(tests)}" if tests else "* best; one seed cannot tell how surely"
    luck = "" if most > 2 else f"; {'two seeds say' if most == 2 else 'one seed says'} little about luck in training"
    return f"{about} {_span(seeds)} seed{'s' if most > 1 else ''}, {_span(counts)} samples each; {star}{luck}"


def _reasons(empty: list[tuple[str, str]]) -> list[str]:
    """Why cells, (method, status) each, have no value: a method's first reason, and how many more there are.

    A reason that all of several methods have stands once.
    """
    reasons: dict[str, list[str]] = {}
    for method, status in empty:
        reason = status.removeprefix("skipped: ")
        if reason != "done" and reason not in reasons.setdefault(method, []):
            reasons[method].append(reason)
    if len(reasons) > 1 and len({tuple(found) for found in reasons.values()}) == 1:
        reasons = {"all": next(iter(reasons.values()))}
    return [
        f"– {method}: {found[0]}" + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")
        for method, found in reasons.items()
    ]


def _span(numbers: set[int]) -> str:
    return "–".join(str(number) for number in dict.fromkeys((min(numbers, default=0), max(numbers, default=0))))


def _cell(entry: Entry | None, metric: str) -> str:
    """Empty where the suite did not ask, a dash where the value could not be had."""
    if entry is None:
        return ""
    found = entry.spread(metric)
    if found is None:
        return "–"
    digits = 3 if abs(found.mean) < 1 else 2 if abs(found.mean) < 100 else 1
    value = f"{found.mean:.{digits}f}" + ("" if math.isnan(found.std) else f" ± {found.std:.{digits}f}")
    return value + ("*" if entry.ranks.get(metric) == 1 else "")
