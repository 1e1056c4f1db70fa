"""The whole way, from a suite file to the report, on real digits."""

import csv
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from fewstep.tests.bench.command_line import fewstep

SUITE = {
    "name": "small",
    "datasets": "digits",
    "teachers": {"name": "pretrain", "images": 6_400},
    "budgets": {"evaluations": 6_000},
    "seeds": [0, 1],
    "nfe": [1, 2],
    "samples": 300,
    "truth": {"samples": 32},
    "metrics": ["fd_digits", "precision", "recall", "rmse"],
    "methods": [{"name": "euler"}, {"name": "heun", "nfe": [2, 3]}, {"name": "consistency"}],
    "device": "cpu",
}
TIMING = ("train_seconds", "seconds_per_image")


def write_suite(folder: Path, **changes) -> Path:
    file = folder / "suite.yaml"
    file.write_text(yaml.safe_dump({**SUITE, **changes}, sort_keys=False))
    return file


def command(suite, out, *more):
    code = "from fewstep.bench.cli import main; main()"
    return [sys.executable, "-c", code, "run", str(suite), "--out", str(out), *map(str, more)]


def run(suite, out, *more):
    return fewstep("run", suite, "--out", out, *more)


def rows(out: Path) -> list[dict[str, str]]:
    """results.csv without what depends on the clock."""
    table = list(csv.DictReader(io.StringIO((out / "results.csv").read_text())))
    return [{key: value for key, value in row.items() if key not in TIMING} for row in table]


def artifacts(out: Path, kind: str) -> list[Path]:
    return sorted((out / "store").glob(f"{kind}-*"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    suite = write_suite(folder)
    result = run(suite, folder / "out", "--workers", 2)
    assert result.returncode == 0, result.stderr
    return suite, folder / "out", result


def test_every_cell_has_its_rows(finished):
    _, out, _ = finished
    table = rows(out)
    assert len(table) == 2 * (2 + 2 + 2) * 4
    skipped = [row for row in table if row["status"] != "done"]
    assert {(row["method"], row["nfe"]) for row in skipped} == {("heun", "2")}
    assert all("odd NFE" in row["status"] and row["value"] == "" for row in skipped)
    done = [row for row in table if row["status"] == "done"]
    assert all(float(row["value"]) >= 0 for row in done)
    counts = {row["metric"]: row["samples"] for row in done}
    assert counts == {"fd_digits": "300", "precision": "300", "recall": "300", "rmse": "32"}


def test_the_budget_of_trained_rows_is_measured_and_kept(finished):
    _, out, _ = finished
    for row in rows(out):
        if row["method"] == "consistency":
            assert 6_000 * 0.9 < float(row["train_evaluations"]) <= 6_000
            assert int(row["trainable_parameters"]) == 149_153
        elif row["status"] == "done":
            assert float(row["train_evaluations"]) == 0


def test_a_budget_can_be_a_share_of_the_teachers_training(finished, tmp_path):
    _, out, _ = finished
    changed = write_suite(tmp_path, methods=[{"name": "consistency"}], budgets={"teacher": 0.2}, seeds=0, nfe=1)
    assert run(changed, tmp_path / "out", "--store", out / "store").returncode == 0
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    limit = 0.2 * facts["teachers"][0]["train_evaluations"]
    found = rows(tmp_path / "out")
    assert {row["budget"] for row in found} == {"0.2 teacher"}
    assert all(0.9 * limit < float(row["train_evaluations"]) <= limit for row in found)


def test_sampling_has_a_ledger_too(finished):
    """Forwards and FLOPs per image, of every method that was sampled from: NFE times the network's."""
    _, out, _ = finished
    facts = json.loads((out / "run.json").read_text())
    for row in rows(out):
        if row["status"] == "done":
            assert float(row["forwards"]) == int(row["nfe"])
            expected = int(row["nfe"]) * facts["teachers"][0]["flops_per_evaluation"]
            assert float(row["flops_per_image"]) == pytest.approx(expected)


def test_values_have_errors_and_protocols(finished):
    """The jackknife's for fd_digits and rmse; hashes of weights and reference features for what is of features."""
    _, out, _ = finished
    blocks = list(csv.DictReader((out / "blocks.csv").open()))
    assert {row["metric"] for row in blocks} == {"fd_digits", "rmse"}
    assert all(len(row["without"].split()) == 20 for row in blocks)
    for row in rows(out):
        if row["status"] == "done":
            assert (row["standard_error"] != "") == (row["metric"] in ("fd_digits", "rmse"))
            assert row["protocol"].startswith(f"{row['metric']}/")
            assert f"/{row['samples']}/" in row["protocol"]
        if row["status"] == "done" and row["metric"] == "fd_digits":
            assert 0 < float(row["standard_error"]) < float(row["value"])
            assert float(row["corrected"]) < float(row["value"])
            pattern = r"fd_digits/digits-classifier@[0-9a-f]{8}/native/float/300/digits-1797@[0-9a-f]{8}"
            assert re.fullmatch(pattern, row["protocol"])


def test_the_report_stands_alone(finished):
    _, out, _ = finished
    page = (out / "report.html").read_text()
    assert page.count("<svg") >= 2
    assert "Consistency distillation" in page
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert {"./results.csv", "./suite.yaml"} <= set(links)
    assert all(link.startswith(("#", "./", "data:image/png;base64,", "https://arxiv.org/abs/")) for link in links)
    assert page.count("<script") == 1
    assert page.count('class="strip"') == 5


def test_the_run_prints_its_table_and_paths(finished):
    _, out, result = finished
    assert "small: FD (digits), lower is better, on digits" in result.stdout
    for name in ("results.csv", "leaderboard.csv", "report.html"):
        assert str(out / name) in result.stdout
        assert (out / name).is_file()


def test_progress_says_that_it_starts_and_how_long_it_took(finished):
    first, *_, last, report = finished[2].stderr.splitlines()
    assert first == "0:00, starting workers"
    assert re.fullmatch(r"(\d+) of \1 tasks in \d+:\d\d", last)
    assert report == "writing the report"


def test_each_task_has_a_log_and_a_manifest(finished):
    _, out, _ = finished
    for folder in (out / "store").glob("*-*"):
        manifest = json.loads((folder / "manifest.json").read_text())
        assert (folder / "log.txt").is_file()
        assert manifest["ended"] >= manifest["started"]
        assert {"torch", "lightning", "python", "fewstep", "threads"} <= set(manifest["environment"])


def test_a_second_run_answers_from_the_store_byte_for_byte(finished):
    suite, out, first = finished
    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.is_file()}
    started = time.perf_counter()
    second = run(suite, out)
    assert time.perf_counter() - started < 10
    assert second.stdout == first.stdout
    assert {path: path.stat().st_mtime_ns for path in out.iterdir() if path.is_file()} == before


def test_what_the_store_holds_is_shown_without_computing_the_rest(finished, tmp_path):
    _, out, _ = finished
    suite = write_suite(tmp_path, methods=[{"name": "euler"}, {"name": "ddim"}])
    result = run(suite, tmp_path / "out", "--store", out / "store", "--cached")
    assert result.returncode == 1
    assert "ddim NFE 1 seed 0 and 3 more cells: missing: not run yet" in result.stderr
    shown = rows(tmp_path / "out")
    known = {(row["method"], row["status"]) for row in shown}
    assert known == {("euler", "done"), ("ddim", "missing: not run yet")}
    before = [row for row in rows(out) if row["method"] == "euler"]
    assert [row for row in shown if row["method"] == "euler"] == before


def test_workers_and_other_methods_do_not_change_a_result(finished, tmp_path):
    """One worker, one method alone, another store: the same values for the same cells."""
    suite, out, _ = finished
    alone = run(suite, tmp_path / "out", "--workers", 1, "--only", "method=consistency", "--only", "seed=1")
    assert alone.returncode == 0, alone.stderr
    expected = [row for row in rows(out) if row["method"] == "consistency" and row["seed"] == "1"]
    assert rows(tmp_path / "out") == expected


def test_sample_i_starts_from_the_same_noise_for_every_method_and_batch(finished, monkeypatch):
    from fewstep.bench.stages import sample

    whole = sample.start_noise(1, range(300), (1, 8, 8))
    monkeypatch.setattr(sample, "BATCH", 7)
    seen = sample.batches(300, lambda part: sample.start_noise(1, part, (1, 8, 8)), lambda share: None)
    assert torch.equal(whole, seen)


def test_one_evaluation_from_the_same_noise_is_the_same_for_euler_and_heun(finished, tmp_path):
    """At NFE 1 both are D at the largest noise: the saved samples show that both began with the same noise."""
    suite, out, _ = finished
    result = run(suite, out, "--set", "methods=[{name: euler}, {name: heun}]", "--set", "nfe=1")
    assert result.returncode == 0, result.stderr
    found = []
    for folder in artifacts(out, "sample"):
        params = json.loads((folder / "manifest.json").read_text())["params"]
        if params["nfe"] == 1 and params["seed"] == 0 and params["method"] in ("euler", "heun"):
            found.append(load_file(folder / "samples.safetensors")["x0"])
    assert len(found) == 2
    assert torch.equal(*found)


@pytest.mark.parametrize("kind", ["teacher", "score"])
def test_a_corrupt_artifact_is_set_aside_and_rebuilt(finished, kind):
    suite, out, _ = finished
    # Other tests leave artifacts of their own in this store.
    done = next(row for row in rows(out) if row["status"] == "done")
    victim = out / "store" / f"score-{done['cell']}" if kind == "score" else artifacts(out, kind)[0]
    file = next(path for path in sorted(victim.iterdir()) if path.suffix in (".safetensors", ".json"))
    file.write_bytes(file.read_bytes()[:-20] + b"x" * 20)
    result = run(suite, out)
    assert result.returncode == 0, result.stderr
    assert "WARNING: corrupt artifact" in result.stderr
    assert victim.is_dir()
    assert len(rows(out)) == 48


def kill_during(suite, out, seconds, *more):
    """Start the run, kill -9 its main process after `seconds`; False if it was already over."""
    process = subprocess.Popen(command(suite, out, *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def test_a_killed_run_started_again_ends_with_the_same_results(finished, tmp_path):
    suite, out, _ = finished
    some = ("--only", "method=consistency", "--only", "method=euler", "--only", "seed=0")
    assert kill_during(suite, tmp_path / "out", 9.0, *some)
    result = run(suite, tmp_path / "out", *some)
    assert result.returncode == 0, result.stderr
    whole = [row for row in rows_of_suite(suite, out) if row["method"] != "heun" and row["seed"] == "0"]
    assert rows(tmp_path / "out") == whole


def rows_of_suite(suite, out):
    run(suite, out)
    return rows(out)


def test_an_interrupted_run_says_so_and_leaves_no_worker(tmp_path):
    # A shell that starts the tests in the background has them, and their children, ignore Ctrl-C.
    process = subprocess.Popen(
        command(write_suite(tmp_path), tmp_path / "out"),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert "starting workers" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.strip().splitlines()[-1] == "fewstep: stopped; the same command resumes from here"
    assert "Traceback" not in stderr
    assert ended_within(process.pid, 20.0)


def ended_within(group: int, seconds: float) -> bool:
    """Whether every process of the group is gone before the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(4))
def test_runs_killed_several_times_at_random_moments_end_with_the_same_results(finished, tmp_path, attempt):
    suite, out, _ = finished
    rng = random.Random(attempt)
    while kill_during(suite, tmp_path / "out", rng.uniform(3, 20)):
        pass
    assert run(suite, tmp_path / "out").returncode == 0
    assert rows(tmp_path / "out") == rows_of_suite(suite, out)


def test_a_run_that_diverges_is_a_row_and_the_others_go_on(finished, tmp_path):
    _, out, _ = finished
    exploding = {"learning_rate": 1e3, "gradient_clip": None, "warm_up": 0.0, "batch": 16}
    methods = [
        {"name": "euler"},
        {"name": "consistency", "options": {"learning_rate": 1e30}},
        {"name": "sim", "options": exploding},
    ]
    result = run(write_suite(tmp_path, methods=methods, seeds=0), tmp_path / "out", "--store", out / "store")
    assert result.returncode == 1
    status = {row["method"]: row["status"] for row in rows(tmp_path / "out") if row["nfe"] == "1"}
    assert status["euler"] == "done"
    assert status["consistency"].startswith("diverged: the loss is not finite at step")
    assert re.fullmatch(r"diverged: .*(times the data's spread|not finite) at step \d+", status["sim"])


def test_a_budget_below_one_step_is_a_row(finished, tmp_path):
    _, out, _ = finished
    changed = write_suite(tmp_path, methods=[{"name": "consistency"}], budgets={"evaluations": 100}, seeds=0)
    result = run(changed, tmp_path / "out", "--store", out / "store")
    assert result.returncode == 1
    assert all(row["status"].startswith("out of budget: one step costs") for row in rows(tmp_path / "out"))
    assert "Traceback" not in result.stderr


def test_an_exact_teacher_needs_no_training(tmp_path):
    changes = {
        "datasets": ["mixture-2d", "mixture-8x8"],
        "teachers": {"name": "exact"},
        "methods": [{"name": "euler"}, {"name": "dpmpp-2m"}, {"name": "heun"}],
        "nfe": [9, 35],
        "samples": 50,
        "metrics": "rmse",
        "seeds": 0,
    }
    assert run(write_suite(tmp_path, **changes), tmp_path / "out").returncode == 0
    value = {(r["dataset"], r["method"], r["nfe"]): float(r["value"]) for r in rows(tmp_path / "out")}
    for dataset in changes["datasets"]:
        assert value[dataset, "euler", "35"] < value[dataset, "euler", "9"]
        assert value[dataset, "dpmpp-2m", "35"] < value[dataset, "euler", "35"]
        assert value[dataset, "heun", "35"] < 0.05


def test_halving_the_tolerance_of_the_truth_moves_no_pixel(finished):
    """At the default tolerance the trained network's ODE is solved to 1e-3 in every pixel."""
    from fewstep.bench.stages import sample, teacher
    from fewstep.bench.store import Store
    from fewstep.bench.suite.schema import Truth
    from fewstep.methods.solvers.rk45 import AdaptiveSolver

    _, out, _ = finished
    artifact = Store(out / "store").need(artifacts(out, "teacher")[0].name)
    denoiser, noise = teacher.load({"teacher": artifact}), sample.start_noise(0, range(96), (1, 8, 8))
    tolerance = Truth().tolerance
    coarse, fine = (AdaptiveSolver(value).sample(denoiser, noise) for value in (tolerance, tolerance / 2))
    assert float((coarse - fine).abs().max()) < 1e-3


def test_sample_draws_a_finished_method(finished, tmp_path):
    from PIL import Image

    _, out, _ = finished
    words = ["--method", "consistency", "--nfe", 2, "--count", 9, "--out", tmp_path / "x.png"]
    result = fewstep("sample", out, *words)
    assert result.returncode == 0, result.stderr
    image = Image.open(tmp_path / "x.png")
    assert image.size[0] == image.size[1]
    assert len(set(image.tobytes())) > 10


def test_students_of_one_run_share_it_and_each_costs_what_was_spent_up_to_it(tmp_path):
    """Three NFEs of progressive distillation are one training run; an NFE between them is a gap with its reason."""
    suite = write_suite(
        tmp_path,
        datasets="mixture-2d",
        teachers={"name": "pretrain", "images": 640, "network": {"name": "mlp", "width": 16, "blocks": 1}},
        budgets={"evaluations": 3_000},
        seeds=[0],
        nfe=[1, 2, 3, 4],
        metrics=["rmse"],
        methods=[{"name": "progressive", "options": {"start_steps": 8, "batch": 8}}],
    )
    result = run(suite, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    table = {row["nfe"]: row for row in rows(tmp_path / "out")}
    assert len(artifacts(tmp_path / "out", "train")) == 1
    assert "students of 4, 2, 1 evaluations" in table["3"]["status"]
    cost = {nfe: float(table[nfe]["train_evaluations"]) for nfe in ("4", "2", "1")}
    assert list(cost.values()) == pytest.approx([3000 / 6, 3000 / 2, 3000], rel=0.1)
    assert len({table[nfe]["value"] for nfe in cost}) == 3
