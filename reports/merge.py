"""Several run folders read as one, in which no row hides another.

Rows of one key (`RowKey`) in several folders are merged if their values are equal to the last digit, whichever cells
they are of; a value stands in for a row without one. Different values, or values by different protocols, are an error,
be they of one cell (computed twice, on two machines say) or of two. Within one file a key belongs to one cell: a second
cell under it is an error even where the values are equal, as something that tells them apart has been lost.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from . import run_folder
from .run_folder import CELL_KEY, RESULTS, ROW_KEY, Method, Metric, RowKey, groups


class ConflictError(ValueError):
    """Two different values have one key: the message names both places, the row, and the values."""


@dataclass(frozen=True)
class Merged:
    """What the folders hold together; `source` is the label of the folder that a row is from.

    results: a row per key, with `run` (the label where runs are kept apart, otherwise empty), `sources` (labels of all
    folders that have its value), and `lacked` ((label, status) of those that have the row without a value).
    blocks: (source, cell, metric) -> values without each block of samples.
    costs: `run` as above; the training run's artifact is `training`. papers: BibTeX, each entry once.
    """

    labels: list[str]
    results: pd.DataFrame
    blocks: dict[tuple[str, str, str], list[float]]
    costs: pd.DataFrame
    trials: pd.DataFrame
    metrics: dict[str, Metric]
    methods: dict[str, Method]
    papers: str

    @property
    def suite(self) -> str:
        """The names of all suites."""
        return " + ".join(dict.fromkeys(self.results["suite"]))


def merge(folders: Sequence[Path], labels: Sequence[str] = (), by_run: bool = False) -> Merged:
    """The folders as one, in their order. Runs are kept apart `by_run`, or if `labels` are given, one per folder;
    otherwise they are called by their folders' names.

    FileNotFoundError where a folder has no results.csv; ConflictError as above; ValueError for unfit labels.
    """
    named = named_folders(folders, labels)
    apart = by_run or bool(labels)
    found = {label: run_folder.results(folder) for label, folder in named.items()}
    for label, frame in found.items():
        _check_cells(frame, named[label] / RESULTS)
    results = _merged(_together(found, apart))
    spent = {label: run_folder.costs(folder).rename(columns={"run": "training"}) for label, folder in named.items()}
    tried = {label: run_folder.trials(folder) for label, folder in named.items()}
    blocks = {
        (label, *key): values for label, folder in named.items() for key, values in run_folder.blocks(folder).items()
    }
    return Merged(
        list(named),
        results,
        blocks,
        _of_cells(_together(spent, apart), results),
        _of_cells(_together(tried, apart), results),
        _metrics(named),
        _methods(named.values()),
        _papers(named.values()),
    )


def named_folders(folders: Sequence[Path], labels: Sequence[str]) -> dict[str, Path]:
    """Label -> folder; the same folder given twice is one. Folders of one name are labelled by their paths."""
    if labels:
        if len(labels) != len(folders):
            raise ValueError(f"{len(labels)} labels for {len(folders)} folders: give each folder one, in their order")
        if len(set(labels)) < len(labels):
            raise ValueError(f"the labels {', '.join(labels)} do not tell the folders apart")
        return dict(zip(labels, folders, strict=True))
    found = list({folder.resolve(): folder for folder in folders}.values())
    names = [folder.resolve().name for folder in found]
    unique = len(set(names)) == len(names)
    return {name if unique else str(folder): folder for name, folder in zip(names, found, strict=True)}


def _together(frames: dict[str, pd.DataFrame], apart: bool) -> pd.DataFrame:
    parts = [frame.assign(source=label, run=label if apart else "") for label, frame in frames.items()]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _of_cells(frame: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """The rows about cells whose results were kept, each from the folder that the results are from."""
    if frame.empty:
        return frame
    kept = results.drop_duplicates([*CELL_KEY, "run"])[[*CELL_KEY, "run", "source"]]
    return frame.merge(kept, on=[*CELL_KEY, "run", "source"])


def _check_cells(frame: pd.DataFrame, file: Path) -> None:
    repeated = frame[frame.duplicated(ROW_KEY, keep=False)]
    for key, rows in groups(repeated, ROW_KEY):
        if rows["cell"].nunique() > 1 or rows["value"].nunique() > 1:
            row = RowKey(*key)
            values = [_shown(value, status) for value, status in zip(rows["value"], rows["status"], strict=True)]
            raise ConflictError(
                f"{file} has {row} (teacher {row.teacher} on {row.dataset}) {len(rows)} times, with "
                f"{' and '.join(values)}, of the cells {' and '.join(rows['cell'])}: "
                "label the teachers, or name the variants, so that they differ"
            )


def _shown(value: float, status: str) -> str:
    return repr(value) if value == value else status


def _merged(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per key, where its first was."""
    key = [*ROW_KEY, "run"]
    places, sources, lacked = {}, {}, {}
    for name, rows in groups(frame[frame.duplicated(key, keep=False)], key):
        valued, without = rows[rows["value"].notna()], rows[rows["value"].isna()]
        _check_values(RowKey(*name[:-1]), valued)
        first, kept = rows.index[0], (valued if len(valued) else rows).index[0]
        places[first] = kept
        sources[kept] = tuple(dict.fromkeys(valued["source"]))
        lacked[kept] = tuple(zip(without["source"], without["status"], strict=True)) if len(valued) else ()
    kept_places = [places.get(first, first) for first in frame.index[~frame.duplicated(key)]]
    merged = frame.loc[kept_places]
    merged["sources"] = pd.Series(
        [sources.get(place, (frame.at[place, "source"],)) for place in kept_places]
    ).to_numpy()
    merged["lacked"] = pd.Series([lacked.get(place, ()) for place in kept_places]).to_numpy()
    return merged


def _check_values(row: RowKey, rows: pd.DataFrame) -> None:
    """ConflictError unless all rows, which have values, have one."""
    for column, what in (("protocol", "by the protocols"), ("value", "with")):
        different = rows[rows[column] != ""].drop_duplicates(column)
        if len(different) > 1:
            first, second = different["source"].iloc[:2]
            one, two = different[column].iloc[:2]
            raise ConflictError(
                f"{first} and {second} both have {row}, {what} {one} and {two}; tell them apart with --label"
            )


def _metrics(named: dict[str, Path]) -> dict[str, Metric]:
    """The facts of all metrics, each from the first folder that has them."""
    known: dict[str, tuple[str, Metric]] = {}
    for label, folder in named.items():
        for name, metric in run_folder.metrics(folder).items():
            first, other = known.setdefault(name, (label, metric))
            if other.higher_is_better != metric.higher_is_better:
                raise ConflictError(f"{first} and {label} disagree on whether a higher {name} is better")
    return {name: metric for name, (_, metric) in known.items()}


def _methods(folders: Iterable[Path]) -> dict[str, Method]:
    """The facts of all methods, each from the first folder that has them."""
    known: dict[str, Method] = {}
    for folder in folders:
        known = {**run_folder.methods(folder), **known}
    return known


def _papers(folders: Iterable[Path]) -> str:
    entries = (entry for folder in folders for entry in run_folder.papers(folder).split("\n\n"))
    return "\n\n".join(dict.fromkeys(filter(None, map(str.strip, entries)))) + "\n"
