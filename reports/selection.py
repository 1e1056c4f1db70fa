"""The rows of some methods at some NFEs, chosen before anything is ranked."""

import re
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from .merge import Merged
from .run_folder import CELL_KEY


def select(merged: Merged, methods: Sequence[str] = (), nfes: Sequence[int] = ()) -> Merged:
    """Only the rows of these methods and NFEs; of all, where none are given.

    A method is given by its name or the name that is printed, or as METHOD:OPTIONS for those of its rows; `*` stands
    for any characters: `dpm*`, `bespoke:RK*`. ValueError for one that no row has, naming those there are.
    """
    if not methods and not nfes:
        return merged
    results = merged.results
    kept = _of_methods(merged, methods) & _of_nfes(results, nfes)
    if not kept.any():
        raise ValueError(f"none of {', '.join(methods)} has a row at NFE {', '.join(map(str, nfes))}")
    results = results[kept]
    keys = [*CELL_KEY, "run"]
    cells = results[keys].drop_duplicates()
    costs, trials = (f.merge(cells, on=keys) if len(f) else f for f in (merged.costs, merged.trials))
    return replace(merged, results=results, costs=costs, trials=trials)


def _of_nfes(results: pd.DataFrame, nfes: Sequence[int]) -> pd.Series:
    found = sorted(map(int, results["nfe"].unique()))
    unknown = [nfe for nfe in nfes if nfe not in found]
    if unknown:
        raise ValueError(f"no row has NFE {', '.join(map(str, unknown))}; there are {', '.join(map(str, found))}")
    return results["nfe"].isin(nfes or found)


def _of_methods(merged: Merged, wanted: Sequence[str]) -> pd.Series:
    results = merged.results
    rows = list(results[["method", "variant"]].drop_duplicates().itertuples(index=False, name=None))
    chosen: set[tuple[str, str]] = set() if wanted else set(rows)
    for pattern in wanted:
        found = {row for row in rows if _fits(merged, row, pattern)}
        if not found:
            raise ValueError(f"no row of method {pattern!r}; there are {_listed(rows, pattern)}")
        chosen |= found
    pairs = zip(results["method"], results["variant"], strict=True)
    return pd.Series([pair in chosen for pair in pairs], index=results.index)


def _fits(merged: Merged, row: tuple[str, str], pattern: str) -> bool:
    method, variant = row
    names = [method, *([merged.methods[method].display] if method in merged.methods else [])]
    wanted = re.compile(re.escape(pattern).replace(r"\*", ".*"), re.IGNORECASE)
    return any(wanted.fullmatch(text) for name in names for text in (name, f"{name}:{variant}"))


def _listed(rows: Sequence[tuple[str, str]], pattern: str) -> str:
    """The options that a known method has, otherwise the methods."""
    method = pattern.partition(":")[0]
    own = [f"{method}:{variant}" for name, variant in rows if name == method]
    return ", ".join(own or dict.fromkeys(name for name, _ in rows))
