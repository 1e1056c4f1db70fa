"""The conformance kit names the property that a wrong plug-in breaks."""

import os
import subprocess
import sys
from functools import partial

import pytest
import torch

from fewstep.bench.commands.conformance import dataset as check_dataset
from fewstep.bench.commands.conformance import executor as check_executor
from fewstep.bench.commands.conformance import metric as check_metric
from fewstep.bench.commands.conformance import setup as check_setup
from fewstep.bench.commands.conformance import training as check_training
from fewstep.bench.commands.conformance.properties import verdicts
from fewstep.bench.metrics import TooFew
from fewstep.bench.store import Store
from fewstep.methods import registry
from fewstep.tests.bench.plugins import data, executors, methods

TRAINING = check_training.PROPERTIES


def failed(subject, properties):
    return {verdict.claim: verdict.reason for verdict in verdicts(subject, properties) if verdict.state == "FAILED"}


@pytest.fixture
def method_failures(monkeypatch):
    """failures(spec): what is wrong with a method, which is registered for as long as it takes."""

    def failures(spec):
        monkeypatch.setattr(registry, "method", lambda name: spec)
        return failed(check_training.TrainedRow(spec, check_setup.load_data("mixture-2d")), TRAINING)

    return failures


def test_a_method_that_keeps_every_promise_passes(method_failures):
    assert method_failures(methods.spec(methods.Right)) == {}


NFE = "each claimed NFE is met exactly"
KINDS = "steps of one kind cost the same (step_kind)"
LEDGER = "the ledger equals a FLOP counter around the run"
PAIRED = "sample i of a seed is the same in every batch"
RESUMED, REPEATED = "killed and resumed, it ends the same", "two runs of one seed have the same weights"
TEACHER = "the teacher is not trained"
ONCE_TRAINED = "once trained, it samples at each claimed NFE"
SAVED = "saved and loaded, it samples the same"
LABELS = "labels reach the denoiser"
TRAINS, LABELLED = "it trains for 20 steps", "it trains from a class-conditional teacher"


@pytest.mark.parametrize(
    ("wrong", "broken", "along", "why"),
    [
        (methods.HarderLater, KINDS, {LEDGER, TRAINS, LABELLED}, "step"),
        (methods.OneMore, NFE, {ONCE_TRAINED}, "NFE 1 is claimed, and sampling takes 2 evaluations a sample"),
        (methods.NoiseOfTheBatch, PAIRED, {ONCE_TRAINED, SAVED, LABELS}, "sampling twice differs: draw noise with"),
        (methods.TeacherTrained, TEACHER, None, "the teacher's weights change"),
        (methods.StateInAnAttribute, RESUMED, set(), "it has other weights: keep state in buffers"),
        (methods.GlobalNoise, RESUMED, {REPEATED}, "draw from generator(self.seed, purpose, step)"),
        (methods.OddOnly, NFE, None, "NFE 2 is claimed, and sampling fails: UnreachableNFE: odd NFE only"),
    ],
)
def test_a_wrong_method_fails_what_it_breaks(method_failures, wrong, broken, along, why):
    found = method_failures(methods.spec(wrong))
    assert why in found[broken]
    assert along is None or set(found) <= {broken, *along}


def test_options_that_take_any_word_are_told(method_failures):
    found = method_failures(methods.spec(methods.Right, methods.LooseOptions))
    assert list(found) == ["a misspelt option is refused in one line"]
    assert "derive the options from Options" in found["a misspelt option is refused in one line"]


def test_the_command_checks_what_an_installed_package_announces(tmp_path):
    (tmp_path / "wrong_pack.py").write_text(
        "from fewstep.tests.bench.plugins import methods\nSPEC = methods.spec(methods.OneMore)\n"
    )
    facts = tmp_path / "wrong_pack-0.1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong-pack\nVersion: 0.1\n")
    (facts / "entry_points.txt").write_text("[fewstep.methods]\nonemore = wrong_pack:SPEC\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    code = "from fewstep.bench.commands.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "check", "onemore"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 1, done.stderr
    assert f"FAILED: {NFE}: NFE 1 is claimed, and sampling takes 2 evaluations a sample" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("method onemore: ")
    assert "Traceback" not in done.stderr


def metric(value):
    return check_metric.MetricUnderTest("wrong", "a metric", False, 0, value)


def mean_distance(fake, reference):
    return float((fake.mean(0) - reference.mean(0)).norm()), ""


def first_rows(fake, reference):
    return mean_distance(fake[: len(fake) // 2], reference)


def covariance(fake, reference):
    return float((torch.cov(fake.T) - torch.cov(reference.T)).norm()), ""


def too_few(fake, reference):
    if len(fake) < 2:
        raise TooFew("a covariance needs two rows")
    return covariance(fake, reference)


def test_a_metric_that_keeps_every_promise_passes():
    assert failed(metric(mean_distance), check_metric.PROPERTIES) == {}


@pytest.mark.parametrize(
    ("value", "broken"),
    [
        (first_rows, "the order of the samples changes nothing"),
        (lambda fake, reference: (-mean_distance(fake, reference)[0], ""), "good samples are better than noise"),
        (lambda fake, reference: (float(torch.rand(())), ""), "the same samples have the same value"),
        (covariance, "too few samples are refused"),
    ],
)
def test_a_wrong_metric_fails_what_it_breaks(value, broken):
    assert broken in failed(metric(value), check_metric.PROPERTIES)


def test_a_metric_may_refuse_too_few_samples():
    assert "too few samples are refused" not in failed(metric(too_few), check_metric.PROPERTIES)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("right", set()),
        ("whitened", {"row i is the same in every batch"}),
        ("counted-from-one", {"labels are in range"}),
    ],
)
def test_a_wrong_data_set_fails_what_it_breaks(name, broken):
    assert set(failed(check_dataset.DataUnderTest(data.spec(name)), check_dataset.PROPERTIES)) == broken


@pytest.mark.parametrize(
    ("executor", "broken"),
    [
        (executors.InProcess, set()),
        (executors.LosesFailures, {"a failure is one line"}),
    ],
)
def test_an_executor_that_loses_an_event_is_told(monkeypatch, executor, broken):
    monkeypatch.setattr(check_executor, "PATIENCE", 2.0)
    # A task in this process cannot be ended.
    properties = {name: holds for name, holds in check_executor.PROPERTIES.items() if "close()" not in name}
    with check_executor.running(partial(start, executor)) as subject:
        assert set(failed(subject, properties)) == broken


def start(executor, root, workers):
    return executor(Store(root))
