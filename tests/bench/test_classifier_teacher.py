"""A teacher that a classifier of noisy images guides, through the whole house."""

import csv

import pytest
import torch
import yaml
from click.testing import CliRunner

from fewstep.bench.commands.main import main
from fewstep.bench.errors import InputError
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.plan.kinds import TeacherParams, TeacherResult
from fewstep.bench.stages import teacher
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import checked, load
from fewstep.methods.classifier_guidance import ClassifierGuided
from fewstep.methods.denoiser import EDMDenoiser
from fewstep.methods.networks.openai import OpenAIClassifier
from fewstep.methods.paths import EDM, VPDiscrete
from fewstep.methods.teachers import checkpoint
from fewstep.methods.teachers.checkpoint import Checkpoint, CheckpointError
from fewstep.tests.bench.in_process import run_in_process
from fewstep.tests.bench.test_checkpoints import CONFIG, network

ARGUMENTS = {
    "image_size": 8,
    "in_channels": 1,
    "model_channels": 32,
    "out_channels": 10,
    "num_res_blocks": 1,
    "attention_resolutions": [2],
    "channel_mult": [1, 2],
    "num_head_channels": 32,
}
SETTINGS = {"form": "openai", "kind": "classifier", "network": ARGUMENTS, "schedule": "linear", "labels": 1000}
GUIDED = {"name": "checkpoint", "file": "theirs.safetensors", "sigma_max": 40}
SUITE = {
    "name": "guided",
    "datasets": "digits",
    "teachers": {**GUIDED, "classifier": {"file": "guide.safetensors", "scale": 0.5}},
    "budgets": {"evaluations": 700},
    "nfe": [4, 1],
    "samples": 20,
    "truth": {"samples": 1, "tolerance": 1.0},
    "metrics": "rmse",
    "methods": [
        {"name": "euler"},
        {"name": "dfno", "nfe": 1, "options": {"batch": 2}},
        {
            "name": "knowledge",
            "nfe": 4,
            "options": {"batch": 1, "loss": "lte", "steps": 4, "truth": {"trajectories": 1, "tolerance": 1.0}},
        },
    ],
    "device": "cpu",
}


def guide(**changes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = OpenAIClassifier(**{**ARGUMENTS, **changes})
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.03)
    return Checkpoint({**SETTINGS, "network": {**ARGUMENTS, **changes}}, made.state_dict())


def write(folder, **changes):
    Checkpoint(CONFIG, network().state_dict()).save(folder / "theirs.safetensors")
    guide().save(folder / "guide.safetensors")
    (folder / "suite.yaml").write_text(yaml.safe_dump({**SUITE, **changes}, sort_keys=False))
    return folder / "suite.yaml"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guided")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_in_process(patch)
        write(folder)
        result = CliRunner().invoke(main, ["run", "suite.yaml", "--out", "out", "--quiet"])
    assert result.exit_code == 0, result.output
    (folder / "guide.safetensors").unlink()
    return folder


def rows(folder):
    with (folder / "out" / "results.csv").open() as file:
        return {(row["method"], row["nfe"]): row for row in csv.DictReader(file)}


def kept(folder):
    store = Store(folder / "out" / "store")
    (path,) = (folder / "out" / "store").glob("teacher-*")
    return store.need(path.name)


def test_every_kind_of_row_stands_on_it(ran):
    found = rows(ran)
    assert {key: row["status"] for key, row in found.items()} == {
        ("euler", "4"): "done",
        ("euler", "1"): "done",
        ("dfno", "1"): "done",
        ("knowledge", "4"): "done",
    }
    forwards = {key: float(row["forwards"]) for key, row in found.items()}
    assert forwards == {("euler", "4"): 4, ("euler", "1"): 1, ("dfno", "1"): 4, ("knowledge", "4"): 4}


def test_its_file_may_go_and_its_flops_are_those_of_the_classifier(ran):
    artifact = kept(ran)
    denoiser, answer = teacher.load(artifact), artifact.answer(TeacherResult)
    assert isinstance(denoiser, ClassifierGuided)
    assert denoiser.scale == 0.5
    assert denoiser.classifier.path == VPDiscrete()
    assert artifact.asked(TeacherParams).classifier
    found, unit = rows(ran), answer.flops_per_evaluation
    guided = float(found["euler", "4"]["flops_per_image"])
    assert guided == pytest.approx(4 * (unit + answer.classifier_flops))
    assert answer.classifier_flops > 0.1 * unit
    # A student does not run the classifier, which is why it may be worth its training.
    assert float(found["knowledge", "4"]["flops_per_image"]) == pytest.approx(4 * unit)
    assert float(found["dfno", "1"]["flops_per_image"]) == pytest.approx(4 * unit, rel=0.04)


def test_another_scale_or_file_is_another_teacher(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suite, keys = write(tmp_path), []
    for scale, classifier in ((0.5, guide()), (2.0, guide()), (2.0, guide(num_res_blocks=2))):
        classifier.save(tmp_path / "guide.safetensors")
        text = suite.read_text().replace("scale: 0.5", f"scale: {scale}")
        keys.append(make_plan(checked("s", text)).cells[0].score.key)
    assert len(set(keys)) == 3
    (options,) = load(str(suite)).teachers
    assert options.shown() == "theirs-g0.5"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"file": "nowhere.pt"}, "no file nowhere.pt, and no known classifier of that name"),
        ({"file": "edm-cifar10-32x32-uncond-vp"}, "is no classifier of noisy images"),
        (
            {"file": "64x64_classifier"},
            r"it knows 1000 classes of images \(3, 64, 64\), and digits has 10 of \(1, 8, 8\)",
        ),
        ({"file": "guide.safetensors", "scale": -1}, "scale"),
    ],
)
def test_a_classifier_that_does_not_fit_is_refused_with_the_suite(tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    suite = write(tmp_path, teachers={**GUIDED, "classifier": given})
    with pytest.raises(InputError, match=message):
        load(str(suite))


def test_a_known_network_without_labels_has_no_students_to_teach(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = {"name": "checkpoint", "file": "imagenet64_uncond_100M_1500K", "classifier": {"file": "64x64_classifier"}}
    suite = {**SUITE, "datasets": "imagenet64-adm", "teachers": known, "metrics": "rmse"}
    with pytest.raises(InputError, match="dfno trains a copy of imagenet64_uncond_100M_1500K, which knows no labels"):
        load(str(write(tmp_path, **suite)))


@pytest.mark.parametrize(
    ("read", "shape", "classes", "message"),
    [
        (guide(), (3, 8, 8), 10, r"images of shape \(1, 8, 8\), and the data set's have \(3, 8, 8\)"),
        (guide(), (1, 8, 8), 9, "it knows 10 classes, and the data set has 9"),
        (Checkpoint(CONFIG, network().state_dict()), (1, 8, 8), 10, "classifier"),
    ],
)
def test_what_is_wrong_with_the_file_is_one_line(read, shape, classes, message):
    with pytest.raises(CheckpointError, match=message) as error:
        checkpoint.classifier(read, teacher_network(), shape, classes)
    assert "\n" not in str(error.value)


def test_without_a_schedule_it_needs_a_network_with_labels_of_noise():
    plain = guide()
    del plain.config["schedule"]
    with pytest.raises(CheckpointError, match="has no labels of noise: give its `config` a schedule and labels"):
        checkpoint.classifier(plain, teacher_network(), (1, 8, 8), 10)


def teacher_network():
    return EDMDenoiser(network().model, 0.5, EDM())
