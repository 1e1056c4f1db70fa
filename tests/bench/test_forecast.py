"""What `run --dry-run` says a run will take."""

import math

import pytest
import torch

from fewstep.bench.plan.cells import make_plan
from fewstep.bench.run.forecast import PACE, forecast
from fewstep.bench.run.pretrain_flops import evaluation_flops
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import load
from fewstep.bench.training.ledger import forward_flops
from fewstep.methods.specs.teachers.pretrain import MLPOptions, PretrainOptions, UNetOptions
from fewstep.methods.teachers import pretrain

SEEDS, NFE, SAMPLES = 2, 4, 1797
TEACHER_FLOPS = 2404384768000 / 383540.01960143744


@pytest.fixture
def plan(tmp_path):
    suite = tmp_path / "s.yaml"
    suite.write_text(
        "name: s\ndatasets: [digits]\nteachers: {name: shipped, file: digits-unet-128k}\nmethods: [euler]\n"
        f"nfe: {NFE}\nseeds: [0, 1]\nmetrics: [fd_digits]\nsamples: {SAMPLES}\ndevice: cpu\n"
    )
    return make_plan(load(str(suite)))


def test_the_flops_of_samples_are_those_of_their_evaluations(plan, tmp_path):
    tasks = plan.tasks()
    samples = [task for task in tasks if task.kind == "sample"]
    found = forecast(tasks, samples, Store(tmp_path))
    assert found.flops == pytest.approx(SEEDS * NFE * SAMPLES * TEACHER_FLOPS)
    assert found.bytes == SEEDS * SAMPLES * 64 * 4
    assert found.seconds == pytest.approx(found.flops / PACE)
    assert found.text(1) == "under a minute with 1 worker (at 30 GFLOP/s each); about 90 GFLOP; about 920 kB on disk"


def test_finished_tasks_set_the_pace_of_their_kind(plan, tmp_path):
    tasks, store = plan.tasks(), Store(tmp_path)
    store.prepare()
    done, waiting = (task for task in tasks if task.kind == "sample")
    with store.work(done.name) as folder:
        (folder / "x.bin").write_bytes(bytes(1000))
        result = {"status": "done", "samples": SAMPLES, "seconds_per_image": 1.0, "forwards": 1, "flops_per_image": 1.0}
        store.commit(done.to_json(), folder, result, {"started": 0.0, "ended": 90.0})
    found = forecast(tasks, [waiting], store)
    assert found.seconds == pytest.approx(90)
    assert "by the pace of 1 finished task)" in found.text(2)


def test_no_time_is_told_where_nothing_tells_it(plan, tmp_path, monkeypatch):
    monkeypatch.setattr("fewstep.bench.run.forecast.gpus", lambda device: ["0"])
    tasks = plan.tasks()
    found = forecast(tasks, tasks, Store(tmp_path))
    assert found.seconds is None
    assert math.isfinite(found.flops)
    assert found.text(1).startswith("time not known yet: no task of the suite is finished; about ")


def test_no_number_of_workers_is_faster_than_tasks_that_wait_for_one_another(tmp_path):
    suite = tmp_path / "s.yaml"
    suite.write_text(
        "name: s\ndatasets: [digits]\nteachers: {name: pretrain, images: 1280000}\nmethods: [knowledge]\n"
        "budgets: [{evaluations: 100000}, {evaluations: 1000000}]\nnfe: 1\nmetrics: [fd_digits]\nsamples: 1797\n"
        "device: cpu\n"
    )
    tasks = make_plan(load(str(suite))).tasks()
    found = forecast(tasks, tasks, Store(tmp_path))
    chain = (4 * 1_280_000 + 1_000_000 + SAMPLES) * TEACHER_FLOPS / PACE
    assert found.longest == pytest.approx(chain, rel=1e-3)
    assert found.seconds > chain
    assert found.text(100).startswith(f"about {5 * math.ceil(chain / 300)} min with 100 workers")


def test_a_teacher_in_the_store_says_what_its_evaluations_cost(tmp_path):
    suite = tmp_path / "s.yaml"
    suite.write_text(
        "name: s\ndatasets: [digits]\nteachers: {name: pretrain, images: 1280}\nmethods: [euler]\n"
        f"nfe: {NFE}\nmetrics: [fd_digits]\nsamples: {SAMPLES}\ndevice: cpu\n"
    )
    tasks, store = make_plan(load(str(suite))).tasks(), Store(tmp_path / "store")
    store.prepare()
    (teacher,) = (task for task in tasks if task.kind == "teacher")
    samples = [task for task in tasks if task.kind == "sample"]
    assert forecast(tasks, samples, store).flops == pytest.approx(NFE * SAMPLES * TEACHER_FLOPS)
    with store.work(teacher.name) as folder:
        (folder / "x.bin").write_bytes(bytes(10))
        result = {"flops_per_evaluation": 5e6, "parameters": 7}
        store.commit(teacher.to_json(), folder, result, {"started": 0.0, "ended": 1.0})
    assert forecast(tasks, samples, store).flops == NFE * SAMPLES * 5e6


@pytest.mark.parametrize(
    ("network", "shape", "label_dropout"),
    [
        (UNetOptions(), (1, 8, 8), None),
        (UNetOptions(), (3, 32, 32), 0.1),
        (UNetOptions(channels=8, multipliers=(1, 1, 3), blocks=2, embedding=10), (3, 16, 8), None),
        (UNetOptions(multipliers=(2,), blocks=3), (1, 8, 8), None),
        (MLPOptions(), (2,), None),
        (MLPOptions(width=20, blocks=1), (5,), 0.1),
    ],
)
def test_the_flops_of_a_network_are_known_before_it_is_made(network, shape, label_dropout):
    made = pretrain.denoiser(PretrainOptions(network=network, label_dropout=label_dropout), shape, 10)
    assert evaluation_flops(network, shape) == forward_flops(made, torch.randn(2, *shape))


def test_the_time_of_a_suite_with_an_exact_teacher_is_not_told(tmp_path):
    suite = tmp_path / "s.yaml"
    suite.write_text(
        "name: s\ndatasets: [mixture-8x8]\nteachers: {name: exact}\nmethods: [euler]\nnfe: 4\n"
        "metrics: [fd_law]\nsamples: 2000\ndevice: cpu\n"
    )
    tasks = make_plan(load(str(suite))).tasks()
    found = forecast(tasks, tasks, Store(tmp_path))
    assert (found.seconds, found.flops) == (None, None)
