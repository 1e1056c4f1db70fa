"""Guided teachers through the whole house: one trained network, several scales, labels that depend on (seed, i)."""

import csv
import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

from fewstep import datasets
from fewstep.bench.stages import extractor, sample, teacher
from fewstep.bench.store import Store
from fewstep.tests.bench.command_line import fewstep

CONDITIONAL = {"name": "pretrain", "images": 6_400, "batch": 32, "label_dropout": 0.1}
SUITE = {
    "name": "guided",
    "datasets": "digits",
    "teachers": [CONDITIONAL, {**CONDITIONAL, "guidance": 1}, {**CONDITIONAL, "guidance": 2}],
    "budgets": {"evaluations": 1_000},
    "seeds": 0,
    "nfe": 6,
    "samples": 100,
    "truth": {"samples": 8, "tolerance": 1e-4},
    "metrics": "rmse",
    "methods": [
        {"name": "dpmpp-2m"},
        {"name": "consistency", "options": {"batch": 16}},
        {"name": "bespoke", "options": {"trajectories": 4, "nodes": 5, "tolerance": 0.1, "batch": 8}},
    ],
    "device": "cpu",
}
SCALES = (None, 1.0, 2.0)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guided")
    (folder / "suite.yaml").write_text(yaml.safe_dump(SUITE, sort_keys=False))
    result = fewstep("run", folder / "suite.yaml", "--out", folder / "out", "--workers", 2)
    assert result.returncode == 0, result.stderr
    return folder / "out"


@pytest.fixture(scope="module")
def artifacts(out):
    """(kind, method or None, guidance or None) -> artifact."""
    store, found = Store(out / "store"), {}
    for folder in sorted((out / "store").glob("*-*")):
        artifact = store.need(folder.name)
        params = artifact.manifest["params"]
        key = (artifact.manifest["kind"], params.get("method"), params.get("guidance"))
        assert key not in found or key[0] == "score"
        found[key] = artifact
    return found


def test_every_scale_has_its_rows_and_they_share_one_trained_teacher(out, artifacts):
    table = list(csv.DictReader((out / "results.csv").open()))
    assert {row["status"] for row in table} == {"done"}
    assert {row["teacher"] for row in table} == {f"pretrain-unet-6k-drop0.1{w}" for w in ("", "-w1", "-w2")}
    assert [key for key in artifacts if key[0] == "teacher"] == [("teacher", None, None)]
    assert {key[2] for key in artifacts if key[0] == "truth"} == set(SCALES)
    facts = json.loads((out / "run.json").read_text())
    assert [fact["label"] for fact in facts["teachers"]] == ["teacher pretrain-unet-6k-drop0.1 on digits"]


def test_guidance_1_is_the_conditional_teacher(artifacts):
    for kind, method in (("truth", None), ("sample", "dpmpp-2m")):
        plain, guided = (
            load_file(next(artifacts[kind, method, scale].folder.glob("*.safetensors")))["x0"] for scale in (None, 1.0)
        )
        torch.testing.assert_close(guided, plain, rtol=0, atol=2e-3)


@pytest.mark.parametrize("scale", SCALES)
def test_only_evaluations_of_a_guided_denoiser_are_two_forwards(artifacts, scale):
    guided = 1 if scale is None else 2
    for method, expected in (("dpmpp-2m", 6 * guided), ("bespoke", 6 * guided), ("consistency", 6)):
        result = artifacts["sample", method, scale].result
        assert (result["nfe"], result["forwards"]) == (6, expected)


@pytest.mark.parametrize("scale", SCALES)
def test_the_budgets_unit_is_one_forward_of_the_network(artifacts, scale):
    guided = 1 if scale is None else 2
    ledger = artifacts["train", "consistency", scale].result["ledger"]
    teachers = ledger["uses"]["teacher"] / ledger["flops_per_evaluation"] / ledger["images"]
    assert teachers == pytest.approx(2 * guided)
    assert 1_000 * 0.8 < ledger["evaluations"] <= 1_000


def shares_right(artifacts, classify):
    """scale -> the share of dpmpp-2m's samples that `classify` gives the label that they were asked for."""
    labels = sample.start_labels(teacher.load({"teacher": artifacts["teacher", None, None]}), 0, range(100))
    predicted = {scale: classify(sample.load(artifacts["sample", "dpmpp-2m", scale])[:]) for scale in SCALES}
    return {scale: float((predicted[scale] == labels).double().mean()) for scale in SCALES}


def test_conditional_samples_are_nearest_to_real_digits_of_their_class(artifacts):
    data = datasets.get("digits")
    real = data.samples(torch.arange(len(data))).flatten(1)
    right = shares_right(artifacts, lambda x0: data.targets[torch.cdist(x0.flatten(1), real).argmin(1)])
    assert right[None] > 0.8
    assert right[2.0] > 0.95


@pytest.mark.slow
def test_the_digits_classifier_recognises_the_class_of_conditional_samples(out, artifacts):
    result = fewstep("run", out.parent / "suite.yaml", "--out", out, "--set", "metrics=[fd_digits]")
    assert result.returncode == 0, result.stderr
    classifier, _ = extractor.load(Store(out / "store").need(next((out / "store").glob("extractor-*")).name))
    with torch.no_grad():
        right = shares_right(artifacts, lambda x0: classifier(x0).argmax(1))
    assert right[None] > 0.8
    assert right[2.0] > 0.95


def test_a_loaded_teacher_knows_the_classes_of_its_data(artifacts):
    artifact = artifacts["teacher", None, None]
    data = datasets.get("digits")
    for denoiser in (teacher.load({"teacher": artifact}), teacher.load({"teacher": artifact}, 2.0)):
        assert denoiser.class_counts == tuple(torch.bincount(data.targets).tolist())
        assert denoiser.sample_shape == (1, 8, 8)


def test_labels_do_not_depend_on_the_batch_size(artifacts, monkeypatch):
    denoiser = teacher.load({"teacher": artifacts["teacher", None, None]})
    whole = sample.start_labels(denoiser, 1, range(300))
    monkeypatch.setattr(sample, "BATCH", 7)
    seen = sample.batches(300, lambda part: sample.start_labels(denoiser, 1, part), lambda share: None)
    assert torch.equal(whole, seen)


def test_a_picture_of_a_guided_method_is_of_its_run(out, artifacts):
    """`fewstep sample` starts from the run's noises and labels, and guides as the run did."""
    from fewstep.bench.commands.drawing import _samples

    for method in ("dpmpp-2m", "bespoke"):
        artifact = artifacts["sample", method, 2.0]
        drawn = _samples(artifact, Store(out / "store"), 6, 9, 0)
        torch.testing.assert_close(drawn, sample.load(artifact)[:9], rtol=0, atol=1e-4)
