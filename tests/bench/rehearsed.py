"""A paper's suite rehearsed: `fewstep run papers/NAME --smoke`."""

import csv

import pytest

from .in_process import call
from .test_problems import CELLS

DODE = [name for name in CELLS if name.startswith("dode")]
"""D-ODE's tables take about half of the time of all: a file of their own lets two processes share it."""


def rehearse(name, folder, *only):
    """The rows of the results; the command must succeed."""
    if name.endswith("-t2i"):
        for package in ("diffusers", "transformers", "sentencepiece"):
            pytest.importorskip(package, reason=f"{package} is not installed: pip install 'fewstep[captions]'")
    result = call("run", f"papers/{name}", "--smoke", "--out", folder, "--quiet", *only)
    assert result.exit_code == 0, result.output
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))
