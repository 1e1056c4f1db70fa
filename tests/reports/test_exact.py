"""A Fréchet distance in percent of the exact solution's: only where a run has both, and with the error of a ratio."""

import math

import pytest

from fewstep.reports import jackknife, leaderboard
from fewstep.reports.published import against
from fewstep.tests.reports.conftest import FACTS

EXACT, PERCENT = "ground-truth", "gt_fd_digits_percent"


def exact(row, seed, value, nfe=150, **changes):
    return row(EXACT, seed, value, budget="-", nfe=nfe, cell=f"exact{seed}{nfe}", **changes)


def values(board):
    return {(entry.method, entry.teacher): entry.values[PERCENT] for entry in board.entries if PERCENT in entry.values}


def test_each_seed_is_divided_by_the_exact_solution_of_its_problem(run_folder, row):
    table = [row("euler", seed, value) for seed, value in enumerate([3.0, 5.0])]
    table += [exact(row, 0, 2.0), exact(row, 1, 2.5), row("euler", 0, 7.0, teacher="other")]
    board = leaderboard.read(run_folder("run", table))
    assert values(board) == {("euler", "small"): {0: 150.0, 1: 200.0}}
    assert board.about(PERCENT).display == "FD (digits) / FD (digits) of the exact solution in %"
    assert board.about(PERCENT).log_scale
    line = leaderboard.to_frame(board, [PERCENT]).iloc[0]
    assert (line["mean"], line["status"], line["samples"]) == (175.0, "done", 100)


def test_a_seed_or_a_protocol_without_its_exact_solution_has_none(run_folder, row):
    table = [row("euler", seed, 3.0, protocol="a") for seed in range(2)]
    board = leaderboard.read(run_folder("run", [*table, exact(row, 1, 2.0, protocol="a")]))
    assert values(board) == {("euler", "small"): {1: 150.0}}
    board = leaderboard.read(run_folder("other", [*table, exact(row, 1, 2.0, protocol="b")]))
    assert PERCENT not in board.metrics


def test_of_several_exact_solutions_the_finest_counts(run_folder, row):
    table = [row("euler", 0, 3.0), exact(row, 0, 2.0, variant="tolerance=0.1", nfe=40), exact(row, 0, 1.5)]
    assert values(leaderboard.read(run_folder("run", table))) == {("euler", "small"): {0: 200.0}}


def test_other_metrics_and_runs_without_it_have_no_percents(run_folder, row):
    table = [row("euler", 0, 3.0), row("euler", 0, 3.0, metric="rmse"), exact(row, 0, 2.0, metric="rmse")]
    assert leaderboard.read(run_folder("run", table)).metrics == ["fd_digits", "rmse"]


def test_it_is_there_although_the_exact_solution_is_not_shown(run_folder, row):
    board = leaderboard.read(run_folder("run", [row("euler", 0, 3.0), exact(row, 0, 2.0)]), methods=["euler"])
    assert [entry.method for entry in board.entries] == ["euler"]
    assert "150.0" in leaderboard.render(board, "markdown", PERCENT)


def test_its_error_is_that_of_a_ratio_of_the_same_noises(run_folder, row):
    """What noises do to both alike cancels."""
    common = [2.0, 2.5, 1.5, 2.25]
    blocks = [
        {"cell": "e", "metric": "fd_digits", "without": " ".join(repr(1.5 * b) for b in common)},
        {"cell": "exact0150", "metric": "fd_digits", "without": " ".join(map(repr, common))},
        {"cell": "h", "metric": "fd_digits", "without": "3.0 3.0 3.0 3.1"},
    ]
    table = [row("euler", 0, 3.0, cell="e"), row("heun", 0, 3.0, cell="h"), exact(row, 0, 2.0)]
    euler, heun, _ = leaderboard.read(run_folder("run", table, blocks)).entries
    assert euler.errors(PERCENT)[0] == pytest.approx(0.0, abs=1e-12)
    ratios = [100 * a / b for a, b in zip([3.0, 3.0, 3.0, 3.1], common, strict=True)]
    assert heun.errors(PERCENT)[0] == pytest.approx(jackknife.standard_error(ratios))


def test_it_stands_beside_the_percents_of_a_paper(run_folder, row):
    facts = {**FACTS, "fid": FACTS["fd_digits"]}
    table = [row("bespoke", 0, 4.0, nfe=8, metric="fid"), exact(row, 0, 2.5, metric="fid")]
    board = leaderboard.read(run_folder("run", table, facts=facts))
    place = {"dataset": "CIFAR-10", "teacher": "eps-VP (own)", "conditioning": "uncond"}
    problem = {"dataset": "digits", "teacher": "small", "references": {}, "published": place}
    own = {"method": "bespoke", "variant": "", "published": {"method": "RK2-Bespoke"}}
    lines = against.lines(against.Beside("bespoke", "Table 3", [problem], [own]), board)
    (line,) = (line for line in lines if line.row.metric == "pct_of_GT_FID" and line.ours is not None)
    assert (line.row.nfe, line.row.number) == ("8", 168)
    assert line.ours.values == [160.0]
    assert math.isnan(line.ours.spread)
