"""A paper's suite rehearsed: `fewstep run papers/NAME --smoke`."""

import csv

import pytest

from .in_process import call
from .test_problems import CELLS

LEARNED = [name for name in CELLS if name.startswith(("bespoke", "dode", "iia"))]
"""Papers on learned solvers: about half of the time of all, in a file of their own, so that two processes share it."""


def rehearse(name, folder, *only):
    """The rows of the results; the command must succeed."""
    if name.endswith("-t2i"):
        for package in ("diffusers", "transformers", "sentencepiece"):
            pytest.importorskip(package, reason=f"{package} is not installed: pip install 'fewstep[captions]'")
    result = call("run", f"papers/{name}", "--smoke", "--out", folder, "--quiet", *only)
    assert result.exit_code == 0, result.output
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))
