"""What training cost stands beside what it gave."""

import json

import pytest

from fewstep.bench.results import costs as bench_costs
from fewstep.bench.results.rows import COLUMNS, to_csv
from fewstep.reports import figures, leaderboard, run_folder

KEY = {"suite": "test", "dataset": "digits", "teacher": "small"}


def result(method, budget, nfe, seed, evaluations, seconds, value=1.0):
    return dict.fromkeys(COLUMNS, "") | KEY | {
        "method": method, "budget": budget, "nfe": nfe, "seed": seed, "metric": "rmse", "value": repr(value),
        "samples": 10, "status": "done", "train_evaluations": evaluations, "train_seconds": seconds,
        "trainable_parameters": 31 if evaluations else 0,
        "train_peak_bytes": 2_500_000 if evaluations else "",
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A solver without training; one learned per NFE with two budgets; one student for all NFEs."""
    table = [result("euler", "0", nfe, seed, 0, 0, 4.0) for nfe in (4, 8) for seed in (0, 1)]
    spent = []
    for nfe, seconds in ((4, 2.0), (8, 6.0)):
        for seed in (0, 1):
            for budget in (1000, 5000):
                name = f"{budget} evaluations"
                table.append(result("bespoke", name, nfe, seed, budget, seconds + seed, 1000 / budget))
                key = {
                    **KEY,
                    "method": "bespoke",
                    "variant": "",
                    "budget": name,
                    "seed": seed,
                    "nfe": nfe,
                    "run": f"{budget}-{seed}-{nfe}",
                }
                uses = {"ground truth": 300, "selection": 50 * nfe, "student forward": budget - 300 - 50 * nfe}
                spent += [{**key, "use": use, "evaluations": n, "flops": 10 * n} for use, n in uses.items()]
            table.append(result("consistency", "5000 evaluations", nfe, seed, 5000, 9.0 + seed))
            key = {
                **KEY,
                "method": "consistency",
                "variant": "",
                "budget": "5000 evaluations",
                "seed": seed,
                "nfe": nfe,
            }
            spent.append({**key, "run": f"c-{seed}", "use": "teacher", "evaluations": 5000, "flops": 50_000})
    (tmp_path / "results.csv").write_text(to_csv(table))
    (tmp_path / "costs.csv").write_text(to_csv(spent, bench_costs.COLUMNS))
    return tmp_path


def test_the_cost_table_has_a_line_per_trained_row_with_its_uses(folder):
    table = leaderboard.read(folder).costs
    assert table.columns[1:] == [
        "budget (evals)", "trained for", "evaluations", "ground truth", "selection", "seconds", "parameters", "peak MB",
    ]  # fmt: skip
    small, large, student = table.texts
    assert small == ["bespoke", "1k", "each NFE", "1,000", "300", "200–400", "2.5–6.5", "31", "2.5"]
    assert large[3] == "5,000"
    assert student[2:] == ["all NFEs", "5,000", "0", "0", "9.5", "31", "2.5"]


def test_the_leaderboard_ends_with_the_costs_unless_one_metric_is_asked(folder):
    board = leaderboard.read(folder)
    assert "what training cost" in leaderboard.render(board, "markdown")
    assert "what training cost" not in leaderboard.render(board, "markdown", "rmse")


def test_results_without_training_have_no_costs(tmp_path):
    (tmp_path / "results.csv").write_text(to_csv([result("euler", "0", 4, 0, 0, 0)]))
    assert leaderboard.read(tmp_path).costs is None


def test_quality_is_drawn_against_what_training_spent(folder):
    panels = figures.figure([folder], "budget", metric="rmse").axes
    assert [panel.get_title()[:5] for panel in panels] == ["NFE 4", "NFE 8"]
    assert panels[0].lines[0].get_xdata().tolist() == [1000, 5000]


def test_one_budget_makes_no_curve(tmp_path):
    (tmp_path / "results.csv").write_text(to_csv([result("bespoke", "9 evaluations", 4, 0, 9, 1)]))
    with pytest.raises(ValueError, match="no row was trained at several budgets"):
        figures.figure([tmp_path], "budget", metric="rmse")


def test_learned_numbers_are_drawn_at_the_largest_budget_for_two_rows_of_a_method(tmp_path):
    rows, records = [], []
    for loss, budget in (("a", 900), ("a", 10_000), ("b", 10_000), ("c", 10_000)):
        variant, spent = f"loss={loss}", f"{budget} evaluations"
        rows.append({**result("bespoke", spent, 4, 0, budget, 1), "variant": variant})
        numbers = [["r", [0.0, 0.5, 1.0]], ["t", [0.0, 0.6, 1.0]], ["s", [1.0, budget, 1.2]]]
        key = {"dataset": "digits", "teacher": "small", "method": "bespoke", "variant": variant, "nfe": 4, "seed": 0}
        records.append({**key, "budget": spent, "learned": numbers})
    (tmp_path / "results.csv").write_text(to_csv(rows))
    (tmp_path / "learned.json").write_text(json.dumps(records))
    panels = figures.figure([tmp_path], "learned", metric="rmse").axes
    assert [panel.get_title(loc="left") for panel in panels[::2]] == ["bespoke [loss=a]", "bespoke [loss=b]"]
    assert panels[1].lines[0].get_ydata()[1] == 10_000
    assert run_folder.learned(tmp_path / "absent") == []
