"""Ranks are spans, and a star says what the note under its table says."""

import numpy as np
import pytest

from fewstep.reports import jackknife, leaderboard
from fewstep.reports.entries import Entry
from fewstep.reports.ranking import Values
from fewstep.reports.run_folder import LEADERBOARD_COLUMNS, EntryKey
from fewstep.reports.significance import ROUNDING, t_quantile

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
    return leaderboard.render(board, "table", metric, width=1000)


def test_a_rank_reaches_from_the_best_to_the_worst_that_is_not_ruled_out(read, row):
    """Of a clear order 1, 2, 3; alike methods share a span; one that scatters may be anywhere."""
    steady = {"a": 1.0, "b": 2.0, "c": 2.0, "d": 5.0}
    table = [row(m, s, v + 0.1 * ((s + (m == "c")) % 3 - 1)) for m, v in steady.items() for s in range(3)]
    found = {entry.method: entry.rank("fd_digits") for entry in read(table).entries}
    assert found == {"a": "1", "b": "2-3", "c": "2-3", "d": "4"}
    table += [row("scattered", s, v) for s, v in enumerate([0.9, 6.0, 2.0])]
    assert {entry.method: entry.rank("fd_digits") for entry in read(table).entries}["scattered"] == "1-5"


def test_a_table_of_one_nfe_shows_the_ranks(read, row):
    table = [row(m, s, v + 0.01 * s) for m, v in {"a": 1.0, "b": 2.0, "c": 2.0, "d": 5.0}.items() for s in range(3)]
    lines = [line.split() for line in text(read(table)).splitlines()]
    assert [line[-1] for line in lines if line and line[0] in "abcd"] == ["1", "2-3", "2-3", "4"]
    assert "rank" not in text(read([*table, row("a", 0, 1.0, nfe=2)]))
    assert "rank" not in text(read(table[:6]))


def test_rows_of_two_budgets_of_a_method_that_ended_by_itself_are_said_to_be_one(read, row):
    def rows(spent, value):
        return [row("iia", 0, v, budget=b, train_evaluations=e) for b, e, v in zip(BUDGETS, spent, value, strict=True)]

    said = "iia: training ended by itself, with equal values at 100 evaluations and 900 evaluations"
    assert said in text(read(rows((90, 90), (1.0, 1.0))))
    assert "ended by itself" not in text(read(rows((90, 900), (1.0, 1.0))))
    assert "ended by itself" not in text(read(rows((90, 90), (1.0, 1.1))))


def test_every_metric_has_its_rank_in_the_csv(read, row):
    table = [row("a", 0, 1.0), row("a", 0, 0.2, metric="recall"), row("b", 0, 2.0), row("b", 0, 0.9, metric="recall")]
    frame = leaderboard.to_frame(read([*table, row("c", 0, None, status="failed: diverged")]))
    found = {metric: rows["rank"].tolist() for metric, rows in frame.groupby("metric")}
    assert found == {"fd_digits": ["1", "2", ""], "recall": ["2", "1"]}
    assert list(frame) == list(LEADERBOARD_COLUMNS)


@pytest.mark.parametrize(("methods", "stars"), [("ab", set()), ("abc", {"a"})])
def test_two_rows_have_no_best(read, row, methods, stars):
    board = read([row(m, s, v + 0.01 * s) for v, m in enumerate(methods, 1) for s in range(3)])
    assert starred(board, "fd_digits") == stars
    assert ("*" in text(board)) == bool(stars)
    assert ("no mark among fewer than three rows" in text(board)) == (not stars)


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
    assert "no mark among fewer than three rows of a budget" in text(board)


def test_precision_has_no_star_where_recall_is_near_zero(read, shares):
    """One grey blur for all is precise; what else is starred must have both."""
    board = read(shares({"blur": (0.9, 0.0), "good": (0.5, 0.6), "noise": (0.02, 0.9), "poor": (0.2, 0.3)}))
    assert starred(board, "precision") == set()
    assert starred(board, "recall") == set()
    board = read(shares({"blur": (0.5, 0.05), "good": (0.9, 0.6), "poor": (0.2, 0.3)}))
    assert starred(board, "precision") == starred(board, "recall") == {"good"}
    assert "precision is marked only where it and recall are at least 0.1" in text(board, "precision")


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


def test_two_stars_say_that_nothing_cheaper_is_better_either(read, row):
    """At NFE 4 the best is beaten by a row of NFE 1; the best of the larger budget is beaten by one of the smaller."""

    def rows(values, **changes):
        return [row(m, s, v + 0.01 * s, **changes) for m, v in values.items() for s in range(3)]

    free = rows({"a": 2.0, "b": 3.0, "c": 4.0}) + rows({"d": 2.5, "e": 3.5, "f": 4.5}, nfe=4)
    free += rows({"d": 1.0, "e": 3.5, "f": 4.5}, nfe=8)
    board = read(free)
    assert {(e.method, e.nfe) for e in board.entries if e.starred} == {("a", 1), ("d", 4), ("d", 8)}
    assert {(e.method, e.nfe) for e in board.entries if e.unbeaten} == {("a", 1), ("d", 8)}
    assert "** nor is any of fewer NFE, or of a smaller budget" in text(board)
    trained = [
        r for b, v in zip(BUDGETS, (1.0, 2.0), strict=True) for r in rows({"a": v, "b": 5.0, "c": 6.0}, budget=b)
    ]
    board = read(trained)
    assert [e.budget for e in board.entries if e.starred] == list(BUDGETS)
    assert [e.budget for e in board.entries if e.unbeaten] == [BUDGETS[0]]


def test_budgets_of_other_units_are_neither_larger_nor_smaller(read, row):
    rows = [
        row(m, s, v + 0.01 * s, budget=b)
        for b, first in (("9 images", 1.0), ("100 flops", 2.0))
        for m, v in {"a": first, "b": 5.0, "c": 6.0}.items()
        for s in range(3)
    ]
    assert [e.budget for e in read(rows).entries if e.unbeaten] == ["9 images", "100 flops"]


def test_the_second_is_beaten_by_the_best_alone(read, row):
    board = read([row(m, s, v + 0.01 * s) for v, m in enumerate("abcd") for s in range(3)])
    assert [e.method for e in board.entries if e.second] == ["b"]
    assert "second" not in text(board)


def test_all_pairs_at_once_are_as_the_pairs_one_by_one():
    """Missing seeds, one common seed or none, equal values, and blocks of some seeds only."""
    rng = np.random.default_rng(0)
    entries = []
    for i in range(12):
        entry = Entry(EntryKey("d", "t", str(i), "", "0", 1))
        seeds = [s for s in range(4) if rng.random() < 0.7] or [0]
        entry.values["m"] = {s: float(rng.choice([1.0, 1.2, 3.0]) + rng.normal(0, 0.1) * (i % 3)) for s in seeds}
        blocked = {s: list(v + rng.normal(0, 0.05, 6)) for s, v in entry.values["m"].items() if rng.random() < 0.8}
        entry.without |= {"m": blocked} if blocked else {}
        entries.append(entry)
    found = Values(entries, "m").apart()
    for i, one in enumerate(entries):
        for j, two in enumerate(entries):
            common = sorted(set(one.values["m"]) & set(two.values["m"]))
            known = [e.without.get("m", {}) for e in (one, two)]
            blocks = [(known[0][s], known[1][s]) for s in common if all(s in k for k in known)]
            values = [[e.values["m"][s] for s in common] for e in (one, two)]
            assert found[i, j] == (bool(common) and differ_by_hand(*values, blocks))
    assert 20 < found.sum() < 124


def differ_by_hand(one, two, blocks):
    """The rules of the paired jackknife and the paired t test, seed by seed."""
    differences = np.subtract(one, two)
    if np.abs(differences).max() <= ROUNDING * np.abs(one).max():
        return False
    n, mean = len(differences), abs(differences.mean())
    if len(blocks) == n:
        errors = [jackknife.standard_error(np.subtract(*pair)) for pair in blocks]
        if mean <= 2 * np.sqrt(np.square(errors).sum()) / n:
            return False
    return n < 2 or mean > (t_quantile(n - 1) if n > 2 else 2) * differences.std(ddof=1) / n**0.5
