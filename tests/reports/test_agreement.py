"""Whether two boards have one order: which rows are compared, and how it is said."""

import json

import pandas as pd
import pytest
from click.testing import CliRunner

from fewstep.bench.commands.main import main
from fewstep.reports import agreement, leaderboard

METHODS = ["euler", "heun", "dpmpp-2m", "ipndm", "unipc-3", "sim"]


@pytest.fixture
def board(run_folder, row):
    """{(method, nfe) or (method, nfe, budget): values by seed, None for a run that diverged} -> the folder."""

    def make(name, values, **columns):
        rows = []
        for (method, nfe, *budget), found in values.items():
            for seed, value in enumerate(found):
                status = "done" if value is not None else "diverged"
                spent = {"budget": budget[0] if budget else "0", "nfe": nfe, "status": status}
                rows.append(row(method, seed, value, **spent, **columns))
        return run_folder(name, rows)

    return make


def ordered(methods, nfe=4, scale=1.0):
    """Three seeds each, the first method best, all beyond doubt."""
    return {(m, nfe): [scale * (k + 1 + 0.01 * seed) for seed in range(3)] for k, m in enumerate(methods)}


def found(a, b, metric=None):
    boards = [leaderboard.read(a), leaderboard.read(b)]
    return agreement.agreements(boards, agreement.metrics(boards, metric)).agreements


def compare(*words):
    result = CliRunner().invoke(main, ["compare", *map(str, words)], env={"COLUMNS": "80"})
    return result.exit_code, result.stdout, result.stderr


def test_each_board_is_ordered_by_its_own_distance(board, run_folder, row):
    here = board("a", ordered(METHODS))
    other = board("b", ordered(METHODS, scale=70.0), dataset="cifar10", metric="fd_cifar10")
    (one,) = found(here, other)
    assert (one.nfe, one.rows, one.tau.value, one.rho.value) == (4, 6, 1.0, 1.0)
    assert (one.same, one.sure) == (15, 15)
    (reverse,) = found(here, board("c", ordered(METHODS[::-1]), dataset="cifar10", metric="fd_cifar10"))
    assert (reverse.tau.value, reverse.same, reverse.sure) == (-1.0, 0, 15)


def test_nfes_are_apart_and_together(board):
    """In opposite orders at 4 and 8: each is certain, and together they say nothing."""
    a = board("a", ordered(METHODS) | ordered(METHODS, 8))
    b = board("b", ordered(METHODS) | ordered(METHODS[::-1], 8), dataset="cifar10")
    four, eight, both = found(a, b)
    assert [one.nfe for one in (four, eight, both)] == [4, 8, None]
    assert (four.tau.value, eight.tau.value, both.tau.value) == (1.0, -1.0, 0.0)


def test_budgets_are_apart_and_the_training_free_are_in_each(board):
    trained = {("sim", 4, f"{n} evaluations"): [v] * 3 for n, v in ((10, 0.5), (90, 0.2))}
    rows = ordered(METHODS[:5]) | trained
    small, large, every = found(board("a", rows), board("b", rows, dataset="cifar10"))
    assert (small.budget, large.budget) == ("10 evaluations", "90 evaluations")
    assert (small.rows, large.rows, every.rows) == (6, 6, 6)


def test_fewer_than_five_rows_are_too_few(board):
    (one,) = found(board("a", ordered(METHODS[:4])), board("b", ordered(METHODS[:4]), dataset="cifar10"))
    assert one.rows == 4
    assert one.tau.value != one.tau.value


def test_a_row_that_diverged_is_last_and_one_without_a_value_is_left_out(board, run_folder, row):
    """`sim` is best here and diverged for a seed there: 5 of 15 pairs are reversed. Nobody knows where `tract` is."""
    first = {("sim", 4): [0.1, 0.1, 0.1], ("tract", 4): [0.2] * 3}
    a = board("a", first | ordered(METHODS[:5]))
    b = board("b", {("sim", 4): [0.1, None, 0.1]} | ordered(METHODS[:5]), dataset="cifar10")
    (one,) = found(a, b)
    assert (one.rows, one.tau.value) == (6, pytest.approx((10 - 5) / 15))
    assert (one.same, one.sure) == (10, 15)


def test_a_row_that_was_made_elsewhere_is_left_out_and_counted(board):
    theirs = {("images", 4, "-"): [0.1] * 3}
    a, b = board("a", theirs | ordered(METHODS)), board("b", theirs | ordered(METHODS), dataset="cifar10")
    assert found(a, b)[0].rows == 6
    assert "1 of A and 1 of B were made elsewhere" in compare(a, b)[1]


def test_rows_that_are_one_computation_count_once(board):
    """At one evaluation all multistep solvers are Euler."""
    twins = {(m, 4): [3.0, 3.1, 3.2] for m in ("deis-tab3", "pndm", "ddim")}
    (one,) = found(board("a", twins | ordered(METHODS)), board("b", twins | ordered(METHODS), dataset="cifar10"))
    assert one.rows == 7


def test_boards_of_other_data_sets_are_compared_by_their_order(board):
    a = board("a", ordered(METHODS))
    b = board("b", ordered(METHODS), dataset="cifar10", metric="rmse")
    assert compare(a, b)[0] == 2
    b = board("b", ordered(METHODS), dataset="cifar10")
    code, text, _ = compare(a, b)
    assert code == 0
    assert max(map(len, text.splitlines())) <= 80
    assert "15/15" in text
    assert "--all and --fail are about values" in compare(a, b, "--fail")[2]
    assert "no metric 'rmse' on both boards" in compare(a, b, "--metric", "rmse")[2]


def test_any_two_boards_are_compared_by_their_order_where_it_is_asked_for(board):
    a, b = board("a", ordered(METHODS)), board("b", ordered(METHODS[::-1]))
    assert "better" in compare(a, b)[1]
    assert "-1.00" in compare(a, b, "--order")[1]


@pytest.mark.parametrize("order", [[], ["--order"]])
def test_csv_has_the_numbers_in_full_precision(board, order, tmp_path):
    a, b = board("a", ordered(METHODS)), board("b", ordered(METHODS[::-1]))
    code, text, _ = compare(a, b, *order, "--format", "csv")
    assert code == 0
    (tmp_path / "out.csv").write_text(text)
    frame = pd.read_csv(tmp_path / "out.csv")
    if order:
        assert json.loads(frame[["nfe", "rows", "tau", "rho"]].to_json(orient="records")) == [
            {"nfe": 4, "rows": 6, "tau": -1.0, "rho": -1.0}
        ]
    else:
        assert frame["difference"].abs().max() == pytest.approx(5.0)
        assert "| verdict |" in compare(a, b, "--format", "markdown")[1]
