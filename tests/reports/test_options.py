"""Quality against an option that a suite varies."""

import pytest

from fewstep.bench.results.rows import COLUMNS, to_csv
from fewstep.reports import leaderboard
from fewstep.reports.figures.ablation import quality_against_options


def row(variant, seed, value, status="done"):
    return dict.fromkeys(COLUMNS, "") | {
        "suite": "test", "dataset": "digits", "teacher": "small", "method": "sim", "variant": variant,
        "budget": "9 evaluations", "seed": seed, "nfe": 1, "metric": "recall", "samples": 10,
        "train_evaluations": 9, "value": repr(value) if status == "done" else "", "status": status,
    }  # fmt: skip


@pytest.fixture
def drawn(tmp_path):
    def draw(rates, failed=None):
        table = [
            row(f"{distance} learning_rate={rate:g}", seed, 0.5 + rate, "diverged" if rate == failed else "done")
            for distance in ("l2", "pseudo-huber")
            for rate in rates
            for seed in (0, 1)
        ]
        table.append(row("without the option", 0, 0.1))
        (tmp_path / "results.csv").write_text(to_csv(table))
        return quality_against_options(leaderboard.read(tmp_path), "recall", "digits", "small")

    return draw


def test_an_option_with_three_values_makes_a_figure_with_a_line_for_each_of_the_others(drawn):
    svg = drawn([1e-4, 1e-3, 1e-2])["learning_rate"]
    assert "sim l2" in svg
    assert "sim pseudo-huber" in svg
    assert "learning_rate" in svg


def test_two_values_make_none(drawn):
    assert drawn([1e-4, 1e-3]) == {}


def test_a_diverged_run_is_marked_where_it_was(drawn):
    marked, plain = drawn([1e-4, 1e-3, 1e-2], failed=1e-2), drawn([1e-4, 1e-3, 1e-2])
    assert marked["learning_rate"] != plain["learning_rate"]
    assert drawn([1e-2, 1e-2, 1e-2]) == {}
