"""A run folder: its files, what their columns hold, the key of a row, and a reader for each file.

A missing file reads as empty, but for results.csv, which makes a folder a run. bench writes by these names and columns.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

RESULTS, BLOCKS, COSTS, TRIALS = "results.csv", "blocks.csv", "costs.csv", "trials.csv"
LEADERBOARD, REPORT, FIGURES = "leaderboard.csv", "report.html", "figures"
FACTS, METRICS, SUITE = "run.json", "metrics.json", "suite.yaml"
METHODS, PAPERS = "methods.json", "papers.bib"
PICTURES, LEARNED, CURVES = "pictures.npz", "learned.json", "curves.csv"

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
        budget = f" ({self.budget})" if self.budget not in ("", "0") else ""
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
    "budget": "what one training run may spend, with its unit; 0 for a method without training",
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
    "rules": "whether options were left at their defaults or tuned, and over how many trials",
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
}

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

    kind: `solver`, `learned solver` or `student`; empty for a method that no methods.json describes. papers: keys of
    papers.bib. data_free: whether it needs no images of the data set; None where nobody says.
    """

    display: str
    kind: str = ""
    papers: tuple[str, ...] = ()
    data_free: bool | None = None


METHOD_FIELDS = [field.name for field in fields(Method)]


def methods_json(found: Mapping[str, Method]) -> str:
    """The text of methods.json."""
    return json.dumps({name: asdict(method) for name, method in found.items()}, indent=1, ensure_ascii=False) + "\n"


TEXT = dict.fromkeys(
    ("suite", "dataset", "teacher", "method", "variant", "budget", "status", "cell", "metric", "protocol", "options"),
    "string",
)
SPENT = (
    "train_evaluations",
    "train_flops",
    "train_seconds",
    "trainable_parameters",
    "train_peak_bytes",
    "flops_per_image",
)


def results(folder: Path) -> pd.DataFrame:
    """results.csv in RESULT_COLUMNS; what an older file lacks is empty, numbers that are not there are NaN.

    FileNotFoundError without results.csv.
    """
    numbers = {name: [""] for name in ("value", "samples", *SPENT)}
    frame = pd.read_csv(folder / RESULTS, dtype=TEXT, keep_default_na=False, na_values=numbers)
    frame = frame.reindex(columns=list(RESULT_COLUMNS)).astype(dict.fromkeys(numbers, float))
    return frame.assign(**{name: frame[name].astype("string").fillna("") for name in TEXT if name in frame})


def blocks(folder: Path) -> dict[tuple[str, str], list[float]]:
    """blocks.csv: (cell, metric) -> values without each block of samples."""
    frame = _table(folder / BLOCKS, BLOCK_COLUMNS)
    return {
        (str(row.cell), str(row.metric)): [float(value) for value in str(row.without).split()]
        for row in frame.itertuples()
    }


def costs(folder: Path) -> pd.DataFrame:
    return _table(folder / COSTS, COST_COLUMNS)


def trials(folder: Path) -> pd.DataFrame:
    return _table(folder / TRIALS, TRIAL_COLUMNS)


def curves(folder: Path) -> pd.DataFrame:
    return _table(folder / CURVES, CURVE_COLUMNS)


def leaderboard(folder: Path) -> pd.DataFrame:
    return _table(folder / LEADERBOARD, LEADERBOARD_COLUMNS)


def metrics(folder: Path) -> dict[str, Metric]:
    """metrics.json by name. ValueError if it is not of this form."""
    content = _json(folder / METRICS, {})
    if not isinstance(content, dict) or not all(isinstance(facts, dict) for facts in content.values()):
        raise ValueError(f"{folder / METRICS}: expected an object per metric with {', '.join(METRIC_FIELDS)}")
    return {
        name: Metric(**{"display": name, **{key: facts[key] for key in METRIC_FIELDS if key in facts}})
        for name, facts in content.items()
    }


def methods(folder: Path) -> dict[str, Method]:
    """methods.json by name. ValueError if it is not of this form."""
    content = _json(folder / METHODS, {})
    if not isinstance(content, dict) or not all(isinstance(facts, dict) for facts in content.values()):
        raise ValueError(f"{folder / METHODS}: expected an object per method with {', '.join(METHOD_FIELDS)}")
    return {
        name: Method(
            str(facts.get("display", name)),
            str(facts.get("kind", "")),
            tuple(map(str, facts.get("papers", ()))),
            facts["data_free"] if isinstance(facts.get("data_free"), bool) else None,
        )
        for name, facts in content.items()
    }


def papers(folder: Path) -> str:
    """papers.bib: the papers that methods.json cites."""
    file = folder / PAPERS
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def papers_by_key(text: str) -> dict[str, str]:
    """Key -> entry of the BibTeX that `papers` reads, in which a blank line parts entries."""
    entries = filter(None, map(str.strip, text.split("\n\n")))
    return {found[1]: entry for entry in entries if (found := re.match(r"@\w+\{([^,\s]+)", entry))}


def facts(folder: Path) -> dict[str, Any]:
    """run.json: the suite, its teachers and feature networks, and where it ran."""
    found: dict[str, Any] = _json(folder / FACTS, {})
    return found


def learned(folder: Path) -> list[dict[str, Any]]:
    """learned.json: a record per training run that learned only a few numbers, with the key of its cell."""
    found: list[dict[str, Any]] = _json(folder / LEARNED, [])
    return found


def pictures(folder: Path) -> dict[str, np.ndarray]:
    """pictures.npz: uint8 images (n, C, H, W) by cell, and the exact solutions as truth/<dataset>/<teacher>."""
    if not (folder / PICTURES).is_file():
        return {}
    with np.load(folder / PICTURES, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def suite(folder: Path) -> str:
    """suite.yaml: the suite as it was run."""
    file = folder / SUITE
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def groups(frame: pd.DataFrame, key: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The rows of each key, in the order of their first rows."""
    for name, rows in frame.groupby(list(key), sort=False):
        yield tuple(name), rows


def _table(file: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    if not file.is_file():
        empty = pd.DataFrame(columns=list(columns))
        return empty.astype({name: int for name in ("seed", "nfe") if name in columns})
    return pd.read_csv(file, dtype=TEXT, keep_default_na=False)


def _json(file: Path, default: Any) -> Any:
    """ValueError that names the file if it holds no JSON."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
