"""Figures are the same for the same data, and show what they are given."""

import numpy as np
import pytest

from fewstep.reports.figures import quality_against_nfe, samples_side_by_side
from fewstep.reports.leaderboard import Board, Entry


@pytest.fixture
def board():
    entries = [
        Entry("digits", "small", method, "", "0", nfe, "done", {"fd_digits": {0: value / nfe, 1: value / nfe + 0.1}})
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
    cells = {("digits", "small", ("euler", "", "0"), 2): "abc"}
    svg = samples_side_by_side(board, {"abc": images, "truth/digits/small": images}, cells)
    assert svg.index("exact ODE solution") < svg.index("euler, NFE 2")
    assert "heun" not in svg


def test_without_images_there_is_no_picture(board):
    assert samples_side_by_side(board, {}, {}) is None
