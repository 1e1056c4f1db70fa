"""A run folder: its files, what their columns hold, the key of a row, and a reader for each file.

A missing file reads as empty, but for results.csv, which makes a folder a run. bench writes by these names and columns.
A file that is not as fewstep writes it is a DamagedError: one line with the file, the line, and what is wrong.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import records
from .budgets import ELSEWHERE as ELSEWHERE
from .reading import Lines, finite, images, record, refuse, text
from .status import Status

RESULTS, BLOCKS, COSTS, TRIALS = "results.csv", "blocks.csv", "costs.csv", "trials.csv"
LEADERBOARD, REPORT, FIGURES = "leaderboard.csv", "report.html", "figures"
FACTS, METRICS, SUITE = "run.json", "metrics.json", "suite.yaml"
METHODS, PAPERS = "methods.json", "papers.bib"
PICTURES, LEARNED, CURVES = "pictures.npz", "learned.json", "curves.csv"
PUBLISHED = "published.json"

FILES = {
    RESULTS: "a row per data set, teacher, method, variant, budget, seed, NFE and metric",
    BLOCKS: "what the jackknife needs: a row per cell and metric",
    COSTS: "what training spent: a row per trained cell and use",
    TRIALS: "what was tried where options were tuned: a row per cell and trial",
    LEADERBOARD: "a row per entry and metric: mean over the seeds, spread, error, rank",
    REPORT: "the report, which opens from disk without a network",
    FIGURES: "its figures, as SVG files in a folder",
    FACTS: "the suite, its teachers and feature networks; by which command, when and where it ran",
    METRICS: "the facts of each metric: name to print, summary, direction, enough samples, scale of its axis, its pair",
    METHODS: "the facts of each method: name to print, kind, keys of its papers, whether it needs no images",
    PAPERS: "these papers, for BibTeX",
    SUITE: "the suite as it was run, with what `--set` changed",
    PUBLISHED: "which rows stand beside which of a paper's, if the suite repeats a table",
    PICTURES: "the first samples of each image cell, and the exact solutions",
    LEARNED: "the numbers of methods that learn only a few",
    CURVES: "the loss during training: some 40 rows per training run",
}


@dataclass(frozen=True)
class EntryKey:
    """What names an entry of a leaderboard: one method on one problem at one NFE, all seeds together.

    `run` is the label of the run where runs are kept apart, otherwise empty.
    """

    dataset: str
    teacher: str
    method: str
    variant: str
    budget: str
    nfe: int
    run: str = ""

    @property
    def row(self) -> tuple[str, ...]:
        """What names a line of a table, whose columns are NFEs: method, variant, budget, and the run if any."""
        return (self.method, self.variant, self.budget, *([self.run] if self.run else []))

    @property
    def problem(self) -> tuple[str, str]:
        return self.dataset, self.teacher

    @property
    def elsewhere(self) -> bool:
        """Whether it was made elsewhere: nobody here knows what that cost, so that it is ranked with none."""
        return self.budget in ELSEWHERE


@dataclass(frozen=True)
class RowKey:
    """What names a row of results.csv; no two different values may have the same."""

    dataset: str
    teacher: str
    method: str
    variant: str
    budget: str
    seed: int
    nfe: int
    metric: str

    def __str__(self) -> str:
        options = f" [{self.variant}]" if self.variant else ""
        budget = f" ({self.budget})" if self.budget not in ("", "0", *ELSEWHERE) else ""
        return f"{self.method}{options}{budget} NFE {self.nfe} seed {self.seed} {self.metric}"


ROW_KEY = [field.name for field in fields(RowKey)]
CELL_KEY = ROW_KEY[:-1]
"""A cell: all metrics of one seed at one NFE."""
ENTRY_KEY = [field.name for field in fields(EntryKey) if field.name != "run"]

KEY_COLUMNS = {
    "suite": "name of the suite",
    "dataset": "name of the data set",
    "teacher": "label of the teacher",
    "method": "name of the method",
    "variant": "its options, as far as they are not the defaults",
    "budget": "what one training run may spend, with its unit; 0 without training, - for a row made elsewhere",
    "seed": "of the training and of the samples' noise",
    "nfe": "network evaluations per sample",
}
RESULT_COLUMNS = {
    **KEY_COLUMNS,
    "metric": "name of the metric, described in metrics.json",
    "value": "its value in full precision; empty where there is none",
    "samples": "number of samples that it was measured on",
    "train_evaluations": "what training spent, in forward passes of the teacher on one sample",
    "train_flops": "the same in FLOPs",
    "train_seconds": "time of training in seconds",
    "trainable_parameters": "number of parameters that were trained",
    "seconds_per_image": "time of sampling in seconds per sample",
    "status": "done, or why there is no value",
    "cell": "identity of the computation: a hash of all that determines the samples and their scores",
    "train_peak_bytes": "peak memory of training in bytes",
    "forwards": "forward passes of networks per sample; a guided evaluation is two",
    "flops_per_image": "FLOPs of sampling per sample",
    "standard_error": "of the value over the noises, by the delete-block jackknife, in the value's unit",
    "corrected": "the value without its bias of order 1/samples, by the jackknife",
    "protocol": "how the value was measured: features, rounding, samples, reference",
    "rules": "whether options were left at their defaults or tuned, and over how many trials; or who made the row",
    "decode_flops_per_image": "FLOPs of making a picture of a sample, where that is a latent; not in flops_per_image",
    "decode_seconds_per_image": "time of that in seconds per picture; not in seconds_per_image",
    "conditioning_flops": "FLOPs of encoding the prompts that its network is told, once for all rows; not charged",
    "latent_flops": "FLOPs of encoding the images that the method trains on, once for all rows; not charged",
}
BLOCK_COLUMNS = {
    "cell": "identity of the computation, as in results.csv",
    "metric": "name of the metric",
    "without": "its value without each block of samples, with spaces between",
}
COST_COLUMNS = {
    **KEY_COLUMNS,
    "run": "name of the training run's artifact; cells that one run trained share it",
    "use": "what the evaluations were spent on",
    "evaluations": "in forward passes of the teacher on one sample",
    "flops": "the same in FLOPs",
}
TRIAL_COLUMNS = {
    **KEY_COLUMNS,
    "trial": "number of the trial, from 0",
    "options": "its options, as far as the trials differ in them",
    "status": "done, or why there is no distance",
    "distance": "Fréchet distance on the noises of the selection; inf where there is none",
    "chosen": "1 for the trial that was chosen, otherwise 0",
}
CURVE_COLUMNS = {
    "run": "name of the training run's artifact, as in costs.csv",
    "evaluations": "what the run had spent, in forward passes of the teacher on one sample",
    "loss": "mean loss of the recorded steps since the row before, in the method's own unit",
}
LEADERBOARD_COLUMNS = {
    **{name: text for name, text in KEY_COLUMNS.items() if name != "seed"},
    "run": "label of the run where runs are kept apart; where several folders were pooled, those that have a value",
    "metric": "name of the metric, described in metrics.json",
    "mean": "of the value over the seeds, in the metric's unit as are all below up to `corrected`",
    "std": "standard deviation over the seeds (n - 1); empty for one seed",
    "low": "lower end of Student's 95 % interval of the mean; empty for one seed",
    "high": "its upper end",
    "standard_error": "of the mean over the noises, by the jackknife; empty without blocks",
    "corrected": "the mean without its bias of order 1/samples, by the jackknife; empty without blocks",
    "rank": "from the best to the worst rank that is not ruled out, such as 1, 1-3 or 5; by budget where there are "
    "several, and by protocol",
    "best": "1 if starred in a table, otherwise 0",
    "seeds": "number of seeds that have a value",
    "samples": "number of samples that each value was measured on",
    "status": "done, or the first reason why a seed has no value",
    "protocol": "how it was measured",
    "train_evaluations": "what training spent, in forward passes of the teacher on one sample, mean over the seeds; "
    "empty for a row made elsewhere",
}
LATER = ("run", "train_evaluations")
"""Columns that older files of leaderboard.csv lack."""

COLUMNS = {
    RESULTS: RESULT_COLUMNS,
    BLOCKS: BLOCK_COLUMNS,
    COSTS: COST_COLUMNS,
    TRIALS: TRIAL_COLUMNS,
    CURVES: CURVE_COLUMNS,
    LEADERBOARD: LEADERBOARD_COLUMNS,
}


@dataclass(frozen=True)
class Metric:
    """The facts of a metric, an object of metrics.json.

    enough: samples below which a value says little; 0: no such number. pair: the metric of the same range, 0 to 1, that
    says the other half: precision and recall.
    """

    display: str
    summary: str = ""
    higher_is_better: bool = False
    enough: int = 0
    log_scale: bool = False
    pair: str | None = None
    known: bool = True
    """False for a metric that no metrics.json describes."""

    @classmethod
    def unknown(cls, name: str) -> "Metric":
        """The default: lower is better, and axes are linear."""
        return cls(name, known=False)


METRIC_FIELDS = [field.name for field in fields(Metric) if field.name != "known"]


def metrics_json(found: Mapping[str, Metric]) -> str:
    """The text of metrics.json."""
    facts = {name: {key: value for key, value in asdict(m).items() if key != "known"} for name, m in found.items()}
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Method:
    """The facts of a method, an object of methods.json.

    kind: `solver`, `learned solver`, `student` or `made elsewhere`; empty for a method that no methods.json describes.
    papers: keys of papers.bib. data_free: whether it needs no images of the data set; None where nobody says.
    """

    display: str
    kind: str = ""
    papers: tuple[str, ...] = ()
    data_free: bool | None = None


def methods_json(found: Mapping[str, Method]) -> str:
    """The text of methods.json."""
    return json.dumps({name: asdict(method) for name, method in found.items()}, indent=1, ensure_ascii=False) + "\n"


FIRST = (*KEY_COLUMNS, "metric", "value", "samples", "status")
"""The columns of the first results.csv. Those of RESULT_COLUMNS that are not among them came later, in that order."""
KINDS = {
    **dict.fromkeys(("seed", "nfe", "trial", "chosen"), "count"),
    **dict.fromkeys(("value", "standard_error", "corrected", "distance", "loss"), "any"),
    **dict.fromkeys(
        ("samples", "train_evaluations", "train_flops", "train_seconds", "trainable_parameters", "seconds_per_image"),
        "number",
    ),
    **dict.fromkeys(("train_peak_bytes", "forwards", "flops_per_image", "evaluations", "flops"), "number"),
    **dict.fromkeys(
        ("decode_flops_per_image", "decode_seconds_per_image", "conditioning_flops", "latent_flops"), "number"
    ),
}
"""Columns of numbers, as `reading.Lines.frame` knows them; the others hold text."""
LARGEST_NFE = 10**9
NEVER_EMPTY = ("dataset", "teacher", "method", "metric")


def results(folder: Path) -> pd.DataFrame:
    """results.csv in RESULT_COLUMNS; what an older file lacks is empty, numbers that are not there are NaN.

    FileNotFoundError without results.csv.
    """
    lines = Lines(folder / RESULTS, FIRST, [name for name in RESULT_COLUMNS if name not in FIRST])
    if not len(lines):
        refuse(lines.file, "has no rows")
    frame = lines.frame(RESULT_COLUMNS, KINDS)
    lines.converted("status", Status.parse, "a status")
    for name in NEVER_EMPTY:
        _check(lines, frame[name] == "", f"has no {name}")
    _check(lines, frame["nfe"] > LARGEST_NFE, "more evaluations than a sampler takes")
    _check(lines, frame["value"].notna() & ~(frame["samples"] >= 1), "has a value of no samples")
    return frame


def blocks(folder: Path) -> dict[tuple[str, str], list[float]]:
    """blocks.csv: (cell, metric) -> values without each block of samples."""
    if not (folder / BLOCKS).exists():
        return {}
    lines = Lines(folder / BLOCKS, list(BLOCK_COLUMNS))
    values = lines.converted("without", _several, "a list of two or more finite numbers")
    return dict(zip(zip(lines.texts("cell"), lines.texts("metric"), strict=True), values, strict=True))


def costs(folder: Path) -> pd.DataFrame:
    return _table(folder / COSTS, COST_COLUMNS)


def trials(folder: Path) -> pd.DataFrame:
    return _table(folder / TRIALS, TRIAL_COLUMNS)


def curves(folder: Path) -> pd.DataFrame:
    return _table(folder / CURVES, CURVE_COLUMNS)


def leaderboard(folder: Path) -> pd.DataFrame:
    """leaderboard.csv, the columns of its metrics as text."""
    file = folder / LEADERBOARD
    if not file.exists():
        return _empty(LEADERBOARD_COLUMNS)
    lines = Lines(file, [name for name in LEADERBOARD_COLUMNS if name not in LATER])
    return lines.frame(lines.header, KINDS)


def metrics(folder: Path) -> dict[str, Metric]:
    """metrics.json by name."""
    found = record(folder / METRICS, records.METRICS, {})
    return {name: replace(Metric(name), **facts) for name, facts in found.items()}


def methods(folder: Path) -> dict[str, Method]:
    """methods.json by name."""
    found = record(folder / METHODS, records.METHODS, {})
    return {name: replace(Method(name), **facts) for name, facts in found.items()}


def papers(folder: Path) -> str:
    """papers.bib: the papers that methods.json cites."""
    return text(folder / PAPERS) if (folder / PAPERS).exists() else ""


def papers_by_key(text: str) -> dict[str, str]:
    """Key -> entry of the BibTeX that `papers` reads, in which a blank line parts entries."""
    entries = filter(None, map(str.strip, text.split("\n\n")))
    return {found[1]: entry for entry in entries if (found := re.match(r"@\w+\{([^,\s]+)", entry))}


def facts(folder: Path) -> dict[str, Any]:
    """run.json: the suite, its teachers and feature networks, and where it ran."""
    found = record(folder / FACTS, records.FACTS, records.RunFacts())
    return dict(found)


def learned(folder: Path) -> list[dict[str, Any]]:
    """learned.json: a record per training run that learned only a few numbers, with the key of its cell."""
    return [dict(entry) for entry in record(folder / LEARNED, records.LEARNED, [])]


def pictures(folder: Path) -> dict[str, np.ndarray]:
    """pictures.npz: uint8 images (n, C, H, W) by cell, and the exact solutions as truth/<dataset>/<teacher>."""
    return images(folder / PICTURES) if (folder / PICTURES).exists() else {}


def suite(folder: Path) -> str:
    """suite.yaml: the suite as it was run."""
    return text(folder / SUITE) if (folder / SUITE).exists() else ""


def groups(frame: pd.DataFrame, key: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The rows of each key, in the order of their first rows."""
    for name, rows in frame.groupby(list(key), sort=False):
        yield tuple(name), rows


def _table(file: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    return Lines(file, list(columns)).frame(columns, KINDS) if file.exists() else _empty(columns)


def _empty(columns: Mapping[str, str]) -> pd.DataFrame:
    kinds = {name: int for name in columns if KINDS.get(name) == "count"}
    return pd.DataFrame(columns=list(columns)).astype(kinds)


def _several(values: str) -> list[float]:
    found = [finite(value) for value in values.split()]
    if len(found) < 2:
        raise ValueError(values)
    return found


def _check(lines: Lines, wrong: "pd.Series[bool]", what: str) -> None:
    """Refuse the first line that is wrong."""
    if wrong.any():
        refuse(lines.file, what, lines.numbers[int(wrong.to_numpy().argmax())])
