"""The artifacts behind a row of a finished run: what `fewstep sample` draws from and `fewstep export` writes."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ...reports import run_folder
from ..errors import InputError
from ..store import Artifact, Store


@dataclass(frozen=True)
class Wanted:
    """A row of results.csv; without variant or budget the first that fits."""

    method: str
    nfe: int
    seed: int = 0
    variant: str | None = None
    budget: str | None = None
    teacher: str | None = None

    def among(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows that fit."""
        given = {name: getattr(self, name) for name in ("method", "variant", "budget", "teacher")}
        for column, value in given.items():
            table = table if value is None else table[table[column] == value]
        return table


def store_of(folder: Path, root: Path | None) -> Store:
    """The store that a results folder was made from: `root`, or where `fewstep run` puts it."""
    return Store(root or next((p for p in (folder / "store", folder.parent / "store") if p.is_dir()), folder / "store"))


def nearest_samples(folder: Path, wanted: Wanted, store: Store) -> Artifact:
    """The samples of the nearest cell (NFE first, then seed): their manifest names the teacher and the training.

    InputError where no cell fits, CorruptError where the store has not got it any more.
    """
    table = run_folder.results(folder)
    fitting = wanted.among(table)
    rows = fitting[fitting["status"] == "done"]
    if rows.empty:
        raise InputError(f"{folder}: no finished cell of {described(wanted)}; the run has {_known(table, wanted)}")
    cells = zip(rows["nfe"] == wanted.nfe, rows["seed"] == wanted.seed, rows["cell"], strict=True)
    _, _, cell = max(cells, key=lambda found: found[:2])
    if not re.fullmatch("[0-9a-f]{16}", cell):
        raise InputError(f"{folder}: its samples are in no store: they were not made by `fewstep run`")
    score = store.need(f"score-{cell}")
    return store.need(score.manifest["inputs"]["sample"])


def unsaid(folder: Path, wanted: Wanted) -> str | None:
    """Which of several rows is taken where `wanted` does not say; None where there is one."""
    table = run_folder.results(folder)
    fitting = wanted.among(table)
    rows = fitting[fitting["status"] == "done"]
    found = list(dict.fromkeys(rows[["teacher", "variant", "budget"]].itertuples(index=False, name=None)))
    if len(found) < 2:
        return None
    # As `nearest_samples` takes them: NFE first, then seed, then the order of the file.
    near = max(range(len(rows)), key=lambda i: (*(rows[k].iloc[i] == getattr(wanted, k) for k in ("nfe", "seed")), -i))
    teacher, variant, budget = (rows[name].iloc[near] for name in ("teacher", "variant", "budget"))
    chosen = f"teacher {teacher}, variant {variant!r}, budget {budget!r}"
    return f"{len(found)} rows of {wanted.method} fit; this is {chosen} (choose with --variant and --budget)"


def described(wanted: Wanted) -> str:
    """For messages."""
    words = [f"method {wanted.method!r}"]
    words += [f"{key} {value!r}" for key in ("variant", "budget") if (value := getattr(wanted, key)) is not None]
    return " with ".join([words[0], " and ".join(words[1:])]) if words[1:] else words[0]


def _known(table: pd.DataFrame, wanted: Wanted) -> str:
    """What the run has instead: other methods, or this one's variants and budgets."""
    own = table[table["method"] == wanted.method]
    if own.empty:
        return ", ".join(dict.fromkeys(table["method"]))
    found = own[["variant", "budget"]].itertuples(index=False)
    return "; ".join(dict.fromkeys(f"variant {variant!r}, budget {budget!r}" for variant, budget in found))
