"""A folder of `fewstep evaluate`: what its results were made of, what may take their place, and its files. No torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...reports import run_folder
from ...reports.writing import write_atomic
from ..errors import DamagedError, InputError, shortened
from . import rows as results
from .write import metric_facts

SUITE = "evaluated"
OUTDATED = [name for name in run_folder.FILES if name not in (run_folder.SUITE, run_folder.FIGURES)]
"""Files that would say something of results that are replaced, results.csv first."""


def made_of(folder: Path) -> dict[str, Any] | None:
    """What the results in `folder` were made of; None where they are not of `evaluate`, or do not say."""
    try:
        return run_folder.facts(folder).get("evaluated")
    except DamagedError:
        return None


def check_place(folder: Path, asked: Mapping[str, Any]) -> None:
    """InputError if `folder` has results that those of `asked` would not replace without a loss.

    asked: what is to be measured: `images` and the hash of their `content`, the names of the `metrics`, and all else
    that tells results apart. The same images may come from another place.
    """
    if not (folder / run_folder.RESULTS).exists():
        return
    held = made_of(folder) or {}
    images = shortened(held.get("images", "something else"))
    differing = [key for key in asked if key not in ("images", "content", "metrics") and held.get(key) != asked[key]]
    lost = [name for name in held.get("metrics", []) if name not in asked["metrics"]]
    if held.get("content") != asked["content"]:
        what = images if images != asked["images"] else f"{images} as it was then"
    elif differing:
        what = f"{images} with {differing[0]} {shortened(held.get(differing[0]))!r}"
    elif lost:
        what = f"{images} by {', '.join(lost)} too"
    else:
        return
    raise InputError(f"{shortened(folder)}: holds results of {what}; give another --out or --method, or --overwrite")


def write(folder: Path, asked: Mapping[str, Any], rows: list[dict[str, Any]], blocks: list[dict[str, Any]]) -> None:
    """Write the files of the folder, results.csv last: without it the folder holds nothing yet. WriteError."""
    if (folder / run_folder.RESULTS).exists():
        for name in OUTDATED:
            (folder / name).unlink(missing_ok=True)
    write_atomic(folder / run_folder.FACTS, json.dumps({"suite": SUITE, "evaluated": asked}, indent=1))
    write_atomic(folder / run_folder.METRICS, metric_facts(asked["metrics"]))
    write_atomic(folder / run_folder.BLOCKS, results.to_csv(blocks, results.BLOCK_COLUMNS))
    write_atomic(folder / run_folder.RESULTS, results.to_csv(rows))
