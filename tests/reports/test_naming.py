"""Names of rows and values, the same in tables and figures."""

import math

import pytest

from fewstep.reports import leaderboard, naming
from fewstep.reports.run_folder import METHODS, Method, methods_json


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("100000 evaluations", "100k"), ("123456 evaluations", "123.456k"), ("5 images", "5"), ("0", ""),
        ("1.5e+15 flops", "1.5P"), ("0.5 teacher", "0.5"), ("2500000 images", "2.5M"), ("unlimited", "unlimited"),
    ],
)  # fmt: skip
def test_a_budget_is_short_and_exact(text, short):
    assert naming.budget(text) == short


def test_budgets_of_several_units_say_theirs():
    assert naming.budget_unit(["0", "5 images", "7 images"]) == "images"
    assert naming.budget_unit(["5 images", "5 flops"]) == ""
    assert naming.budget("5000 images", unit=True) == "5k images"


@pytest.mark.parametrize(
    ("variants", "shared", "rests"),
    [
        (["grid=karras-7 zero", "grid=karras-7 zero order=2"], "grid=karras-7 zero", ["", "order=2"]),
        (["as published", "as published"], "as published", ["", ""]),
        (["no warmup", "no EMA"], "", ["no warmup", "no EMA"]),
        (["a=1", ""], "", ["a=1", ""]),
        (["a=1 b=2", "b=2 a=1"], "", ["a=1 b=2", "b=2 a=1"]),
        (["a=1"], "", ["a=1"]),
    ],
)
def test_options_that_all_rows_have_are_shared(variants, shared, rests):
    assert naming.shared_options(variants) == (shared, rests)


def test_rows_are_told_apart_by_no_more_than_they_need(run_folder, row):
    rows = [row("euler", 0, 1.0, variant="grid=karras-7 zero"), row("sim", 0, 1.0, variant="l2 rate=1")]
    rows += [row("sim", 0, 1.0, variant="l1 rate=1"), row("sim", 0, 1.0)]
    rows += [row("bespoke", 0, 1.0, budget=f"{n}000 evaluations") for n in (5, 20)]
    folder = run_folder("run", rows)
    (folder / METHODS).write_text(methods_json({"euler": Method("Euler"), "sim": Method("SIM")}))
    board = leaderboard.read(folder)
    found = naming.labels(board, [entry.key.row for entry in board.entries])
    names = ["Euler", "SIM [l2 rate=1]", "SIM [l1 rate=1]", "SIM [default]", "bespoke (5k)", "bespoke (20k)"]
    assert list(found.values()) == names


def test_two_methods_of_one_display_name_are_told_apart(run_folder, row):
    folder = run_folder("run", [row(name, 0, 1.0) for name in ("a", "b", "c")])
    (folder / METHODS).write_text(methods_json({"a": Method("X"), "b": Method("X"), "c": Method("Y")}))
    assert naming.displays(leaderboard.read(folder)) == {"a": "X (a)", "b": "X (b)", "c": "Y"}


@pytest.mark.parametrize(
    ("mean", "error", "text"),
    [
        (0.0, 0.0, "0"), (0.0, math.nan, "0"), (2.406, 0.124, "2.41 ± 0.12"), (114.66, 0.04, "114.7 ± 0.0"),
        (3e-5, 1e-6, "3.0e-05 ± 1.0e-06"), (2.5, 0.0, "2.50 ± 0"), (0.5604, math.nan, "0.560"),
        (3e7, 1e5, "3.0e+07 ± 1.0e+05"),
    ],
)  # fmt: skip
def test_only_zero_is_written_as_zero(mean, error, text):
    assert naming.cell(mean, error) == text


def test_methods_are_chosen_before_they_are_ranked(run_folder, row):
    rows = [row(m, s, v + 0.01 * s) for v, m in enumerate(("best", "dpm-a", "dpm-b", "other")) for s in range(3)]
    rows += [row("best", 0, 1.0, nfe=2)]
    folder = run_folder("run", rows)
    everything = leaderboard.read(folder)
    assert {e.method for e in everything.entries if e.starred} == {"best"}
    assert {e.method for e in everything.entries if e.second} == {"dpm-a"}
    chosen = leaderboard.read(folder, methods=["dpm*", "other"], nfes=[1])
    assert {e.method: e.ranks["fd_digits"] for e in chosen.entries} == {"dpm-a": 1, "dpm-b": 2, "other": 3}
    assert {e.method for e in chosen.entries if e.starred} == {"dpm-a"}


def test_a_method_or_nfe_that_no_row_has_is_refused_with_those_there_are(run_folder, row):
    folder = run_folder("run", [row("a", 0, 1.0, variant="order=2"), row("b", 0, 1.0, nfe=4)])
    with pytest.raises(ValueError, match="no row of method 'c'; there are a, b"):
        leaderboard.read(folder, methods=["c"])
    with pytest.raises(ValueError, match="no row of method 'a:order=3'; there are a:order=2"):
        leaderboard.read(folder, methods=["a:order=3"])
    with pytest.raises(ValueError, match="no row has NFE 3; there are 1, 4"):
        leaderboard.read(folder, nfes=[3])
    with pytest.raises(ValueError, match="none of a has a row at NFE 4"):
        leaderboard.read(folder, methods=["a"], nfes=[4])
    assert len(leaderboard.read(folder, methods=["a:order=*"]).entries) == 1
