"""What a store answers without computing, and why not: never run, or answered by other code."""

import json

import pytest
import yaml

from fewstep.bench.plan.cells import make_plan
from fewstep.bench.results import rows as results
from fewstep.bench.run import stale
from fewstep.bench.store import MANIFEST, Store
from fewstep.bench.suite.schema import Suite
from fewstep.tests.bench.source_copies import copied, forget, use

SUITE = """
name: test
datasets: digits
teachers: {name: pretrain}
budgets: {evaluations: 1000}
nfe: 1
metrics: [fd_digits]
methods: [{name: euler}, {name: heun}, {name: consistency}]
"""
METRICS = {"fd_digits": {"value": 1.5, "samples": 10, "protocol": "p", "without": [1.0, 2.0]}}


def plan(**changes):
    return make_plan(Suite.model_validate({**yaml.safe_load(SUITE), **changes}))


@pytest.fixture
def store(tmp_path):
    """One that holds an answer to every task of the suite, by today's code."""
    made = Store(tmp_path / "store")
    made.prepare()
    for task in plan().tasks():
        with made.work(task.name) as folder:
            result = {"status": "done", "metrics": METRICS, "ledger": {"students": {}, "uses": {}}}
            made.commit(task.to_json(), folder, result, {"ended": 1.0})
    return made


@pytest.fixture
def edit(monkeypatch, tmp_path):
    """edit(module): its source is another one from now on."""
    house = copied(tmp_path / "fewstep")
    use(house, monkeypatch)

    def change(module):
        with house.joinpath(*module.split(".")[1:]).with_suffix(".py").open("a") as file:
            file.write("\nEDITED = 1\n")
        forget()

    yield change
    monkeypatch.undo()
    forget()


def reasons(store, a_plan):
    absent = stale.stored(a_plan, store).absent
    return {cell.method: str(absent.get(cell.score.name, "done")) for cell in a_plan.cells}


def test_what_is_in_the_store_is_done(store):
    assert reasons(store, plan()) == {"euler": "done", "heun": "done", "consistency": "done"}


def test_an_edited_method_makes_its_own_cells_stale_and_names_the_file(store, edit):
    edit("fewstep.methods.distillation.consistency")
    expected = "stale: methods.distillation.consistency changed since"
    assert reasons(store, plan()) == {"euler": "done", "heun": "done", "consistency": expected}


def test_an_edited_stage_makes_all_that_needs_it_stale(store, edit):
    edit("fewstep.bench.stages.teacher")
    assert set(map(str, reasons(store, plan()).values())) == {"stale: bench.stages.teacher changed since"}


def test_the_source_of_a_feature_network_outdates_scores_and_no_training(store, edit):
    before = {task.name for task in plan().tasks()}
    edit("fewstep.bench.stages.extractor")
    renamed = {task.kind for task in plan().tasks() if task.name not in before}
    assert renamed == {"extractor", "score"}


def test_another_torch_is_named_too(store, monkeypatch):
    for path in store.root.glob(f"*/{MANIFEST}"):
        manifest = json.loads(path.read_text())
        path.write_text(json.dumps({**manifest, "torch": "1.0"}))
    a_plan = plan()
    found = stale.reasons(a_plan, store, present=set())
    assert set(map(str, found.values())) == {"stale: torch changed since"}


def test_another_question_is_missing_not_stale(store, edit):
    edit("fewstep.methods.solvers.heun")
    asked = plan(samples=20, methods=[{"name": "heun"}])
    assert reasons(store, asked) == {"heun": "missing: not run yet"}


def test_a_stale_cell_is_a_row_without_a_value(store, edit):
    edit("fewstep.methods.distillation.consistency")
    a_plan = plan(methods=[{"name": "consistency"}])
    (row,) = results.rows(a_plan, stale.stored(a_plan, store))
    assert row["value"] == ""
    assert row["status"].startswith("stale: methods.distillation.consistency")
