"""A Fréchet distance in percent of the exact solution's: 100 says that the solver adds nothing to the teacher's own
error (shaul2024bespoke, arXiv:2310.19075, tables 2 and 3)."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from .merge import Merged
from .run_folder import Metric

EXACT = "ground-truth"
"""The row of the teacher's exact solutions."""
DISTANCES = ("fid", "fd_")
"""What the names of Fréchet distances begin with."""
PLACE = ["dataset", "teacher", "run", "metric", "protocol", "seed"]
"""What a row must have in common with the exact solution's; noises are a function of the seed."""

Blocks = dict[tuple[str, str, str], list[float]]


def percent(metric: str) -> str:
    """`fid` as `gt_fid_percent`."""
    return f"gt_{metric}_percent"


def with_percents(merged: Merged) -> Merged:
    """The results with one more metric for each Fréchet distance, on problems and seeds that have an exact solution.

    Of several exact solutions of a problem the one that took most evaluations counts. Values without a block of samples
    are divided block by block, as both rows start from the same noises.
    """
    rows = merged.results[merged.results["metric"].str.startswith(DISTANCES)]
    exact = rows[(rows["method"] == EXACT) & (rows["value"] > 0)].sort_values("nfe").drop_duplicates(PLACE, keep="last")
    if exact.empty:
        return merged
    mine = rows[rows["method"] != EXACT].reset_index(drop=True)
    theirs = exact[[*PLACE, "value", "source", "cell"]]
    pairs = mine.merge(theirs, on=PLACE, suffixes=("", "_exact"))
    found = pairs.assign(
        metric=pairs["metric"].map(percent),
        value=100 * pairs["value"] / pairs["value_exact"],
        standard_error=float("nan"),
        corrected=float("nan"),
    )
    names = {metric: percent(metric) for metric in dict.fromkeys(pairs["metric"])}
    return replace(
        merged,
        results=pd.concat([merged.results, found[list(merged.results.columns)]], ignore_index=True),
        blocks=merged.blocks | _divided(pairs, merged.blocks),
        metrics=merged.metrics | _facts(names, merged.metrics),
    )


def _divided(pairs: pd.DataFrame, blocks: Blocks) -> Blocks:
    found: Blocks = {}
    rows: Iterable[Any] = pairs.itertuples(index=False)
    for row in rows:
        mine = blocks.get((row.source, row.cell, row.metric))
        theirs = blocks.get((row.source_exact, row.cell_exact, row.metric))
        if mine is not None and theirs is not None and len(mine) == len(theirs):
            ratios = [100 * a / b for a, b in zip(mine, theirs, strict=True)]
            found[row.source, row.cell, percent(row.metric)] = ratios
    return found


def _facts(names: Mapping[str, str], known: Mapping[str, Metric]) -> dict[str, Metric]:
    """Of the new metrics: display and summary of the distance, its direction and number of samples."""
    found = {}
    for metric, name in names.items():
        facts = known.get(metric, Metric.unknown(metric))
        shown = f"{facts.display} / {facts.display} of the exact solution in %"
        found[name] = replace(facts, display=shown, summary=f"{shown}: 100 is the teacher's own error", pair=None)
    return found
