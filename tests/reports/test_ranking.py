"""Ranks are spans, and a star says what the note under its table says."""

import itertools

import numpy as np
import pytest

from fewstep.reports import leaderboard
from fewstep.reports.run_folder import LEADERBOARD_COLUMNS, LEADERBOARD_METRIC_COLUMNS
from fewstep.reports.significance import differing

BUDGETS = ("100 evaluations", "900 evaluations")


@pytest.fixture
def read(run_folder):
    return lambda table: leaderboard.read(run_folder("run", table))


@pytest.fixture
def shares(row):
    """{method: (precision, recall)} -> rows of three seeds."""

    def make(values):
        return [
            row(method, seed, value + 0.001 * seed, metric=metric)
            for method, pair in values.items()
            for metric, value in zip(("precision", "recall"), pair, strict=True)
            for seed in range(3)
        ]

    return make


def starred(board, metric):
    return {entry.method for entry in board.entries if metric in entry.starred}


def text(board, metric="fd_digits"):
    return leaderboard.render(board, "table", metric)


def test_a_rank_reaches_from_the_best_to_the_worst_that_is_not_ruled_out(read, row):
    """Of a clear order 1, 2, 3; alike methods share a span; one that scatters may be anywhere."""
    steady = {"a": 1.0, "b": 2.0, "c": 2.0, "d": 5.0}
    table = [row(m, s, v + 0.1 * ((s + (m == "c")) % 3 - 1)) for m, v in steady.items() for s in range(3)]
    found = {entry.method: entry.rank("fd_digits") for entry in read(table).entries}
    assert found == {"a": "1", "b": "2-3", "c": "2-3", "d": "4"}
    table += [row("scattered", s, v) for s, v in enumerate([0.9, 6.0, 2.0])]
    assert {entry.method: entry.rank("fd_digits") for entry in read(table).entries}["scattered"] == "1-5"


def test_every_metric_has_its_rank_in_the_csv(read, row):
    table = [row("a", 0, 1.0), row("a", 0, 0.2, metric="recall"), row("b", 0, 2.0), row("b", 0, 0.9, metric="recall")]
    frame = leaderboard.to_frame(read([*table, row("c", 0, None, status="failed: diverged")]))
    assert frame["fd_digits_rank"].tolist() == ["1", "2", ""]
    assert frame["recall_rank"].tolist() == ["2", "1", ""]
    assert "rank" not in frame
    documented = [
        *LEADERBOARD_COLUMNS,
        *(f"{m}_{n}" for m in ("fd_digits", "recall") for n in LEADERBOARD_METRIC_COLUMNS),
    ]
    assert set(frame) | {"run"} == set(documented)


@pytest.mark.parametrize(("methods", "stars"), [("ab", set()), ("abc", {"a"})])
def test_two_rows_have_no_best(read, row, methods, stars):
    board = read([row(m, s, v + 0.01 * s) for v, m in enumerate(methods, 1) for s in range(3)])
    assert starred(board, "fd_digits") == stars
    assert ("*" in text(board)) == bool(stars)
    assert ("no star among fewer than three rows" in text(board)) == (not stars)


def test_the_note_says_that_ranks_are_within_a_budget_where_they_are(read, row):
    def table(budgets):
        return [row(m, s, v + 0.01 * s, budget=b) for b in budgets for v, m in enumerate("abc", 1) for s in range(3)]

    assert "* no row of the same budget is significantly better (paired t test over seeds, 95 %)" in text(
        read(table(BUDGETS))
    )
    assert "* no row is significantly better (paired t test over seeds, 95 %)" in text(read(table(BUDGETS[:1])))


def test_rows_of_another_budget_make_no_third(read, row):
    table = [row(m, 0, float(v), budget=b) for b in BUDGETS for v, m in enumerate("ab", 1)]
    board = read(table)
    assert starred(board, "fd_digits") == set()
    assert "no star among fewer than three rows of a budget" in text(board)


def test_precision_has_no_star_where_recall_is_near_zero(read, shares):
    """One grey blur for all is precise; what else is starred must have both."""
    board = read(shares({"blur": (0.9, 0.0), "good": (0.5, 0.6), "noise": (0.02, 0.9), "poor": (0.2, 0.3)}))
    assert starred(board, "precision") == set()
    assert starred(board, "recall") == set()
    board = read(shares({"blur": (0.5, 0.05), "good": (0.9, 0.6), "poor": (0.2, 0.3)}))
    assert starred(board, "precision") == starred(board, "recall") == {"good"}
    assert "precision is starred only where it and recall are at least 0.1" in text(board, "precision")


def test_one_half_of_a_pair_alone_is_not_starred(read, row):
    board = read(
        [row(m, s, v + 0.01 * s, metric="recall") for v, m in ((0.2, "a"), (0.4, "b"), (0.6, "c")) for s in range(3)]
    )
    assert starred(board, "recall") == set()


def test_an_empty_table_says_why_and_nothing_of_stars_or_seeds(read, row):
    board = read([row(m, 0, None, status="failed: diverged") for m in "abc"])
    assert text(board).splitlines()[-1] == "– all: failed: diverged"
    assert "*" not in text(board)
    assert "seed" not in text(board)


def test_without_metrics_json_lower_is_taken_to_be_better_and_that_is_said(run_folder, row):
    rows = [row(m, s, v + 0.01 * s, metric="recall") for v, m in enumerate("abc", 1) for s in range(3)]
    board = leaderboard.read(run_folder("elsewhere", rows, facts={}))
    assert starred(board, "recall") == {"a"}
    assert "no metrics.json describes recall: lower is taken to be better" in text(board, "recall")
    assert not board.about("recall").log_scale


def test_entries_of_other_seeds_and_blocks_are_compared_as_two_by_two():
    """Some lack seeds, some blocks, and some have fewer blocks: each pair is judged as if alone."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 4))
    without = values[..., None] + 0.1 * rng.normal(size=(30, 4, 20))
    values[rng.random((30, 4)) < 0.3] = np.nan
    without[np.isnan(values) | (rng.random((30, 4)) < 0.1)] = np.nan
    without[rng.random(30) < 0.3, :, 15:] = np.nan
    found = differing(values, without)
    assert found.any()
    assert not found.all()
    assert (found == found.T).all()
    for i, j in itertools.combinations(range(30), 2):
        common = ~np.isnan(values[[i, j]]).any(0)
        assert found[i, j] == (common.any() and differing(values[[i, j]][:, common], without[[i, j]][:, common])[0, 1])
