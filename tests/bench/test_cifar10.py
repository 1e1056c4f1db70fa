"""The suite cifar10-32 on few images and a small network: the whole way on archived images."""

import csv
import json

import pytest
import torch
from PIL import Image

from fewstep.bench.errors import TaskError
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.stages import data
from fewstep.bench.suite.loading import load
from fewstep.datasets.prepare import prepare
from fewstep.datasets.specs.cifar10 import CLASSES
from fewstep.methods.networks import edm_network
from fewstep.methods.teachers.checkpoint import Checkpoint
from fewstep.tests.bench.command_line import fewstep

PER_CLASS = 12
SMALL = [
    "teachers.network.channels=8", "teachers.network.embedding=16", "teachers.images=128", "teachers.batch=16",
    "budgets.evaluations=1500", "seeds=[0]", "nfe=[1,2]", "samples=60", "truth.samples=3", "truth.tolerance=1.0e-2",
    "device=cpu",
    "claims=[]",
    "methods=[{name: euler}, {name: dpmpp-2m}, {name: consistency, options: {batch: 16}},"
    " {name: sim, nfe: 1, options: {batch: 8}}]",
]  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """An archive of 120 images: a colour for each class, brighter from one to the next."""
    folder = tmp_path_factory.mktemp("cifar")
    for i, name in enumerate(CLASSES):
        (folder / "source" / "train" / name).mkdir(parents=True)
        for k in range(PER_CLASS):
            colour = (25 * i, 12 * k, 250 - 25 * i)
            Image.new("RGB", (32, 32), colour).save(folder / "source" / "train" / name / f"{k}.png")
    prepare("cifar10", folder / "source", folder / "data", lambda file, count: None)
    return folder / "data"


@pytest.fixture(scope="module")
def out(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    settings = [word for setting in SMALL for word in ("--set", setting)]
    result = fewstep("run", "cifar10-32", "--out", folder, "--data-root", root, *settings)
    assert result.returncode == 0, result.stderr
    return folder


def test_the_smoke_version_of_the_suite_scores_every_cell(out):
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {"euler", "dpmpp-2m", "consistency", "sim"}
    assert {row["status"] for row in rows} == {"done"}
    assert {row["metric"] for row in rows} == {"fd_cifar10", "precision", "recall", "class_coverage", "rmse"}
    assert all(float(row["train_evaluations"]) <= 1500 for row in rows)
    assert all(float(row["value"]) >= 0 for row in rows)


def test_a_value_says_which_images_it_was_measured_against(out, root):
    facts = json.loads((out / "run.json").read_text())
    with (out / "results.csv").open() as file:
        protocols = {row["protocol"] for row in csv.DictReader(file) if row["metric"] == "fd_cifar10"}
    assert len(protocols) == 1
    assert protocols.pop().startswith("fd_cifar10/cifar10-classifier@")
    assert facts["extractors"][0]["metric"] == "fd_cifar10"
    assert facts["extractors"][0]["reference"] == 10 * PER_CLASS


def test_the_report_calls_its_distance_by_its_name_and_not_fid(out):
    page = (out / "report.html").read_text()
    assert "fd_cifar10, precision and recall use the features of a classifier" in page
    assert "<svg" in page


def test_the_suite_of_edms_network_runs_on_a_small_one_of_its_form(root, tmp_path):
    kwargs = {
        "img_resolution": 32, "img_channels": 3, "model_type": "SongUNet", "model_channels": 8, "channel_mult": [1, 1],
        "num_blocks": 1, "attn_resolutions": [16], "augment_dim": 9,
    }  # fmt: skip
    config = {"precond": "EDMPrecond", "kwargs": kwargs}
    torch.manual_seed(0)
    Checkpoint(config, edm_network(config).state_dict()).save(tmp_path / "small.safetensors")
    settings = [
        f"teachers.file={tmp_path / 'small.safetensors'}", "metrics=[rmse]", "references={}", "seeds=[0]", "nfe=[4]",
        "samples=2", "truth.samples=2", "truth.tolerance=1.0e-2", "device=cpu",
    ]  # fmt: skip
    words = [word for setting in settings for word in ("--set", setting)]
    result = fewstep("run", "edm-cifar10", "--out", tmp_path / "out", "--data-root", root, *words)
    assert result.returncode == 0, result.stderr
    with (tmp_path / "out" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["status"] for row in rows} == {"done"}
    assert {(row["method"], row["nfe"]) for row in rows} >= {("heun", "11"), ("unipc-3", "4"), ("dpm-solver-2", "4")}
    assert {row["teacher"] for row in rows} == {"small"}


def test_without_the_archive_every_cell_says_what_to_do(tmp_path):
    result = fewstep("run", "cifar10-32", "--out", tmp_path / "out", "--data-root", tmp_path / "none")
    assert result.returncode == 1
    advice = "missing {}, get it by `fewstep prepare cifar10 --from SOURCE`"
    assert advice.format(tmp_path / "none" / "cifar10-32.zip") in result.stderr
    assert "Traceback" not in result.stderr


def test_doctor_says_missing_wrong_count_and_present(root, tmp_path, monkeypatch):
    absent = fewstep("doctor", "cifar10-32", "--data-root", tmp_path)
    assert absent.returncode == 1
    assert "dataset cifar10: missing" in absent.stdout
    short = fewstep("doctor", "cifar10-32", FEWSTEP_DATA=str(root))
    assert f"dataset cifar10: wrong count ({root}/cifar10-32.zip has 120 images, cifar10 has 50000)" in short.stdout


def test_other_images_are_other_tasks(root, tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSTEP_DATA", str(root))
    before = {task.name for task in make_plan(load("cifar10-32")).tasks()}
    source = tmp_path / "source" / "train" / "cat"
    source.mkdir(parents=True)
    Image.new("RGB", (32, 32), (1, 2, 3)).save(source / "0.png")
    prepare("cifar10", tmp_path / "source", tmp_path / "data", lambda file, count: None)
    monkeypatch.setenv("FEWSTEP_DATA", str(tmp_path / "data"))
    assert not before & {task.name for task in make_plan(load("cifar10-32")).tasks()}


def test_a_task_that_was_planned_on_other_images_is_not_done(root, monkeypatch):
    monkeypatch.setenv("FEWSTEP_DATA", str(root))
    with pytest.raises(TaskError, match="the archive of cifar10 has changed since this run was planned"):
        data.load("cifar10", "another")
    monkeypatch.setenv("FEWSTEP_DATA", str(root / "nowhere"))
    with pytest.raises(TaskError, match="not an archive that `fewstep prepare` made"):
        data.load("cifar10", "another")
