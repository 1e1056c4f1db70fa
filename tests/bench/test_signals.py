"""SIGTERM ends a run and its workers within seconds, whatever they compute; the same command resumes it."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from fewstep.bench.plan.cells import make_plan
from fewstep.bench.run import runner
from fewstep.bench.run.executor import Resources
from fewstep.bench.run.local import LocalExecutor
from fewstep.bench.run.progress import Progress
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import load

SECONDS = 5.0
SUITE = {
    "name": "stopped",
    "datasets": "mixture-2d",
    "teachers": {"name": "pretrain", "images": 640, "network": {"name": "mlp", "width": 8, "blocks": 1}},
    "budgets": {"evaluations": 30_000},
    "seeds": 0,
    "nfe": 4,
    "samples": 20,
    "truth": {"samples": 10},
    "metrics": "rmse",
    "device": "cpu",
    # One training step of many small evaluations: it holds the first lot of true paths.
    "methods": [
        {"name": "bespoke", "options": {"trajectories": 8, "nodes": 9, "tolerance": 1e-8, "batch": 512}},
    ],
}

DEAF = """
import sys, tempfile, time
from pathlib import Path
import torch
from fewstep.bench.run.signals import end_when_told
from fewstep.bench.training.ledger import Ledger
from fewstep.bench.training.loop import fit
from fewstep.bench.training.tracking import NoTracker
from fewstep.methods.distillation.consistency import Consistency
from fewstep.methods.specs.consistency import ConsistencyOptions
from fewstep.tests.methods import killing

class Endless(Consistency):
    def training_step(self, batch, batch_idx):
        print("in the step", flush=True)
        {long}

end_when_told()
with tempfile.TemporaryDirectory() as folder:
    method = Endless(killing.small_teacher(), ConsistencyOptions(batch=8))
    fit(method, killing.DATA, 0, Ledger(100.0, "images", 1.0), Path(folder), NoTracker())
"""
LONG = {
    "many operations": "while True: torch.zeros(10).sum()",
    "one operation": "torch.linalg.svd(torch.randn(6000, 6000))",
}


def write_suite(folder):
    file = folder / "suite.yaml"
    file.write_text(yaml.safe_dump(SUITE, sort_keys=False))
    return file


def python(code, **more):
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **more)


@pytest.mark.parametrize("long", LONG.values(), ids=LONG)
def test_a_worker_in_the_middle_of_a_step_ends_at_once(long):
    """Lightning's own handler, installed while it fits, only notes the signal until the step has ended."""
    process = python(DEAF.format(long=long), stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == "in the step\n"
    sent = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert time.monotonic() - sent < SECONDS


def run(suite, out):
    words = ["run", str(suite), "--out", str(out), "--workers", "1", "--verbose"]
    return python(
        f"from fewstep.bench.cli import main; main({words!r})", stderr=subprocess.PIPE, start_new_session=True
    )


def gone(group):
    """Whether every process of the group has ended, or ends within a moment."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX")
def test_a_run_told_to_end_says_so_leaves_nothing_behind_and_goes_on_later(tmp_path):
    suite, out = write_suite(tmp_path), tmp_path / "out"
    first = run(suite, out)
    for line in first.stderr:
        if "started  train bespoke" in line:
            break
    sent = time.monotonic()
    first.send_signal(signal.SIGTERM)
    _, stderr = first.communicate(timeout=60)
    assert time.monotonic() - sent < SECONDS
    assert first.returncode == 143
    assert stderr.strip().splitlines()[-1] == "fewstep: stopped; the same command resumes from here"
    assert "Traceback" not in stderr
    assert gone(first.pid)
    assert not (out / "results.csv").exists()
    assert [path.name.split("-")[0] for path in (out / "store").glob("*-*")] == ["teacher"]

    second = run(suite, out)
    second.communicate(timeout=120)
    assert second.returncode == 0
    assert [row["status"] for row in csv.DictReader((out / "results.csv").open())] == ["done"]


class Killer(LocalExecutor):
    """Sends SIGTERM to the worker as soon as it has its task, the first `kills` times."""

    kills = 0

    def submit(self, task):
        slot = self._idle[0]
        super().submit(task)
        if self.kills:
            self.kills -= 1
            os.kill(self._slots[slot][0].pid, signal.SIGTERM)


@pytest.mark.parametrize(("kills", "reason"), [(1, None), (2, "the worker died (exit code 143)")])
def test_a_killed_workers_task_is_tried_once_more(tmp_path, kills, reason):
    plan = make_plan(load(str(write_suite(tmp_path))))
    (teacher,) = [task for task in plan.tasks() if task.kind == "teacher"]
    store = Store(tmp_path / "store")
    store.prepare()

    def make_executor(tasks):
        executor = Killer(Resources(store.root, 1, 1))
        executor.kills = kills
        return executor

    with open(os.devnull, "w") as nowhere:
        outcome = runner.run([teacher], store, make_executor, Progress(nowhere))
    assert (teacher.name in outcome.artifacts) == (reason is None)
    failure = outcome.failures.get(teacher.name)
    assert (failure.reason if failure else None) == reason
