"""Rank correlations against scipy and closed forms, and their intervals against simulated boards of a known law."""

import math
from functools import lru_cache

import numpy as np
import pytest
from scipy import stats

from fewstep.reports.rank_correlation import ranks, spearman, spearman_interval, tau_b, tau_interval

RNG = np.random.default_rng(3)
BOARDS = 2000


def drawn(tau: float, rows: int, boards: int = BOARDS) -> tuple[np.ndarray, np.ndarray]:
    """Values of (boards, rows) on two boards, from a normal law whose tau is known."""
    r = math.sin(math.pi * tau / 2)
    first, second = RNG.normal(size=(2, boards, rows))
    return first, r * first + math.sqrt(1 - r * r) * second


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_with_and_without_ties_the_values_are_scipys(decimals):
    x = RNG.normal(size=30).round(decimals) + 10
    y = (x + RNG.normal(size=30)).round(decimals) + 10
    pair = [(ranks(x), ranks(y))]
    assert float(tau_b(pair)) == pytest.approx(stats.kendalltau(x, y).statistic)
    assert float(spearman(pair)) == pytest.approx(stats.spearmanr(x, y).statistic)


def test_only_pairs_within_a_group_count():
    """Two groups in perfect order, one far above the other on one side alone."""
    low, high = np.arange(5.0), np.arange(5.0) + 100
    groups = [(ranks(low), ranks(high)), (ranks(high), ranks(low))]
    assert float(tau_b(groups)) == float(spearman(groups)) == 1.0
    joined = [(ranks([*low, *high]), ranks([*high, *low]))]
    assert float(tau_b(joined)) == pytest.approx((20 - 25) / 45)


def test_one_value_computed_in_two_orders_is_tied_and_so_are_infinite_ones():
    assert ranks([3.0, 1.0, 1.0 + 1e-7, math.inf, math.inf]).tolist() == [3.0, 1.5, 1.5, 4.5, 4.5]


def test_without_any_order_there_is_no_value():
    flat = ranks([1.0] * 6)
    assert math.isnan(float(tau_b([(flat, ranks(range(6)))])))
    assert math.isnan(tau_interval(math.nan, (tuple(range(6)),)).low)


CASES = [("tau", 5, 0.0), ("tau", 6, 0.8), ("tau", 8, 0.6), ("tau", 10, 0.9), ("rho", 5, 0.0), ("rho", 6, 0.8)]


@pytest.mark.parametrize(("which", "rows", "tau"), CASES)
def test_the_interval_holds_the_true_value_in_95_percent_of_boards(which, rows, tau):
    """At least: few rows have few orders, each of which is inside or outside as a whole."""
    x, y = drawn(tau, rows)
    placed = [(x.argsort(-1).argsort(-1), y.argsort(-1).argsort(-1))]
    statistic, interval = (tau_b, tau_interval) if which == "tau" else (spearman, spearman_interval)
    truth = tau if which == "tau" else 6 / math.pi * math.asin(math.sin(math.pi * tau / 2) / 2)
    ends = lru_cache(None)(lambda value: interval(value, (tuple(range(rows)),)))
    found = [ends(round(float(value), 6)) for value in statistic(placed)]
    missed = [np.mean([truth < one.low for one in found]), np.mean([truth > one.high for one in found])]
    assert max(missed) <= 0.034
    assert sum(missed) <= 0.058


def test_more_rows_tell_more_and_the_same_row_at_more_nfes_does_not():
    def width(groups):
        found = tau_interval(0.6, groups)
        return found.high - found.low

    eight, sixteen = tuple(range(8)), tuple(range(16))
    assert width((sixteen,)) < width((eight,))
    assert width((eight, eight, eight)) == pytest.approx(width((eight,)), abs=0.03)
    assert width((eight, sixteen[8:])) < width((eight,))


def test_a_perfect_order_of_five_rows_is_more_than_chance_and_one_of_four_is_not():
    assert tau_interval(1.0, (tuple(range(5)),)).low > 0
    assert tau_interval(1.0, (tuple(range(4)),)).low < 0
    assert tau_interval(1.0, (tuple(range(5)),)).high == 1.0
    assert tau_interval(-1.0, (tuple(range(5)),)).low == -1.0
