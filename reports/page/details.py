"""What a row of a table opens to: how to repeat it, what it cost, how and on which seeds it was measured."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .. import naming
from ..entries import Board, Entry
from ..merge import Merged
from ..naming import FREE, Row
from ..run_folder import ENTRY_KEY
from .papers import Paper
from .sources import Source
from .strips import Strip, Strips

Problem = tuple[str, str]
Record = dict[str, object]
UNTUNED = ("", "default")
DATA = {True: "needs no images", False: "is trained on images of the data set", None: ""}


@dataclass(frozen=True)
class Value:
    """Of one metric: the values by seed, what is said of them, and why there are none."""

    metric: str
    seeds: list[tuple[int, str]]
    facts: str
    reason: str = ""


@dataclass(frozen=True)
class Point:
    """A row at one NFE. cells: (seed, name of the artifact)."""

    nfe: int
    values: list[Value]
    sampling: str
    training: str
    cells: list[tuple[int, str]]
    strip: Strip | None


@dataclass(frozen=True)
class Detail:
    """id: of its place on the page. commands: (label of the run if there are several, parts of the command) that
    repeat the row.
    """

    id: str
    name: str
    kind: str
    facts: list[tuple[str, str]]
    papers: list[Paper]
    commands: list[tuple[str, list[str]]]
    points: list[Point] = field(default_factory=list)


class Details:
    """Makes the details of the rows of a board."""

    def __init__(self, board: Board, merged: Merged, sources: Sequence[Source], papers: Mapping[str, Paper]) -> None:
        self.board, self.sources, self.papers = board, sources, papers
        self.strips = {source.label: Strips(source.pictures) for source in sources}
        key = [*ENTRY_KEY, "run"]
        cells = merged.results.drop_duplicates([*key, "seed"])
        self.cells: dict[tuple[object, ...], list[Record]] = {}
        for cell in cells.fillna({"rules": ""}).to_dict("records"):
            self.cells.setdefault(tuple(cell[name] for name in key), []).append({str(k): v for k, v in cell.items()})
        self.variants = {method: set(rows) for method, rows in merged.results.groupby("method")["variant"]}
        self.spent: dict[tuple[object, ...], list[Record]] = {}
        for row in merged.costs.to_dict("records"):
            self.spent.setdefault(tuple(row[name] for name in key), []).append({str(k): v for k, v in row.items()})
        errors = merged.results[merged.results["standard_error"].astype("string").fillna("") != ""]
        places = errors[[*key, "seed", "metric"]].itertuples(index=False, name=None)
        self.errors = dict(zip(places, errors["standard_error"].astype(float), strict=True))

    def all(self, ids: Mapping[tuple[Problem, Row], str]) -> list[Detail]:
        entries: dict[tuple[Problem, Row], list[Entry]] = {}
        for problem, own in self.board.shown.items():
            for entry in own:
                entries.setdefault((problem, entry.key.row), []).append(entry)
        names = {
            problem: naming.labels(self.board, [row for place, row in entries if place == problem])
            for problem in self.board.problems
        }
        return [self._detail(ids[place], names[place[0]][place[1]], entries[place]) for place in ids]

    def _detail(self, place: str, name: str, entries: list[Entry]) -> Detail:
        method = self.board.method(entries[0].method)
        facts = [(what, text) for what, text in {**self._facts(entries), **self._protocols(entries)}.items() if text]
        points = [self._point(place, name, entry) for entry in sorted(entries, key=lambda entry: entry.nfe)]
        papers = [self.papers[key] for key in method.papers if key in self.papers]
        kind = self.board.kind(entries[0].key.row)
        return Detail(place, name, kind, facts, papers, self._commands(entries), points)

    def _facts(self, entries: list[Entry]) -> dict[str, str]:
        first = entries[0]
        method = self.board.method(first.method)
        rules = dict.fromkeys(str(cell["rules"]) for entry in entries for cell in self._cells(entry))
        return {
            "method": f"{method.display} ({first.method})" if method.display != first.method else first.method,
            "options": first.variant or "the defaults",
            "budget": naming.budget(first.budget, unit=True) if first.trained else "",
            "data": DATA[method.data_free],
            "data set, teacher": f"{first.dataset}, {first.teacher}",
            "origin" if first.elsewhere else "tuning": ", ".join(rule for rule in rules if rule not in UNTUNED),
        }

    def _protocols(self, entries: list[Entry]) -> dict[str, str]:
        found = {}
        for metric in self.board.metrics:
            used = dict.fromkeys(entry.protocols[metric] for entry in entries if entry.protocols.get(metric))
            found[f"{naming.metric(self.board, metric)} by"] = ", ".join(used)
        return found

    def _cells(self, entry: Entry) -> list[Record]:
        key = (*(getattr(entry.key, name) for name in ENTRY_KEY), entry.key.run)
        return self.cells.get(key, [])

    def _commands(self, entries: list[Entry]) -> list[tuple[str, list[str]]]:
        key = entries[0].key
        having = {str(cell["source"]) for entry in entries for cell in self._cells(entry)}
        words = [f"method={key.method}"]
        words += [f"variant={key.variant}"] if len(self.variants[key.method]) > 1 else []
        words += [f"budget={key.budget}"] if key.budget != FREE else []
        words += [f"dataset={key.dataset}", f"teacher={key.teacher}"] if len(self.board.problems) > 1 else []
        words += [f"nfe={nfe}" for nfe in sorted({entry.nfe for entry in entries})]
        chosen = [f"--only {shlex.quote(word)}" for word in words]
        return [
            (source.label if len(self.sources) > 1 else "", [f"fewstep run {source.suite}", *chosen, "--out again"])
            for source in self.sources
            if source.label in having and source.suite
        ]

    def _point(self, place: str, name: str, entry: Entry) -> Point:
        cells = self._cells(entry)
        strip = None
        for cell in cells:
            strips = self.strips[str(cell["source"])]
            strip = strip or strips.of(str(cell["cell"]), f"{place}-{entry.nfe}", f"{name} at NFE {entry.nfe}")
        artifacts = [(int(str(cell["seed"])), f"score-{cell['cell']}") for cell in cells if cell["cell"]]
        values = [self._value(entry, metric) for metric in self.board.metrics if metric in entry.statuses]
        return Point(entry.nfe, values, _sampling(cells), self._training(entry, cells), artifacts, strip)

    def _value(self, entry: Entry, metric: str) -> Value:
        name, status = naming.metric(self.board, metric), entry.statuses[metric]
        found = entry.spread(metric)
        if found is None:
            return Value(name, [], "", status.note)
        key = (*(getattr(entry.key, name) for name in ENTRY_KEY), entry.key.run)
        seeds = []
        for seed, value in entry.values[metric].items():
            error = self.errors.get((*key, seed, metric), math.nan)
            seeds.append((seed, f"{value:.6g}" + (f" ± {naming.number(error, value)}" if error == error else "")))
        facts = [f"rank {entry.rank(metric)} of {entry.rivals[metric]}"] if metric in entry.ranks else []
        facts += [f"{entry.samples[metric]} samples"]
        return Value(name, seeds, "; ".join(facts), "" if status.done else status.note)

    def _training(self, entry: Entry, cells: list[Record]) -> str:
        """What one training run spent, by use; means over the seeds."""
        if not entry.trained:
            return ""
        key = (*(getattr(entry.key, name) for name in ENTRY_KEY), entry.key.run)
        spent = self.spent.get(key, [])
        parts = []
        if spent:
            runs = len({row["seed"] for row in spent})
            uses = dict.fromkeys(str(row["use"]) for row in spent)
            by_use = {use: _sum(spent, "evaluations", use) / runs for use in uses}
            listed = ", ".join(f"{use} {evaluations:,.0f}" for use, evaluations in by_use.items())
            parts = [f"{sum(by_use.values()):,.0f} evaluations ({listed})"]
            parts += [f"{_short(_sum(spent, 'flops') / runs)}FLOP"]
            parts += [", ".join(dict.fromkeys(str(row["training"]) for row in spent))]
        elif entry.evaluations:
            parts = [f"{entry.evaluations:,.0f} evaluations"]
        measured = [f"{_short(mean)}{unit}" for name, unit in UNITS.items() if (mean := _mean(cells, name)) is not None]
        return "; ".join([*parts[:2], *measured, *parts[2:]])


UNITS = {"train_seconds": " s", "trainable_parameters": " parameters", "train_peak_bytes": "B at the peak"}


def _sampling(cells: Sequence[Record]) -> str:
    """What sampling costs per sample, the means over the seeds."""
    seconds, flops, forwards = (_mean(cells, name) for name in ("seconds_per_image", "flops_per_image", "forwards"))
    parts = [
        f"{1000 * seconds:.3g} ms" if seconds is not None else "",
        f"{_short(flops)}FLOP" if flops is not None else "",
        f"{forwards:g} forward{'s' * (forwards != 1)}" if forwards is not None else "",
    ]
    decoding = [_mean(cells, name) for name in ("decode_seconds_per_image", "decode_flops_per_image")]
    if decoding[0] is not None and decoding[1] is not None:
        parts += [f"and decoding {1000 * decoding[0]:.3g} ms, {_short(decoding[1])}FLOP"]
    return ", ".join(filter(None, parts))


def _sum(rows: Sequence[Record], name: str, use: str | None = None) -> float:
    return sum(float(str(row[name])) for row in rows if use is None or row["use"] == use)


def _mean(cells: Sequence[Record], name: str) -> float | None:
    values = [float(str(cell[name])) for cell in cells if cell[name] not in ("", None)]
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else None


def _short(number: float) -> str:
    """`1.25 M`: three digits and a power of a thousand."""
    power, sign = next(((p, s) for p, s in naming.POWERS.items() if number >= p), (1.0, ""))
    return f"{number / power:.4g} {sign}".rstrip() if not sign else f"{number / power:.4g} {sign}"
