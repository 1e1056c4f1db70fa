"""The same sweep wherever its tasks run: in one process, in two, on Ray without one of its nodes, on SLURM."""

import json
import subprocess
import sys
from contextlib import contextmanager

import pytest

from fewstep.bench.commands.check import checked
from fewstep.bench.commands.conformance import executor as conformance
from fewstep.bench.run.executor import EXECUTORS
from fewstep.reports import run as reports
from fewstep.tests.bench.clusters import ended, ray_cluster, said, slurm_cluster, until
from fewstep.tests.bench.in_process import call, is_one_line, table, write_suite

pytestmark = pytest.mark.slow

SWEEP = {
    "teachers": {"name": "pretrain", "images": 1_280, "network": {"name": "mlp", "width": 16, "blocks": 1}},
    "budgets": {"evaluations": 4_000},
    "nfe": [1, 2],
    "seeds": [0, 1],
    "samples": 32,
    "metrics": ["rmse", "fd_law"],
    "methods": [{"name": "euler"}, {"name": "consistency", "options": {"batch": 16}}],
}
LONG = {**SWEEP, "nfe": 1, "budgets": {"evaluations": 150_000}}
"""With trainings that last long enough to be interrupted."""


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch):
    monkeypatch.setattr(reports.figures, "for_report", lambda board, folders: {"figure": "<svg></svg>"})


def run(suite, out, *options):
    """The rows of a run that succeeds."""
    done = call("run", suite, "--out", out, "--quiet", *options)
    assert done.exit_code == 0, (done.output, done.exception)
    return table(out)


def by_one_process(folder, sweep):
    """(suite, its rows)."""
    folder.mkdir()
    suite = write_suite(folder, **sweep)
    return suite, run(suite, folder / "out", "--workers", "1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return by_one_process(tmp_path_factory.mktemp("whole") / "short", SWEEP)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    return by_one_process(tmp_path_factory.mktemp("whole") / "long", LONG)


@contextmanager
def started(suite, out, *options):
    """The command in a process of its own, ended with the block."""
    command = [sys.executable, "-c", "from fewstep.bench.cli import main; main()", "run", suite, "--out", out, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                ended(process)


def under_way(out, kind):
    """The names of tasks of that kind that somebody works on."""
    return {file.stem for file in out.glob(f"store/.locks/{kind}-*.lock")}


def test_two_workers_give_the_results_of_one(whole, tmp_path):
    suite, rows = whole
    assert run(suite, tmp_path / "out", "--workers", "2") == rows


def test_two_runs_on_one_store_share_the_work(long, tmp_path):
    """Each task is done once, two at a time, and both runs end with all rows."""
    suite, rows = long
    store = ("--store", tmp_path / "store", "--workers", "1")
    with started(suite, tmp_path / "one", *store) as one, started(suite, tmp_path / "two", *store) as two:
        for process in (one, two):
            said = process.communicate(timeout=600)[1]
            assert process.returncode == 0, said
    assert table(tmp_path / "one") == table(tmp_path / "two") == rows
    folders = list((tmp_path / "store").glob("train-*"))
    assert [(folder / "log.txt").read_text().count("train consistency") for folder in folders] == [1] * 2
    times = [json.loads((folder / "manifest.json").read_text()) for folder in folders]
    assert max(made["started"] for made in times) < min(made["ended"] for made in times)


def test_two_nodes_of_ray_give_the_results_of_one_process(whole, tmp_path):
    suite, rows = whole
    with ray_cluster() as cluster:
        assert run(suite, tmp_path / "out", "--executor", "ray", "--address", cluster.address) == rows
    assert not list((tmp_path / "out" / "store").glob(".*"))


def test_what_a_lost_node_of_ray_was_doing_is_done_on_the_other(long, tmp_path):
    suite, rows = long
    out = tmp_path / "out"
    with ray_cluster() as cluster, started(suite, out, "--executor", "ray", "--address", cluster.address) as process:
        until(lambda: len(under_way(out, "train")) == 2, "no two trainings")
        ended(cluster.nodes.pop())
        said = process.communicate(timeout=600)[1]
    assert process.returncode == 0, said
    (line,) = [line for line in said.splitlines() if line.startswith("LOST")]
    assert line.endswith("its machine left the Ray cluster; it is run again")
    assert table(out) == rows


def test_ray_on_this_machine_conforms(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    assert [verdict.line for verdict in checked("executor", EXECUTORS["ray"]) if verdict.state == "FAILED"] == []


@pytest.fixture
def slurm(monkeypatch):
    with slurm_cluster(monkeypatch) as folder:
        yield folder


def test_jobs_of_slurm_give_the_results_of_one_process(whole, tmp_path, slurm):
    suite, rows = whole
    assert run(suite, tmp_path / "out", "--executor", "slurm", "--slurm-option", "partition=short") == rows
    assert not list((tmp_path / "out" / "store").glob(".*"))


def test_a_job_that_slurm_takes_back_resumes_from_its_checkpoint(long, tmp_path, slurm):
    suite, rows = long
    out = tmp_path / "out"
    with started(suite, out, "--executor", "slurm") as process:
        until(lambda: list(out.glob("store/.work/train-*/last.ckpt")), "no checkpoint")
        for job in said("squeue", "--noheader", "--array", "--format=%i", "--states=RUNNING").split():
            assert said("scontrol", "requeue", job) == ""
        errors = process.communicate(timeout=600)[1]
    assert process.returncode == 0, errors
    assert table(out) == rows
    starts = [log.read_text().count("train consistency") for log in out.glob("store/train-*/log.txt")]
    assert max(starts) == 2


def test_slurm_conforms(slurm, monkeypatch):
    daemons, children = conformance.children(), conformance.children
    monkeypatch.setattr(conformance, "children", lambda: children() - daemons)
    assert [verdict.line for verdict in checked("executor", EXECUTORS["slurm"]) if verdict.state == "FAILED"] == []


@pytest.mark.parametrize(("option", "reason"), [("partition=fast", "partition"), ("time=1:00:00:00:00", "time")])
def test_what_slurm_would_refuse_is_said_before_anything_runs(tmp_path, slurm, option, reason):
    done = call(
        "run", write_suite(tmp_path), "--out", tmp_path / "out", "--executor", "slurm", "--slurm-option", option
    )
    assert is_one_line(done), (done.output, done.exception)
    assert reason in done.stderr
    assert not (tmp_path / "out").exists()
