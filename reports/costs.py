"""What training cost, beside what it gave: evaluations by use, seconds, parameters."""

import math
from pathlib import Path

import pandas as pd

from .tables import Table

KEY = ["dataset", "teacher", "method", "variant", "budget"]
SHOWN = {
    "ground truth": ("ground truth", "pairs"),
    "selection": ("selection", "search"),
}
"""Columns of the table: uses that are not the training itself."""
MEASURED = {"train_seconds": "seconds", "trainable_parameters": "parameters", "train_peak_bytes": "peak MB"}


def table(folder: Path) -> Table | None:
    """The training runs of a folder, a line per method, options and budget; None if nothing was trained.

    A method that is trained anew for each NFE has a range where these runs differ.
    """
    frame = _runs(folder)
    if frame.empty:
        return None
    rows = []
    for key, runs in frame.groupby(KEY, sort=False):
        by_nfe = runs.groupby("nfe")[["train_evaluations", *SHOWN, *MEASURED]].mean()
        cells = [_span(by_nfe[name]) for name in by_nfe]
        rows.append([*map(str, key[2:]), _trained_for(runs), *cells])
    suite = str(frame["suite"].iloc[0])
    columns = ["method", "options", "budget", "trained for", "evaluations", *SHOWN, *MEASURED.values()]
    note = (
        "one evaluation is one teacher forward on one sample, in measured FLOPs; means over the seeds, ranges over NFE"
    )
    return Table(f"{suite}: what training cost", columns, rows, [note])


def _trained_for(runs: pd.DataFrame) -> str:
    nfes = sorted(set(runs["nfe"]))
    if len(nfes) == 1:
        return f"NFE {nfes[0]}"
    return "all NFEs" if (runs.groupby("seed")["run"].nunique() == 1).all() else "each NFE"


def _runs(folder: Path) -> pd.DataFrame:
    """One line per trained cell: key, seed, nfe, what was spent in all and on SHOWN."""
    text = dict.fromkeys(("variant", "budget", "method", "status"), "string")
    results = pd.read_csv(
        folder / "results.csv", dtype=text, keep_default_na=False, na_values=dict.fromkeys(MEASURED, "")
    )
    if "train_peak_bytes" not in results:
        results["train_peak_bytes"] = math.nan
    cells = results.drop_duplicates([*KEY, "seed", "nfe"])
    cells = cells[(cells["budget"] != "0") & cells["train_seconds"].notna()]
    for name in ("train_evaluations", *MEASURED):
        cells = cells.assign(**{name: cells[name].astype(float)})
    cells["train_peak_bytes"] /= 1e6
    spent = _spent(folder / "costs.csv")
    keys = [*KEY, "seed", "nfe"]
    cells = cells.merge(spent[[*keys, "run"]].drop_duplicates(), how="left", on=keys)
    for name, uses in SHOWN.items():
        sums = spent[spent["use"].isin(uses)].groupby(keys)["evaluations"].sum()
        cells = cells.merge(sums.rename(name).reset_index(), how="left", on=keys)
        cells[name] = cells[name].astype(float).fillna(0.0)
    return cells


def _spent(file: Path) -> pd.DataFrame:
    """costs.csv; a run of an older version has none."""
    if not file.is_file():
        return pd.DataFrame(columns=[*KEY, "seed", "nfe", "run", "use", "evaluations"])
    return pd.read_csv(file, dtype={"variant": "string", "budget": "string"}, keep_default_na=False)


def _span(values: pd.Series) -> str:
    """The value, or the range of values that differ."""
    low, high = float(values.min()), float(values.max())
    if math.isnan(high):
        return "–"
    digits = 1 if high < 100 and high != int(high) else 0
    if high - low <= 0.02 * high:
        low = high = float(values.mean())
    ends = dict.fromkeys(f"{end:,.{digits}f}" for end in (low, high))
    return "–".join(ends)
