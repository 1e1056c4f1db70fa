"""Run folders of one suite, each with other cells, as the folder that one run of all of them would have written."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import run, run_folder
from .merge import Merged, merge
from .run_folder import (
    BLOCKS,
    COSTS,
    CURVES,
    FACTS,
    LEARNED,
    METRICS,
    PAPERS,
    PICTURES,
    PUBLISHED,
    RESULTS,
    SUITE,
    TRIALS,
)
from .run_folder import METHODS as METHOD_FACTS
from .writing import write_atomic

ROW = ("dataset", "teacher", "method", "variant", "budget")
PLACE = (*ROW, "metric")
TABLES = (RESULTS, BLOCKS, COSTS, TRIALS, CURVES)
OF_ONE_RUN = ("environment", "argv", "started", "ended")
"""What run.json says of each part, not of all."""


def join(folders: Sequence[Path], out: Path) -> Merged:
    """Write to `out`, without its report, what the folders hold together, and return it.

    ValueError of one line: folders of different suites, a row with two values, a row measured by two protocols, files
    of another version of fewstep. FileNotFoundError for a folder without results.
    """
    merged = merge(folders)
    _require_one_suite(folders)
    _require_one_protocol(merged)
    texts = {name: _table(folders, name) for name in TABLES if any((folder / name).exists() for folder in folders)}
    for name, text in texts.items():
        write_atomic(out / name, text)
    write_atomic(out / METRICS, run_folder.metrics_json(merged.metrics))
    write_atomic(out / METHOD_FACTS, run_folder.methods_json(merged.methods))
    write_atomic(out / PAPERS, merged.papers)
    write_atomic(out / LEARNED, json.dumps(_once(entry for folder in folders for entry in run_folder.learned(folder))))
    write_atomic(out / PICTURES, _pictures(folders))
    for name in (SUITE, PUBLISHED):
        if (folders[0] / name).exists():
            write_atomic(out / name, (folders[0] / name).read_text(encoding="utf-8"))
    write_atomic(out / FACTS, json.dumps(_facts(folders), indent=1))
    run.write_leaderboard(out)
    return merged


def _require_one_suite(folders: Sequence[Path]) -> None:
    for name in (SUITE, PUBLISHED):
        texts = [(folder / name).read_text(encoding="utf-8") if (folder / name).exists() else "" for folder in folders]
        for folder, text in zip(folders, texts, strict=True):
            if text != texts[0]:
                other = folders[0] / name
                raise ValueError(f"{folder / name} differs from {other}: parts of a suite are run with --only alone")


def _require_one_protocol(merged: Merged) -> None:
    valued = merged.results[merged.results["value"].notna()]
    for name, rows in run_folder.groups(valued, PLACE):
        if rows["protocol"].nunique() > 1:
            one, two = rows.drop_duplicates("protocol").iloc[:2].itertuples()
            raise ValueError(
                f"{one.source} and {two.source} measured {name[-1]} of {name[2]} by {one.protocol} and {two.protocol}"
            )


def _table(folders: Sequence[Path], name: str) -> str:
    """The lines of all, each once, where a single run has them: the seeds of a row together."""
    header: list[str] = []
    lines: list[dict[str, str]] = []
    for folder in (folder for folder in folders if (folder / name).exists()):
        with (folder / name).open(encoding="utf-8", newline="") as file:
            found = csv.DictReader(file)
            columns = list(found.fieldnames or [])
            if header and columns != header:
                raise ValueError(f"{folder / name} has other columns than the first: another version wrote it")
            header, lines = columns, [*lines, *found]
    lines = _once(lines)
    if name == RESULTS:
        lines = _of_keys(lines)
    if "seed" in header:
        lines = _in_order(lines)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def _of_keys(lines: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """One line for each row and metric, with a value if any has one."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for line in lines:
        key = tuple(line[name] for name in run_folder.ROW_KEY)
        if key not in found or not found[key]["value"]:
            found[key] = line
    return list(found.values())


def _in_order(lines: list[dict[str, str]]) -> list[dict[str, str]]:
    first: dict[tuple[str, ...], int] = {}

    def place(line: dict[str, str]) -> tuple[int, int, int]:
        row = tuple(line[name] for name in ROW)
        return first.setdefault(row, len(first)), int(line["seed"]), int(line["nfe"])

    return sorted(lines, key=place)


def _once(items: Iterable[Any]) -> list[Any]:
    return list({json.dumps(item): item for item in items}.values())


def _pictures(folders: Sequence[Path]) -> bytes:
    arrays: dict[str, Any] = {}
    for folder in folders:
        arrays = {**run_folder.pictures(folder), **arrays}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _facts(folders: Sequence[Path]) -> dict[str, Any]:
    """Those of the first, the teachers and extractors of all, and of each what is its own."""
    found = [run_folder.facts(folder) for folder in folders]
    facts = {name: value for name, value in found[0].items() if name != "stamp"}
    for name in ("teachers", "extractors"):
        facts[name] = _once(item for one in found for item in one.get(name, []))
    facts["joined"] = [{name: one[name] for name in OF_ONE_RUN if name in one} for one in found]
    return facts
