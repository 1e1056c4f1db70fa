"""Learned solvers in a suite: their costs, their files, their transfer to another teacher."""

import csv
import json

import pytest
import yaml

from fewstep.bench.errors import InputError
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.stages import teacher
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import load
from fewstep.methods import saved
from fewstep.tests.bench.command_line import fewstep

TEACHER = {"name": "pretrain", "images": 640, "network": {"name": "mlp", "width": 8, "blocks": 1}}
SMALL = {"trajectories": 16, "nodes": 9, "tolerance": 1.0e-3, "batch": 8}
SUITE = {
    "name": "learned",
    "datasets": "mixture-2d",
    "teachers": TEACHER,
    "budgets": [{"evaluations": 2500}, {"evaluations": 9000}],
    "seeds": [0],
    "nfe": [4],
    "samples": 20,
    "truth": {"samples": 10},
    "metrics": "rmse",
    "device": "cpu",
    "methods": [
        {"name": "runge-kutta", "options": {"tableau": "midpoint", "path": "flow-ot", "grid": {"spacing": "uniform"}}},
        {"name": "bespoke", "options": SMALL, "nfe": [4, 6]},
        {
            "name": "bespoke",
            "options": {**SMALL, "select": "best-rmse", "select_samples": 8},
            "budgets": {"evaluations": 9000},
        },
        {
            "name": "bespoke",
            "variant": "moved",
            "options": SMALL,
            "budgets": {"evaluations": 2500},
            "fitted_on": {"dataset": "mixture-2d", "teacher": {**TEACHER, "seed": 1}},
        },
        {"name": "d-ode", "options": {"batch": 16}, "budgets": {"evaluations": 2500}},
        {"name": "iia", "options": {"batch": 16, "solver": "ddim"}, "budgets": {"evaluations": 2500}},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned")
    (folder / "suite.yaml").write_text(yaml.safe_dump(SUITE, sort_keys=False))
    result = fewstep("run", folder / "suite.yaml", "--out", folder / "out")
    assert result.returncode == 0, result.stderr
    return folder / "out"


def table(file):
    return list(csv.DictReader(file.open(encoding="utf-8")))


def test_costs_are_kept_by_use(out):
    spent = {}
    for row in table(out / "costs.csv"):
        key = row["method"], row["variant"], row["budget"], row["nfe"]
        spent.setdefault(key, {})[row["use"]] = float(row["evaluations"])
    totals = {
        (row["method"], row["variant"], row["budget"], row["nfe"]): float(row["train_evaluations"])
        for row in table(out / "results.csv")
        if row["budget"] != "0"
    }
    assert set(spent) == set(totals)
    for key, uses in spent.items():
        assert sum(uses.values()) == pytest.approx(totals[key])
        assert uses["ground truth"] > 0
        assert ("selection" in uses) == ("select=best-rmse" in key[1])
        assert ("student backward" in uses) == (key[0] == "bespoke")
    assert {nfe for method, variant, _, nfe in spent if method == "bespoke" and "select" not in variant} == {"4", "6"}


def test_the_leaderboard_shows_what_they_cost(out):
    text = " ".join(fewstep("leaderboard", out).stdout.split())
    assert "learned: what training cost" in text
    assert "truth" in text


def test_the_report_draws_what_was_learned_and_quality_against_compute(out):
    records = json.loads((out / "learned.json").read_text())
    names = {tuple(name for name, _ in record["learned"]) for record in records}
    assert {("r", "t", "s"), ("evaluation", "lambda"), ("step", "coefficient 1", "coefficient 2")} == names
    page = (out / "report.html").read_text()
    assert "the numbers that learned solvers have learned" in page
    assert "against the compute of training" in page


def test_an_exported_solver_belongs_to_its_teacher(out, tmp_path):
    file = tmp_path / "solver.safetensors"
    result = fewstep("export", out, "--method", "d-ode", "--nfe", 4, "--out", file)
    assert result.returncode == 0, result.stderr
    own, other = sorted(
        (out / "store").glob("teacher-*"), key=lambda path: '"seed": 1' in (path / "manifest.json").read_text()
    )
    method = saved.load(file, teacher.load({"teacher": Store(out / "store").need(own.name)}))
    assert method.result().lambdas.abs().max() > 0
    with pytest.raises(saved.MismatchError, match="fitted to teacher"):
        saved.load(file, teacher.load({"teacher": Store(out / "store").need(other.name)}))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "runge-kutta", "--nfe", 4], "runge-kutta is not trained: there is nothing to export"),
        (["--method", "d-ode", "--nfe", 8], "trained per NFE, and the run has no cell with NFE 8"),
        (["--method", "d-ode", "--nfe", 4, "--seed", 7], "no finished cell with seed 7"),
        (["--method", "bespoke", "--nfe", 4, "--variant", "none"], "the run has variant 'trajectories=16"),
        (["--method", "tract", "--nfe", 1], "no finished cell of method 'tract'; the run has runge-kutta, bespoke"),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_is_told(out, tmp_path, words, message):
    result = fewstep("export", out, *words, "--out", tmp_path / "x")
    assert result.returncode == 2
    assert message in result.stderr
    assert not (tmp_path / "x").exists()


def test_a_moved_solver_is_fitted_elsewhere(tmp_path):
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(SUITE, sort_keys=False))
    plan = make_plan(load(str(tmp_path / "suite.yaml")))
    moved = [cell.score.inputs["sample"] for cell in plan.cells if cell.variant == "moved"]
    assert moved
    for task in moved:
        assert task.inputs["train"].inputs["teacher"].params.teacher["seed"] == 1
        assert task.inputs["teacher"].params.teacher["seed"] == 0
        assert task.params.transfer


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "euler", "fitted_on": {"dataset": "digits"}}, "euler is not a learned solver"),
        ({"name": "bespoke", "fitted_on": {"dataset": "digit"}}, "did you mean 'digits'?"),
        (
            {"name": "bespoke", "options": {"select": "best-fd"}},
            "selects by a Fréchet distance, which mixture-2d does not have",
        ),
        ({"name": "iia", "options": {"solver": "ddim", "r": 0}}, "leaves ddim nothing to fit"),
        ({"name": "d-ode", "budgets": []}, "budgets"),
    ],
)
def test_a_suite_that_cannot_be_is_told(tmp_path, entry, message):
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({**SUITE, "methods": [entry]}, sort_keys=False))
    with pytest.raises(InputError, match=r"suite\.yaml:") as error:
        load(str(tmp_path / "suite.yaml"))
    assert message in str(error.value)
