"""Figures are the same for the same data, and show what they are given."""

import numpy as np
import pytest

from fewstep.reports.entries import Board, Entry
from fewstep.reports.figures.nfe import budget_panels, nfe_panels, quality_against_nfe
from fewstep.reports.figures.samples import samples_side_by_side
from fewstep.reports.run_folder import EntryKey, Metric


def entry(method, nfe, values, variant="", budget="0", evaluations=0.0):
    return Entry(
        EntryKey("digits", "small", method, variant, budget, nfe),
        {"fd_digits": "done"},
        {"fd_digits": dict(enumerate(values))},
        evaluations=evaluations,
    )


@pytest.fixture
def board():
    entries = [
        entry(method, nfe, [value / nfe, value / nfe + 0.1])
        for method, value in (("euler", 8.0), ("heun", 4.0))
        for nfe in (1, 2, 4)
    ]
    return Board("test", ["fd_digits"], entries)


def test_the_same_data_give_the_same_svg(board):
    first, second = (quality_against_nfe(board, "fd_digits", "digits", "small") for _ in range(2))
    assert first == second
    assert first.startswith("<svg")
    assert "euler" in first
    assert "heun" in first


def test_a_board_without_values_still_draws():
    assert quality_against_nfe(Board("t", ["rmse"], []), "rmse", "digits", "small").startswith("<svg")


def test_samples_stand_side_by_side_with_the_truth_first(board):
    images = np.zeros((3, 1, 8, 8), dtype=np.uint8)
    cells = {EntryKey("digits", "small", "euler", "", "0", 2): "abc"}
    svg = samples_side_by_side(board, {"abc": images, "truth/digits/small": images}, cells)
    assert svg.index("exact ODE solution") < svg.index("euler, NFE 2")
    assert "heun" not in svg


def test_without_images_there_is_no_picture(board):
    assert samples_side_by_side(board, {}, {}) is None


def test_an_axis_is_logarithmic_where_the_metrics_facts_say_so(board):
    linear = quality_against_nfe(board, "fd_digits", "digits", "small")
    board.facts["fd_digits"] = Metric("FD", log_scale=True)
    assert quality_against_nfe(board, "fd_digits", "digits", "small") != linear


def test_few_lines_share_a_panel_and_many_have_one_for_each_trained_method():
    few = [entry(name, nfe, [1.0, 2.0]) for name in "ab" for nfe in (1, 2)]
    (panel,) = nfe_panels(few, "fd_digits")
    assert (panel.rows, panel.behind, panel.ticks) == (2, [], [1, 2])
    assert sorted(panel.points["fd_digits"]) == [1.0] * 4 + [2.0] * 4
    trained = [
        entry(name, nfe, [float(spent)], str(variant), f"{spent} evaluations", spent)
        for name in "cd" for variant in range(5) for spent in (10, 20) for nfe in (1, 2)
    ]  # fmt: skip
    panels = nfe_panels(few + trained, "fd_digits")
    assert [panel.points["method"].str[0].unique().tolist() for panel in panels] == [["c"], ["d"]]
    assert [set(panel.points["fd_digits"]) for panel in panels] == [{20.0}, {20.0}]
    assert [panel.behind for panel in panels] == [[[(1, 1.5), (2, 1.5)], [(1, 1.5), (2, 1.5)]]] * 2


def test_two_rows_never_share_a_line_because_their_names_are_cut_short():
    entries = [entry("a", nfe, [1.0], variant=v) for v in ("grid=karras-7 zero", "grid=uniform zero") for nfe in (1, 2)]
    (panel,) = nfe_panels(entries, "fd_digits")
    assert panel.points["method"].nunique() == 2
    (panel,) = nfe_panels(entries[:2], "fd_digits")
    assert set(panel.points["method"]) == {"a"}


def test_against_the_budget_a_curve_has_all_budgets_in_order_and_free_rows_are_means():
    entries = [entry("free", 1, [3.0, 5.0])]
    entries += [entry("a", 1, [v, v + 2], "", f"{s} evaluations", s) for s, v in ((900, 1.0), (100, 7.0))]
    entries += [entry("one", 1, [9.0], "", "100 evaluations", 100)]
    (panel,) = budget_panels(entries, "fd_digits")
    assert (panel.nfe, panel.free) == (1, [4.0])
    ((name, (spent, means, stds)),) = panel.curves.items()
    assert (name, spent, means) == ("a", [100, 900], [8.0, 2.0])
    assert stds == pytest.approx([2**0.5] * 2)
