"""Seeds become entries, entries are ranked, and a rank is shared where the difference is not significant."""

import itertools
import math
import random
import time

import pytest

from fewstep.reports import jackknife, leaderboard
from fewstep.reports.significance import differ, spread


@pytest.fixture
def board(run_folder):
    return lambda table: leaderboard.read(run_folder("run", table))


def ranks(a_board, metric="fd_digits"):
    return {entry.method: entry.ranks.get(metric) for entry in a_board.entries}


def test_spread_is_students():
    found = spread([1.0, 2.0, 3.0])
    assert (found.mean, found.std, found.n) == (2.0, 1.0, 3)
    assert found.high - found.mean == pytest.approx(4.302652729911275 / math.sqrt(3))


@pytest.mark.filterwarnings("error")
def test_an_infinite_value_has_no_spread():
    found = spread([1.0, float("inf")])
    assert found.mean == float("inf")
    assert math.isnan(found.std)
    assert math.isnan(found.high)


def test_one_value_has_no_interval():
    found = spread([1.0])
    assert found.mean == 1.0
    assert math.isnan(found.std)
    assert math.isnan(found.low)


def test_pairs_differ_by_their_differences_not_by_their_spread():
    assert differ([1.0, 5.0, 9.0], [1.5, 5.6, 9.4])
    assert not differ([1.0, 5.0, 9.0], [1.5, 4.6, 9.3])


def test_what_only_rounding_separates_does_not_differ():
    assert not differ([0.314, 0.32, 0.31], [0.314 + 1e-8, 0.32 + 1.1e-8, 0.31 + 1e-8])


def test_seeds_may_have_different_numbers_of_blocks():
    sure = [([1.0, 1.1], [5.0, 5.1]), ([1.0, 1.1, 1.0], [5.0, 5.1, 5.0])]
    assert differ([1.0, 1.0], [5.0, 5.1], sure)
    assert not differ([1.0, 1.0], [1.01, 1.02], [([1.0, 1.1], [1.1, 1.0]), ([1.0, 1.1, 1.0], [1.2, 0.9, 1.0])])


def test_false_differences_are_rare():
    """Under no difference about 5 % of tests call one."""
    import numpy as np

    rng = np.random.default_rng(0)
    calls = [differ(rng.normal(size=5), rng.normal(size=5)) for _ in range(2000)]
    assert 0.035 < np.mean(calls) < 0.065


def test_seeds_are_aggregated(board, row):
    (entry,) = board([row("a", seed, value) for seed, value in enumerate([1.0, 2.0, 3.0])]).entries
    assert entry.spread("fd_digits").mean == 2.0
    assert entry.samples == {"fd_digits": 100}


def test_a_clear_difference_separates_ranks_and_a_small_one_shares_them(board, row):
    table = [row("good", s, v) for s, v in enumerate([1.0, 1.1, 0.9])]
    table += [row("alike", s, v) for s, v in enumerate([1.2, 1.0, 0.95])]
    table += [row("bad", s, v) for s, v in enumerate([5.0, 5.1, 4.9])]
    assert ranks(board(table)) == {"good": 1, "alike": 1, "bad": 3}


def test_what_cannot_be_told_from_the_best_is_not_behind_it(board, row):
    """A method whose seeds scatter may be as good as the best, though a steadier and worse one is not."""
    table = [row("best", s, v) for s, v in enumerate([1.0, 1.1, 0.9])]
    table += [row("steady", s, v) for s, v in enumerate([2.0, 2.1, 1.9])]
    table += [row("scattered", s, v) for s, v in enumerate([1.0, 6.0, 2.0])]
    assert ranks(board(table)) == {"best": 1, "steady": 2, "scattered": 1}


def test_higher_is_better_for_recall(board, row):
    table = [row(m, s, v + 0.01 * s, metric="recall") for m, v in (("low", 0.1), ("high", 0.9)) for s in range(3)]
    assert ranks(board(table), "recall") == {"low": 2, "high": 1}


def test_nfes_are_ranked_apart(board, row):
    table = [row("a", 0, 2.0), row("b", 0, 1.0), row("a", 0, 0.5, nfe=2)]
    entries = board(table).entries
    assert [(e.method, e.nfe, e.ranks["fd_digits"]) for e in entries] == [("a", 1, 2), ("b", 1, 1), ("a", 2, 1)]


def test_several_budgets_are_ranked_apart(board, row):
    table = [row("a", 0, 2.0, budget="100 evaluations"), row("a", 0, 1.0, budget="900 evaluations")]
    assert [entry.ranks["fd_digits"] for entry in board(table).entries] == [1, 1]


def test_a_cell_without_value_is_a_dash_with_its_reason(board, row):
    table = [row("a", 0, 1.0), row("b", 0, None, status="skipped: odd NFE only")]
    text = leaderboard.render(board(table), "table", width=1000)
    assert next(line for line in text.splitlines() if line.startswith("b ")).endswith("–")
    assert "– b: odd NFE only" in text


def test_a_cell_that_was_not_asked_for_is_empty(board, row):
    text = leaderboard.render(board([row("a", 0, 1.0), row("b", 0, 1.0, nfe=2)]), "table", width=1000)
    assert next(line for line in text.splitlines() if line.startswith("a ")).split() == ["a", "1.00"]


def test_one_seed_is_said_to_be_one_seed(board, row):
    assert "one seed cannot tell how surely" in leaderboard.render(
        board([row(n, 0, 1.0) for n in "abc"]), "table", width=1000
    )


def test_csv_has_a_line_per_entry_and_metric(board, row):
    table = [row("a", s, v) for s, v in enumerate([1.0, 2.0])] + [row("a", 0, 0.5, metric="recall")]
    header, line, other = leaderboard.render(board(table), "csv").splitlines()
    assert header == (
        "suite,dataset,teacher,method,variant,budget,nfe,run,metric,mean,std,low,high,standard_error,corrected,rank,"
        "best,seeds,samples,status,protocol,train_evaluations"
    )
    assert line.startswith("test,digits,small,a,,0,1,,fd_digits,1.5,0.7071067811865476,")
    assert line.endswith(",1,0,2,100,done,,0.0")
    assert other.startswith("test,digits,small,a,,0,1,,recall,0.5,,,,,,1,0,1,100,done,,0.0")


def test_csv_has_one_metric_where_one_is_asked(board, row):
    table = [row("a", 0, 1.0), row("a", 0, 0.5, metric="recall"), row("b", 0, 0.7, metric="recall")]
    lines = leaderboard.render(board(table), "csv", "recall", sort="nfe:1").splitlines()[1:]
    assert [line.split(",")[3] for line in lines] == ["b", "a"]
    assert all(",recall," in line for line in lines)


def test_an_unknown_metric_is_refused_with_those_there_are(board, row):
    with pytest.raises(ValueError, match="they have fd_digits"):
        leaderboard.render(board([row("a", 0, 1.0)]), "table", "fid")


def test_every_format_renders(board, row):
    a_board = board([row(name, s, 1.0 + s) for name in ("a_b", "c", "d") for s in range(2)])
    latex = leaderboard.render(a_board, "latex")
    assert r"a\_b" in latex
    assert r"\begin{tabular}{@{}lrr@{}}" in latex
    assert r"$\pm$" in latex
    markdown = leaderboard.render(a_board, "markdown")
    assert r"| a\_b | 1.50 ± 0.71\*\* | 1-3 |" in markdown
    assert "<td" in leaderboard.render(a_board, "html")


def test_html_is_escaped(board, row):
    html = leaderboard.render(board([row("<script>alert(1)</script>", 0, 1.0)]), "html")
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def blocks_of(value, own):
    """The values without each of 20 blocks: what all methods have in common with a block, and `own` of each."""
    return [value + 0.2 * (i % 7) + own * (-1) ** i for i in range(20)]


@pytest.fixture
def jackknifed(run_folder, row):
    """[(method, seed, value, size of what its blocks have of their own)] -> the board."""

    def make(cases):
        table = [row(method, seed, value, cell=f"cell-{i}") for i, (method, seed, value, _) in enumerate(cases)]
        blocks = [
            {"cell": f"cell-{i}", "metric": "fd_digits", "without": " ".join(map(repr, blocks_of(value, own)))}
            for i, (_, _, value, own) in enumerate(cases)
        ]
        return leaderboard.read(run_folder("run", table, blocks))

    return make


def test_one_seed_is_ranked_by_the_paired_jackknife(jackknifed):
    """What the methods share with a block does not count; 0.1 of its own has a standard error of sqrt(19) 0.1."""
    assert ranks(jackknifed([("best", 0, 3.0, 0.0), ("near", 0, 3.2, 0.0)])) == {"best": 1, "near": 2}
    assert ranks(jackknifed([("best", 0, 3.0, 0.0), ("near", 0, 3.2, 0.1)])) == {"best": 1, "near": 1}
    error = 19**0.5 * 0.1
    assert ranks(jackknifed([("best", 0, 3.0, 0.0), ("far", 0, 3.0 + 2.1 * error, 0.1)]))["far"] == 2
    assert ranks(jackknifed([("best", 0, 3.0, 0.0), ("far", 0, 3.0 + 1.9 * error, 0.1)]))["far"] == 1


def test_seeds_must_agree_too(jackknifed):
    """A difference of which the noises are sure, and the trainings are not, is none."""
    sure = [("a", s, 3.0 + 0.1 * s, 0.0) for s in range(3)] + [("b", s, 4.0 + 0.1 * s, 0.0) for s in range(3)]
    unsure = sure[:3] + [("b", s, 3.0 + v, 0.0) for s, v in enumerate((3.0, -0.5, 0.6))]
    assert ranks(jackknifed(sure)) == {"a": 1, "b": 2}
    assert ranks(jackknifed(unsure)) == {"a": 1, "b": 1}


def test_the_csv_has_the_jackknifes_error_and_corrected_value(jackknifed):
    board = jackknifed([("a", s, 3.0, 0.1) for s in range(2)])
    error, corrected = board.entries[0].errors("fd_digits")
    one = jackknife.standard_error(blocks_of(3.0, 0.1))
    assert error == pytest.approx(one / 2**0.5)
    assert corrected == pytest.approx(jackknife.corrected(3.0, blocks_of(3.0, 0.1)))
    assert f",{error!r},{corrected!r},1," in leaderboard.render(board, "csv")


def test_protocols_are_never_ranked_together(board, row):
    """A table each, ranks within each, the protocol under the table."""
    table = [row(name, s, v + s, protocol=p) for name, v, p in (("a", 1.0, "x"), ("b", 9.0, "y")) for s in range(3)]
    found = board(table)
    assert ranks(found) == {"a": 1, "b": 1}
    text = leaderboard.render(found, "markdown", "fd_digits")
    assert text.count("**test: FD (digits)") == 2
    assert "protocol x" in text
    assert "protocol y" in text


def test_one_row_by_two_protocols_is_refused(board, row):
    with pytest.raises(ValueError, match="a at NFE 1 has fd_digits by several protocols"):
        board([row("a", s, 1.0, protocol=p) for s, p in enumerate("xy")])


def test_a_count_that_is_small_for_the_metric_is_said(board, row):
    text = leaderboard.render(board([row("a", 0, 1.0, samples=500)]), "table", width=1000)
    assert "500 samples are few for FD (digits): 1000 are asked for" in text
    assert "are few" not in leaderboard.render(board([row("a", 0, 1.0, samples=1797)]), "table", width=1000)


def test_two_thousand_rows_take_seconds(run_folder, row):
    """CPU time of reading, ranking and every format."""
    rng = random.Random(0)
    rows, blocks = [], []
    for method, nfe, seed in itertools.product(range(125), (1, 2, 4, 8), (0, 1)):
        value, cell = rng.random(), f"{method}-{nfe}-{seed}"
        for metric in ("fd_digits", "recall"):
            rows.append(row(f"m{method}", seed, value, nfe=nfe, metric=metric, cell=cell))
        without = " ".join(repr(value + rng.gauss(0, 0.01)) for _ in range(20))
        blocks.append({"cell": cell, "metric": "fd_digits", "without": without})
    folder = run_folder("run", rows, blocks)
    assert len(rows) == 2000
    start = time.process_time()
    found = leaderboard.read(folder)
    for style in ("table", "markdown", "latex", "csv", "html"):
        leaderboard.render(found, style)
    assert time.process_time() - start < 5
