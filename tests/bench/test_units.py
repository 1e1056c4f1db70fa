"""Budgets in the papers' units: the run stops where they say, and its ledger counts evaluations."""

import csv

import pytest
import yaml

from fewstep.bench.errors import InputError
from fewstep.bench.plan import memory
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.plan.kinds import Trained, TrainParams
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import checked, load
from fewstep.bench.training.ledger import Ledger

from .in_process import call, run_in_process

SUITE = {
    "name": "units",
    "datasets": "mixture-2d",
    "teachers": {"name": "pretrain", "network": {"name": "mlp", "width": 8, "blocks": 1}, "images": 640},
    "nfe": [4],
    "samples": 12,
    "truth": {"samples": 4, "tolerance": 1e-2},
    "metrics": "rmse",
    "device": "cpu",
}
ROWS = [
    {"name": "consistency", "options": {"batch": 8}, "budgets": {"iterations": 5}},
    {"name": "progressive", "options": {"start_steps": 8, "batch": 8}, "budgets": {"phase_iterations": [2, 3, 4]}},
    {
        "name": "tract",
        "options": {"teacher_steps": 8, "phases": [4, 1], "batch": 8},
        "budgets": {"phase_iterations": [3, 2]},
    },
    {"name": "bespoke", "options": {"nodes": 5, "tolerance": 0.1, "batch": 4}, "budgets": {"trajectories": 30}},
    {"name": "d-ode", "options": {"batch": 8}, "budgets": {"batches": 2}},
]


def suite(*rows, **changes):
    return checked("s.yaml", yaml.safe_dump({**SUITE, "methods": list(rows), **changes}))


def run(folder, rows, **changes):
    """method -> (the ledger of its training, what was asked of it)."""
    (folder / "s.yaml").write_text(yaml.safe_dump({**SUITE, "methods": rows, **changes}))
    with pytest.MonkeyPatch.context() as patch:
        run_in_process(patch)
        result = call("run", folder / "s.yaml", "--out", folder / "out")
    assert result.exit_code == 0, result.output
    store, trained = Store(folder / "out" / "store"), {}
    for path in (folder / "out" / "store").glob("train-*"):
        artifact = store.need(path.name)
        params = artifact.asked(TrainParams)
        trained[params.method] = artifact.answer(Trained).ledger, params
    return trained


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(the rows of results.csv by method, (method -> what its training says) with its parameters)."""
    folder = tmp_path_factory.mktemp("units")
    trained = run(folder, ROWS)
    with (folder / "out" / "results.csv").open() as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    return rows, trained, folder / "out"


def test_iterations_are_steps_of_the_optimiser(ran):
    ledger, _ = ran[1]["consistency"]
    assert (ledger.steps, ledger.unit, ledger.limit) == (5, "iterations", 5)


def test_each_phase_has_the_iterations_that_are_given(ran):
    ledger, params = ran[1]["progressive"]
    assert ledger.steps == 9
    assert params.options["last_shares"] == [2.0, 3.0, 4.0]
    assert [ledger.students[str(n)].steps for n in (4, 2)] == [2, 5]
    ledger, _ = ran[1]["tract"]
    assert ledger.kind_steps == {"to 4 steps": 3, "to 1 steps": 2}


def test_as_many_true_paths_are_solved_as_are_given(ran):
    ledger, params = ran[1]["bespoke"]
    assert params.options["trajectories"] == 30
    assert ledger.steps == 8
    last = max(int(kind.split()[4].rstrip(",")) for kind in ledger.kind_steps if kind.startswith("true paths"))
    assert last == 30


def test_a_fit_sees_as_many_batches_as_are_given(ran):
    ledger, params = ran[1]["d-ode"]
    assert params.options["batch"] == 16
    lots = {kind: steps for kind, steps in ledger.kind_steps.items() if kind.endswith("targets")}
    assert sum(int(kind.split()[0]) * steps for kind, steps in lots.items()) == 16
    assert "fit" in ledger.kind_steps


def test_results_show_the_unit_and_the_evaluations_that_it_came_to(ran):
    rows, trained, out = ran
    assert {name: row["budget"] for name, row in rows.items()} == {
        "consistency": "5 iterations",
        "progressive": "9 iterations in phases 2+3+4",
        "tract": "5 iterations in phases 3+2",
        "bespoke": "30 trajectories",
        "d-ode": "2 batches",
    }
    for name, row in rows.items():
        assert row["status"] == "done"
        assert float(row["train_evaluations"]) == pytest.approx(trained[name][0].of_student(4).evaluations)
    spent = trained["consistency"][0].evaluations
    costs = call("leaderboard", out, "--format", "markdown").output.split("what training cost")[1]
    (line,) = (line for line in costs.splitlines() if "5 iterations" in line and f"{spent:,.0f}" in line)
    assert line.startswith("| Consistency distillation")
    lines = csv.DictReader(call("leaderboard", out, "--format", "csv").output.splitlines())
    found = {line["method"]: (line["budget"], float(line["train_evaluations"])) for line in lines}
    assert found["consistency"] == ("5 iterations", pytest.approx(spent))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"name": "consistency", "budgets": {"trajectories": 5}}, "trajectories: consistency has no trajectories"),
        ({"name": "d-ode", "budgets": {"iterations": 5}}, "iterations: d-ode has no iterations"),
        ({"name": "boot", "nfe": 1, "budgets": {"phase_iterations": [5]}}, "boot has no phase_iterations"),
        ({"name": "bespoke", "budgets": {"batches": 5}}, "bespoke has no batches"),
        ({"name": "tract", "budgets": {"phase_iterations": [5]}}, "1 numbers, and tract has 2 phases"),
        ({"name": "consistency", "budgets": {"gpu_hours": 5}}, "unknown key 'gpu_hours'"),
        ({"name": "consistency", "budgets": {"iterations": 0.5}}, "must be a valid integer"),
        (
            {"name": "sim", "nfe": 1, "budgets": {"iterations": 5}, "tune": {"trials": [{"batch": 8}, {"batch": 4}]}},
            "trials share a budget that is measured in FLOPs, not in iterations",
        ),
    ],
)
def test_a_unit_that_a_method_does_not_have_is_refused_with_its_line(row, message):
    with pytest.raises(InputError) as error:
        suite(row)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_ledger_in_iterations_affords_just_as_many(ran):
    ledger = Ledger(3, "iterations", 1.0)
    for _ in range(3):
        assert ledger.affords("step", 1000)
        ledger.charge("step", 1000, 0.1, 1, {"student forward": 10.0})
    assert not ledger.affords("step", 1)
    assert ledger.evaluations == 30


def test_evaluations_ask_what_they_asked_before():
    cells = make_plan(suite("consistency", budgets={"evaluations": 1000})).cells
    assert cells[0].score.inputs["sample"].inputs["train"].asked["budget"] == {"evaluations": 1000.0}


def test_the_student_beside_bespoke_has_as_many_true_paths_and_flops(tmp_path):
    """Shaul et al. 2024, K.4, a thousandth of it: the rows of papers/bespoke-ablations on a network of matrices."""
    ablations = load("papers/bespoke-ablations")
    bespoke, student = ablations.methods[0], ablations.methods[-1]
    (nfe,), (whole,), (images,) = student.nfe, ablations.budgets, student.budgets
    paths = student.options["truth"]["trajectories"]
    assert paths == whole.trajectories
    rows = [
        {"name": bespoke.name, "options": {"nodes": 9, "tolerance": 0.1, "batch": 8}},
        {
            "name": student.name,
            "budgets": {"images": images.images // 1000},
            "options": {
                **student.options,
                "batch": 1,
                "truth": {"trajectories": paths // 1000, "nodes": 9, "tolerance": 0.1},
            },
        },
    ]
    network = {"name": "mlp", "width": 128, "blocks": 2}
    trained = run(
        tmp_path,
        rows,
        nfe=[nfe],
        budgets={"trajectories": whole.trajectories // 1000},
        teachers={**SUITE["teachers"], "network": network},
    )
    (of_bespoke, _), (of_student, _) = trained[bespoke.name], trained[student.name]
    assert of_student.flops == pytest.approx(of_bespoke.flops, rel=0.03)
    assert of_student.uses["ground truth"] == of_bespoke.uses["ground truth"]


def test_true_paths_that_memory_cannot_hold_are_a_reason_before_anything_runs(monkeypatch):
    rows = [
        {"name": "bespoke", "budgets": {"trajectories": 72_000}},
        {"name": "knowledge", "options": {"loss": "lte", "steps": 4, "truth": {"trajectories": 72_000}}},
        {"name": "knowledge", "nfe": [1]},
    ]
    here = suite(*rows, budgets={"evaluations": 1_000_000})
    monkeypatch.setattr(memory, "_bytes_here", lambda: 10**9)
    assert [cell.skipped for cell in make_plan(here).cells] == [None] * 3
    # 72,000 paths of 33 nodes of two numbers, their states and their slopes.
    monkeypatch.setattr(memory, "_bytes_here", lambda: 72_000 * 33 * 2 * 2 * 4 - 1)
    *lacking, fits = [cell.skipped for cell in make_plan(here).cells]
    assert fits is None
    assert all("of memory for its true paths" in str(status) for status in lacking)
