"""The rule set "tuned": declared trials share the budget, and all that they and the choice cost is charged."""

import pytest
import yaml
from torch.utils.flop_counter import FlopCounterMode

from fewstep.bench.errors import InputError
from fewstep.bench.metrics import frechet_distance
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.results import rows as results
from fewstep.bench.results import trials
from fewstep.bench.run import runner, worker
from fewstep.bench.stages import extractor, sample, teacher, train
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import load
from fewstep.reports import leaderboard

SUITE = """
name: tuning
datasets: digits
teachers: {name: pretrain, images: 2560, network: {name: unet, channels: 8}}
budgets: [{evaluations: 2000}]
nfe: [1, 4]
samples: 100
metrics: [fd_digits]
device: cpu
methods:
  - name: consistency
    nfe: 1
    options: {batch: 16}
    tune: {samples: 64, trials: [{learning_rate: 1.0e-9}, {learning_rate: 1.0e-3}, {learning_rate: 1.0e+30}]}
  - name: bespoke
    nfe: 4
    options: {batch: 8, trajectories: 16, nodes: 9, tolerance: 1.0e-3}
    tune: {samples: 64, trials: [{loss: bound}, {loss: rmse}]}
"""


def planned(folder, **changes):
    (folder / "suite.yaml").write_text(yaml.safe_dump({**yaml.safe_load(SUITE), **changes}, sort_keys=False))
    return make_plan(load(str(folder / "suite.yaml")))


def do(store, task):
    state, reason = worker.execute(task.to_json(), store)
    assert state == "done", reason


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(plan, store, FLOPs that a counter around all trials and choices saw, by method)."""
    folder = tmp_path_factory.mktemp("tuning")
    plan, store, flops = planned(folder), Store(folder / "store"), {}
    store.prepare()
    for task in plan.tasks():
        if task.kind not in ("train", "tune"):
            do(store, task)
            continue
        with FlopCounterMode(display=False) as counter:
            do(store, task)
        method = "consistency" if "consistency" in task.label else "bespoke"
        flops[method] = flops.get(method, 0) + counter.get_total_flops()
    return plan, store, flops


def tuned(finished, method):
    """The cell of a tuned method, its artifact, and its trials'."""
    plan, store, _ = finished
    cell = next(cell for cell in plan.cells if cell.method == method)
    task = cell.score.inputs["sample"].inputs["train"]
    trials = [store.need(needed.name) for role, needed in task.inputs.items() if role.startswith("trial ")]
    return cell, store.need(task.name), trials


@pytest.mark.parametrize(("method", "used"), [("consistency", 0.6), ("bespoke", 0.9)])
def test_trials_and_choice_are_charged_as_a_counter_sees_them_and_stay_within_the_budget(finished, method, used):
    """The trial that diverges leaves most of its part unspent."""
    _, artifact, trials = tuned(finished, method)
    ledger = artifact.result["ledger"]
    # What a counter around the tasks sees beside the networks: the features' covariances are a few products more.
    assert ledger["flops"] == pytest.approx(finished[2][method], rel=0.02)
    assert used * 2000 < ledger["evaluations"] <= 2000
    trained = sum(trial.result["ledger"]["flops"] for trial in trials)
    assert ledger["uses"]["selection"] == pytest.approx(ledger["flops"] - trained)
    assert sum(ledger["uses"].values()) == pytest.approx(ledger["flops"])


def test_the_trial_whose_samples_are_nearest_to_the_data_is_the_student(finished):
    _, artifact, trials = tuned(finished, "consistency")
    distances = [float(trial["distance"]) for trial in artifact.result["trials"]]
    assert artifact.result["chosen"] == 1
    assert distances[1] < distances[0] < float("inf")
    assert artifact.file(train.WEIGHTS).read_bytes() == trials[1].file(train.WEIGHTS).read_bytes()


def test_a_trial_that_diverges_is_charged_and_not_chosen(finished):
    _, artifact, trials = tuned(finished, "consistency")
    assert artifact.result["trials"][2]["status"].startswith("diverged")
    assert trials[2].result["ledger"]["flops"] > 0


def test_the_choice_is_made_on_other_noises_than_the_score(finished):
    _, artifact, _ = tuned(finished, "consistency")
    _, store, _ = finished
    method = train.load(artifact, teacher.load({"teacher": store.need(artifact.manifest["inputs"]["teacher"])}))
    (extractor_task,) = (task for task in finished[0].tasks() if task.kind == "extractor")
    network, real = extractor.load(store.need(extractor_task.name))
    distances = {}
    for purpose in ("", "-selection"):
        x0 = sample.sampler(method, 0, 1, (1, 8, 8), purpose)(range(64))
        distances[purpose] = frechet_distance(real, extractor.features(network, x0))
    chosen = float(artifact.result["trials"][artifact.result["chosen"]]["distance"])
    assert distances["-selection"] == pytest.approx(chosen, rel=1e-7)
    assert distances[""] != pytest.approx(chosen, rel=1e-3)


def test_a_row_states_its_rule_set(finished):
    plan, store, _ = finished
    rows = results.rows(plan, runner.look_up(plan.tasks(), store))
    assert {(row["method"], row["rules"], row["variant"].rpartition(" tuned")[2]) for row in rows} == {
        ("consistency", "tuned of 3", " of 3"),
        ("bespoke", "tuned of 2", " of 2"),
    }
    assert all(float(row["value"]) > 0 and row["status"] == "done" for row in rows)


def test_the_report_says_what_was_tried_and_chosen(finished, tmp_path):
    plan, store, _ = finished
    outcome = runner.look_up(plan.tasks(), store)
    (tmp_path / "results.csv").write_text(results.to_csv(results.rows(plan, outcome)))
    (tmp_path / "trials.csv").write_text(results.to_csv(trials.rows(plan, outcome), trials.COLUMNS))
    rows = leaderboard.read(tmp_path).trials.rows
    lines = [[cell.text for cell in (*row[:1], *row[-3:])] for row in rows]
    assert [line[1] for line in lines][:3] == ["learning_rate=1e-09", "learning_rate=0.001", "learning_rate=1e+30"]
    assert [line[3] for line in lines][:3] == ["0 of 1", "1 of 1", "0 of 1"]
    assert lines[2][2] == "–"
    assert float(lines[1][2]) < float(lines[0][2])
    assert {line[0] for line in lines} == {"consistency", "bespoke"}


def test_if_every_trial_diverges_the_row_has(finished, tmp_path):
    trials = [{"learning_rate": 1e30}, {"learning_rate": 2e30}]
    tune = {"samples": 8, "trials": trials}
    plan = planned(tmp_path, methods=[{"name": "consistency", "nfe": 1, "tune": tune}])
    store = finished[1]
    for task in plan.tasks():
        do(store, task)
    (row,) = results.rows(plan, runner.look_up(plan.tasks(), store))
    assert row["status"] == "diverged: every trial"
    assert row["value"] == ""


def test_a_budget_that_choosing_alone_exceeds_is_out_of_budget(tmp_path, finished):
    plan = planned(
        tmp_path, methods=[{"name": "consistency", "nfe": 1, "tune": {"samples": 3000, "trials": [{}, {"batch": 8}]}}]
    )
    done = finished[1]
    (task, *_) = [task for task in plan.tasks() if task.kind == "train"]
    state, reason = worker.execute(task.to_json(), done)
    assert state == "failed"
    assert str(reason).startswith("out of budget: choosing costs")
    assert "lower samples or nfe of tune" in str(reason)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "euler", "tune": {"trials": [{}, {"x": 1}]}}, "euler is not trained: there is nothing to share"),
        ({"name": "consistency", "tune": {"trials": [{}]}}, "trials: give at least two"),
        ({"name": "consistency", "tune": {"trials": [{}, {}]}}, "{} appears twice"),
        ({"name": "consistency", "tune": {"trials": [{}, {"lerning_rate": 1}]}}, "did you mean 'learning_rate'?"),
        ({"name": "bespoke", "tune": {"nfe": 4, "trials": [{}, {"order": 1}]}}, "bespoke is trained, and chosen, per"),
        (
            {"name": "progressive", "nfe": [3, 4], "tune": {"trials": [{}, {"ema": 0.5}]}},
            "progressive cannot be evaluated at NFE 3",
        ),
        (
            {"name": "consistency", "budgets": {"seconds": 5}, "tune": {"trials": [{}, {"ema": 0.5}]}},
            "trials share a budget that is measured in FLOPs, not in seconds",
        ),
    ],
)
def test_a_tuning_that_makes_no_sense_is_refused_with_its_line(tmp_path, entry, message):
    with pytest.raises(InputError, match=r"suite.yaml:\d+: methods\[0\]") as raised:
        planned(tmp_path, methods=[entry])
    assert message in str(raised.value)


def test_a_data_set_without_a_feature_network_cannot_choose(tmp_path):
    entry = {"name": "consistency", "tune": {"trials": [{}, {"ema": 0.5}]}}
    network = {"name": "pretrain", "network": {"name": "mlp"}}
    with pytest.raises(InputError, match="selects by a Fréchet distance, which mixture-2d does"):
        planned(tmp_path, datasets="mixture-2d", metrics="rmse", teachers=network, methods=[entry])
