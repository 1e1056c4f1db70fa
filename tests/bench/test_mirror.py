"""A suite on W&B, offline, online and on servers that answer badly: shown whole, once, and never at a result's cost."""

import csv
import json
import shutil
import sys
from unittest.mock import MagicMock

import pytest
import torch
import yaml
from click.testing import CliRunner

from fewstep.bench.commands.main import main
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.results.mirror import described
from fewstep.bench.results.mirror.described import describe
from fewstep.bench.results.mirror.upload import Mirror
from fewstep.bench.run import local
from fewstep.bench.run.runner import Outcome
from fewstep.bench.suite.loading import load
from fewstep.reports import run as reports
from fewstep.tests.bench.in_process import TIMING, InProcess
from fewstep.tests.bench.wandb_files import offline_runs
from fewstep.tests.bench.wandb_server import good_server, serving  # noqa: F401

SUITE = {
    "name": "shown",
    "datasets": "digits",
    "teachers": {"name": "pretrain", "images": 128, "network": {"name": "unet", "channels": 8, "multipliers": [1]}},
    "budgets": {"images": 48},
    "seeds": 0,
    "nfe": [1, 2],
    "samples": 12,
    "truth": {"samples": 4},
    "metrics": "rmse",
    "device": "cpu",
    "methods": [
        {"name": "euler"},
        {"name": "consistency", "options": {"batch": 4}},
        {"name": "consistency", "options": {"batch": 4, "learning_rate": 5.0e-4}},
    ],
}
STUDENT = "consistency learning_rate=0.0005 batch=4 · 48 images · seed 0"
NAMES = {"shown", "teacher pretrain-unet-0k on digits", "consistency batch=4 · 48 images · seed 0", STUDENT}
FIGURES = {"figure": '<svg xmlns="http://www.w3.org/2000/svg"></svg>'}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """As a worker has: sums of several threads are not the same to the bit each time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.setattr(local, "LocalExecutor", InProcess)
    monkeypatch.setattr(reports.figures, "for_report", lambda board, folders: FIGURES)
    for name in ("PROJECT", "TAGS", "ENTITY", "DIR", "API_KEY", "BASE_URL"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")


def run(folder, *words, **changes):
    folder.mkdir(exist_ok=True)
    file = folder / "suite.yaml"
    file.write_text(yaml.safe_dump({**SUITE, **changes}, sort_keys=False))
    result = CliRunner().invoke(main, ["run", str(file), "--out", str(folder / "out"), *words])
    assert result.exit_code == 0, result.output
    return result.output


def artifacts(folder, kind):
    return sorted((folder / "out" / "store").glob(f"{kind}-*"))


def measured(folder):
    """results.csv without what the clock says."""
    with (folder / "out" / "results.csv").open() as file:
        return [{name: value for name, value in row.items() if name not in TIMING} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A run with WANDB_MODE=offline."""
    folder = tmp_path_factory.mktemp("offline")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "LocalExecutor", InProcess)
        patch.setattr(reports.figures, "for_report", lambda board, folders: FIGURES)
        patch.setenv("WANDB_MODE", "offline")
        run(folder, "--project", "few", "--tags", "a, b")
    return folder


@pytest.fixture
def copied(offline, tmp_path):
    shutil.copytree(offline, tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def test_offline_files_hold_one_run_for_the_suite_and_one_per_training(offline):
    runs = offline_runs(offline / "out")
    assert set(runs) == NAMES
    assert {one.facts.run_group for one in runs.values()} == {"shown"}
    assert {one.facts.project for one in runs.values()} == {"few"}
    assert {tuple(one.facts.tags) for one in runs.values()} == {("a", "b")}
    kinds = [one.facts.job_type for one in runs.values()]
    assert sorted(kinds) == ["leaderboard", "teacher", "train", "train"]


def test_a_training_has_config_curves_pictures_and_its_metrics_per_nfe(offline):
    student = offline_runs(offline / "out")[STUDENT]
    wanted = {"suite": "shown", "dataset": "digits", "method": "consistency", "seed": 0, "budget": "48 images"}
    assert wanted.items() <= student.config.items()
    assert student.config["variant"] == "learning_rate=0.0005 batch=4"
    assert student.config["options/learning_rate"] == 5e-4
    assert [row["step"] for row in student.rows] == list(range(1, 13))
    assert all({"loss", "learning_rate", "budget/evaluations"} <= row.keys() for row in student.rows)
    assert sum("samples/path" in row for row in student.rows) == 10
    for row in measured(offline):
        if row["variant"] == "learning_rate=0.0005 batch=4":
            assert student.summary[f"rmse/nfe{row['nfe']}"] == float(row["value"])


def test_the_suite_has_tables_with_thumbnails_figures_and_its_files(offline):
    suite = offline_runs(offline / "out")["shown"]
    (row,) = suite.rows
    assert row["results/nrows"] == row["leaderboard/nrows"] == 6
    assert row["figures/nfe_rmse/_type"] == "image-file"
    assert sum(path.endswith(".png") for path in suite.artifacts["run_table"][1]) == 6
    assert {"results.csv", "suite.yaml", "leaderboard.csv", "report.html", "run.json", "figures/figure.svg"} <= set(
        suite.artifacts["results"][1]
    )


def test_the_same_run_again_writes_nothing(copied, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    before = sorted((copied / "out" / "wandb").glob("offline-run-*"))
    run(copied, "--project", "few", "--tags", "a, b")
    assert sorted((copied / "out" / "wandb").glob("offline-run-*")) == before


def test_a_training_found_in_the_store_is_shown_in_every_suite(copied, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    shutil.rmtree(copied / "out" / "wandb")
    run(copied, name="another")
    shown = offline_runs(copied / "out")
    assert set(shown) == NAMES - {"shown"} | {"another"}
    assert len(shown[STUDENT].rows) == 12


def test_sync_uploads_all_and_a_second_time_nothing(copied, good_server):  # noqa: F811
    first = CliRunner().invoke(main, ["sync", str(copied / "out")])
    assert first.exit_code == 0, first.output
    calls = good_server.calls
    assert set(good_server.histories()) == NAMES
    assert good_server.histories()[STUDENT] == list(range(1, 13))
    again = CliRunner().invoke(main, ["sync", str(copied / "out")])
    assert again.exit_code == 0
    assert "everything already" in again.output
    assert good_server.calls == calls
    url = json.loads((copied / "out" / "run.json").read_text())["wandb"]
    assert url in first.output
    assert url.startswith(good_server.url)

    # An upload that was cut off before it could say so: W&B knows what it has.
    (copied / "out" / "wandb" / "mirrored.json").unlink()
    assert CliRunner().invoke(main, ["sync", str(copied / "out")]).exit_code == 0
    assert good_server.calls > calls
    assert good_server.histories()[STUDENT] == list(range(1, 13))


class Client:
    """In W&B's place: one client that has one run at a time per id, and keeps what it logs."""

    Settings = dict

    def Image(self, data):  # noqa: N802
        return str(data)

    def Table(self, **words):  # noqa: N802
        return MagicMock()

    def Html(self, *words, **options):  # noqa: N802
        return MagicMock()

    Artifact = Html

    def __init__(self):
        self.rows, self.open, self.summaries = {}, set(), {}

    def init(self, id, resume, mode, **words):
        assert id not in self.open
        self.open.add(id)
        kept = self.rows.setdefault(id, [])
        run = MagicMock(resumed=bool(kept), starting_step=kept[-1]["step"] + 1 if kept else 0, url="page")
        run.summary = self.summaries.setdefault(id, {})
        run.log = lambda row, step=None: kept.append(row) if step is not None else None
        run.finish = lambda: self.open.remove(id)
        return run


def test_trainings_are_followed_while_they_run(copied, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", client := Client())
    runs = described.read(copied / "out")
    student = next(run for run in runs.trainings if run.name == STUDENT)
    done, work = (copied / "out" / "store" / part / student.task for part in ("", ".work"))
    rows = (done / "events.jsonl").read_text().splitlines(keepends=True)
    shutil.move(done, work)
    (work / "events.jsonl").write_text("".join(rows[:5]) + rows[5][:10])
    mirror = Mirror(copied / "out", runs, "online")
    for _ in range(2):
        mirror.follow()
        assert [row["step"] for row in client.rows[student.id]] == [1, 2, 3, 4, 5]
    assert set(client.rows) == client.open == {student.id}
    (work / "events.jsonl").write_text("".join(rows))
    shutil.move(work, done)
    mirror.follow()
    assert not client.open
    mirror.complete()
    assert not client.open
    assert [row["step"] for row in client.rows[student.id]] == list(range(1, 13))
    assert sum("samples" in row for row in client.rows[student.id]) == 10
    assert "rmse/nfe1" in client.summaries[student.id]


@pytest.mark.slow
def test_a_run_online_prints_its_page(copied, good_server):  # noqa: F811
    output = run(copied)
    assert f"W&B: {good_server.url}" in output


@pytest.mark.parametrize(
    "behaviour",
    [pytest.param("error", marks=pytest.mark.slow), pytest.param("garbage", marks=pytest.mark.slow), "hang"],
)
def test_a_server_that_answers_badly_costs_one_line(copied, monkeypatch, behaviour):
    before = (copied / "out" / "results.csv").read_bytes()
    with serving(monkeypatch, behaviour) as server:
        output = run(copied)
        assert server.calls
    assert "fewstep: W&B: " in output
    assert "fewstep sync" in output
    assert (copied / "out" / "results.csv").read_bytes() == before


def test_without_wandb_a_run_is_the_same_but_for_one_line(copied, tmp_path, monkeypatch):
    (tmp_path / "wandb.py").write_text("raise ImportError('blocked')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    before = (copied / "out" / "results.csv").read_bytes()
    (copied / "out" / "wandb" / "mirrored.json").unlink()
    assert "blocked" in run(copied)
    assert (copied / "out" / "results.csv").read_bytes() == before


def test_tracking_changes_no_byte_of_a_result(offline, tmp_path, monkeypatch):
    """Neither when it is off, nor when its server hangs."""

    def weights(folder):
        kinds = {kind: artifacts(folder, kind) for kind in ("teacher", "train", "sample")}
        return {
            path.name: file.read_bytes() for paths in kinds.values() for path in paths for file in path.glob("*.saf*")
        }

    monkeypatch.setenv("WANDB_MODE", "disabled")
    run(tmp_path / "off")
    assert not (tmp_path / "off" / "out" / "wandb").exists()
    with serving(monkeypatch, "hang"):
        run(tmp_path / "failing", methods=SUITE["methods"][:2])
    assert weights(tmp_path / "off") == weights(offline)
    assert weights(tmp_path / "failing").items() <= weights(offline).items()
    assert measured(tmp_path / "off") == measured(offline)


@pytest.mark.parametrize("suite", ["quickstart", "tuned", "sim-ablation", "from-scratch"])
def test_no_two_runs_of_a_suite_have_one_name(suite, tmp_path):
    runs = describe(make_plan(load(suite)), Outcome(), tmp_path / "store", tmp_path).trainings
    assert len({run.name for run in runs}) == len({run.id for run in runs}) == len(runs) > 1


def test_sync_refuses_what_it_cannot_upload(copied, tmp_path, monkeypatch):
    def refused(*words):
        result = CliRunner().invoke(main, ["sync", *map(str, words)])
        assert result.exit_code == 2
        assert result.output.count("\n") == 1
        return result.output

    out = copied / "out"
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert "no results.csv" in refused(tmp_path)
    assert "wandb login" in refused(out)
    assert "none of" in refused(out, "--project", "a/b")
    assert "tag" in refused(out, "--tags", "a,,b")
    assert "no store there" in refused(out, "--store", tmp_path / "none")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert "unset" in refused(out)
    (out / "wandb" / "runs.json").write_text("{}")
    assert "not as fewstep writes it" in refused(out)
    (out / "wandb" / "runs.json").unlink()
    assert "--cached" in refused(out)
