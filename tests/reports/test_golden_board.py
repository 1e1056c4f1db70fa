"""A whole board: the table of diff-sampler's README beside results that are made from it."""

import os
from pathlib import Path

import pytest

from fewstep.bench.results.published import beside
from fewstep.bench.suite.loading import load
from fewstep.reports import formats, leaderboard
from fewstep.reports.published.against import frame, lines, tables

GOLDEN = Path(__file__).parent / "golden" / "diffsampler-edm.txt"
SHARES = (-0.03, -0.01, 0.0003, 0.001, 0.02)
"""By which the made results differ from the published ones, in turn."""


@pytest.fixture
def board(run_folder, row):
    """Three noise blocks of every cell of the suite, within 0.2 % of each other."""
    stated = beside(load("papers/diffsampler-edm"))
    problems = {problem["published"]["dataset"]: problem for problem in stated.problems}
    rows = []
    for i, line in enumerate(lines(stated, None)):
        own = next((own for own in stated.rows if own["published"]["method"] == line.row.method), None)
        if own is None:
            continue
        problem = problems[line.row.dataset]
        place = {key: problem[key] for key in ("dataset", "teacher")} | {"metric": "fid", "variant": own["variant"]}
        for seed in range(3):
            value = line.row.number * (1 + SHARES[i % len(SHARES)] + 0.001 * (seed - 1))
            rows.append(row(own["method"], seed, value, nfe=int(line.row.nfe), **place))
    assert len(rows) == 3 * 168
    return stated, leaderboard.read(run_folder("run", rows))


def test_the_board_of_the_solver_grid_is_as_it_was(board):
    text = "\n\n".join(formats.write(table, "table", 120) for table in tables(*board)) + "\n"
    if os.environ.get("FEWSTEP_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_every_cell_of_the_solver_grid_meets_its_published_number(board):
    found = [row for row in frame(*board) if row["verdict"] != "quoted"]
    assert len(found) == 168
    assert {row["verdict"] for row in found} == {"reproduced", "differs"}
    for i, row in enumerate(frame(*board)):
        if row["verdict"] != "quoted":
            assert row["difference"] == pytest.approx(SHARES[i % len(SHARES)], abs=1e-9)
