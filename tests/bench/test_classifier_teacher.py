"""A teacher that a classifier of noisy images guides, through the whole house."""

import pytest
import torch
import yaml

from fewstep.bench.commands.findings import findings
from fewstep.bench.errors import InputError
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.plan.kinds import Sampled, TeacherResult
from fewstep.bench.plan.task import in_order
from fewstep.bench.run.worker import execute
from fewstep.bench.stages import teacher
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import checked, load
from fewstep.methods.classifier_guidance import ClassifierGuided
from fewstep.methods.denoiser import EDMDenoiser
from fewstep.methods.networks.openai import OpenAIClassifier
from fewstep.methods.paths import EDM, VPDiscrete
from fewstep.methods.teachers import checkpoint
from fewstep.methods.teachers.checkpoint import Checkpoint, CheckpointError
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
    "nfe": 2,
    "samples": 4,
    "truth": {"samples": 1, "tolerance": 1.0},
    "metrics": "rmse",
    "methods": [{"name": "euler"}],
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


def test_its_file_may_go_and_an_evaluation_is_charged_the_classifier(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suite, store, made = write(tmp_path), Store(tmp_path / "store"), {}
    store.prepare()
    for task in in_order([make_plan(load(str(suite))).cells[0].score]):
        if task.kind in ("teacher", "sample"):
            assert execute(task.to_json(), store) == ("done", None)
            made[task.kind] = store.need(task.name)
            (tmp_path / "guide.safetensors").unlink(missing_ok=True)
    denoiser, answer = teacher.load({"teacher": made["teacher"]}), made["teacher"].answer(TeacherResult)
    assert isinstance(denoiser, ClassifierGuided)
    assert denoiser.scale == 0.5
    assert denoiser.classifier.path == VPDiscrete()
    sampled, unit = made["sample"].answer(Sampled), answer.flops_per_evaluation
    assert sampled.forwards == 2
    assert answer.classifier_flops > 0.1 * unit
    assert sampled.flops_per_image == pytest.approx(2 * (unit + answer.classifier_flops))


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


def test_doctor_lists_the_classifiers_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(tmp_path / "weights"))
    rows = findings(load(str(write(tmp_path))))
    assert any(what.endswith("guide.safetensors") and state == "present" for what, state, _ in rows)
    known = {"name": "checkpoint", "file": "64x64_diffusion", "classifier": {"file": "64x64_classifier"}}
    suite = load(str(write(tmp_path, datasets="imagenet64-adm", teachers=known)))
    assert ("file checkpoints/64x64_classifier.pt", "missing") in [row[:2] for row in findings(suite)]


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
    students = {"methods": [{"name": "dfno"}], "budgets": {"evaluations": 1000}, "nfe": 1}
    suite = {**students, "datasets": "imagenet64-adm", "teachers": known}
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
