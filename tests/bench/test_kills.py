"""Fifty kills of the real command: whatever was under way, the same command goes on and ends with the same results."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

from fewstep.bench.store import Store
from fewstep.reports.run_folder import FILES
from fewstep.reports.writing import PART
from fewstep.tests.bench.in_process import TIMING, call, is_one_line, write_suite

pytestmark = pytest.mark.slow

SAME = ("blocks.csv", "learned.json", "leaderboard.csv", "methods.json", "metrics.json", "papers.bib")
VARYING = (*TIMING, "train_peak_bytes")
SIGNALS = (signal.SIGKILL, signal.SIGINT)
PATIENCE = 300
"""Seconds in which a run that nobody kills has ended on a slow machine."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(suite, folder of its run, seconds it took)."""
    folder = tmp_path_factory.mktemp("whole")
    suite = write_suite(
        folder,
        teachers={"name": "pretrain", "images": 6_000, "network": {"name": "mlp"}},
        budgets={"evaluations": 20_000},
        nfe=[1, 2],
        methods=[{"name": "euler"}, {"name": "consistency", "options": {"batch": 16}}],
    )
    clock = os.times().elapsed
    with started(suite, folder / "run") as process:
        assert process.wait(PATIENCE) == 0, process.stderr.read()
    return suite, folder / "run", os.times().elapsed - clock


def started(suite, out, wandb="disabled"):
    """The command, in a process group of its own."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from fewstep.bench.cli import main; main()",
            "run",
            suite,
            "--out",
            out,
            "--workers",
            "2",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "WANDB_MODE": wandb},
        start_new_session=True,
    )


def ended(process, seconds, rng, begun=lambda: True):
    """Whether the command ended within the seconds after `begun`; otherwise it is killed, alone or with its workers."""
    how, kill = rng.choice(SIGNALS), rng.choice((os.kill, os.killpg))
    try:
        while not begun():
            with suppress(subprocess.TimeoutExpired):
                return process.wait(0.02) == 0
        return process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        kill(process.pid, how)
        code = process.wait(PATIENCE)
        assert code in (0, 130, -how), process.stderr.read()
        return code == 0


def works(out):
    """Whether a task is written at since now."""
    logs = lambda: {path: path.stat().st_size for path in out.glob("store/.work/*/*.*")}  # noqa: E731
    before = logs()
    return lambda: logs() != before


def results(out):
    """All that a run says, without what depends on the clock."""
    with (out / "results.csv").open() as file:
        rows = [{key: value for key, value in row.items() if key not in VARYING} for row in csv.DictReader(file)]
    with np.load(out / "pictures.npz") as pictures:
        shown = {name: pictures[name].tobytes() for name in pictures.files}
    store = Store(out / "store")
    artifacts = {folder.name: store.get(folder.name).manifest["files"] for folder in store.root.glob("*-*")}
    return rows, shown, artifacts, {name: (out / name).read_bytes() for name in SAME}


def assert_same(out, whole):
    assert results(out) == results(whole)
    # The unkilled run has no mirror, whose files are not compared.
    assert {path.name for path in out.iterdir()} - {"wandb"} == {path.name for path in whole.iterdir()}
    assert not list(out.glob(f"**/*{PART}"))
    assert not (out / "store" / ".work").exists()
    assert json.loads((out / "run.json").read_text())["stamp"]


def assert_readable(out):
    """What a kill leaves is shown or refused in one line."""
    shown = call("leaderboard", out)
    assert shown.exit_code == 0 or is_one_line(shown), (shown.output, shown.exception)


@pytest.mark.parametrize(("wandb", "kills"), [("disabled", 28), ("offline", 12)])
def test_a_run_killed_at_any_moment_ends_with_the_same_results(whole, tmp_path, wandb, kills):
    suite, same, seconds = whole
    rng, runs = random.Random(kills), 0
    while kills or runs == 0:
        out = tmp_path / str(runs)
        while kills:
            with started(suite, out, wandb) as process:
                # Most of a short run is spent on imports: two in three kills wait until a task is under way.
                early = rng.random() < 1 / 3
                within = rng.uniform(0, 0.3) * seconds if early else rng.expovariate(20) * seconds
                if ended(process, within, rng, (lambda: True) if early else works(out)):
                    break
            kills -= 1
            assert_readable(out)
        with started(suite, out, wandb) as process:
            assert process.wait(PATIENCE) == 0, process.stderr.read()
        assert_same(out, same)
        runs += 1


def test_a_run_killed_while_it_writes_its_report_writes_it_again(whole, tmp_path):
    suite, same, seconds = whole
    rng, out = random.Random(10), tmp_path / "run"
    shutil.copytree(same, out)
    for _ in range(10):
        for name in FILES:
            (out / name).unlink(missing_ok=True) if not (out / name).is_dir() else shutil.rmtree(out / name)
        with started(suite, out) as process:
            ended(process, rng.uniform(0, 0.1) * seconds, rng, (out / "run.json").exists)
        assert_readable(out)
        with started(suite, out) as process:
            assert process.wait(PATIENCE) == 0, process.stderr.read()
        assert_same(out, same)
