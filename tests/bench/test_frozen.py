"""The frozen teacher and classifier: the same file, protocol and solver values on every machine."""

import dataclasses
import json
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import fewstep
from fewstep import datasets
from fewstep.bench import published_files
from fewstep.bench.benchmarks.freeze import freeze
from fewstep.bench.commands.main import main
from fewstep.bench.errors import InputError
from fewstep.bench.plan import frozen as shipped
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.plan.references import extractor_task
from fewstep.bench.run import worker
from fewstep.bench.stages import extractor, teacher
from fewstep.bench.store import Store
from fewstep.bench.suite import loading, schema
from fewstep.datasets import classifiers, frozen
from fewstep.datasets.frozen import register
from fewstep.datasets.frozen.register import NETWORKS, FrozenNetwork
from fewstep.methods.specs.teachers.pretrain import PretrainOptions
from fewstep.methods.specs.teachers.shipped import ShippedOptions

SUITE = {
    "name": "frozen",
    "datasets": "digits",
    "teachers": {"name": "shipped", "file": "digits-unet-128k"},
    "budgets": {"evaluations": 1},
    "nfe": 4,
    "samples": 1797,
    "metrics": ["fd_digits", "precision", "recall"],
    "methods": [{"name": "euler"}, {"name": "dpmpp-2m"}],
    "device": "cpu",
}
PROTOCOL = "digits-classifier@f0199cdc/native/float/1797/digits-1797@d0a523c0"
VALUES = {
    "euler": {"fd_digits": 11.201850199362752, "precision": 0.431274346132443, "recall": 0.6833611574846967},
    "dpmpp-2m": {"fd_digits": 5.20905657048246, "precision": 0.4557595993322204, "recall": 0.7829716193656093},
}
"""Seed 0, 1797 samples at NFE 4, computed once on an x86 CPU."""


@pytest.fixture
def write(tmp_path):
    """write(**changes) -> the file of a suite on the shipped teacher."""

    def write(**changes) -> str:
        file = tmp_path / "suite.yaml"
        file.write_text(yaml.safe_dump({**SUITE, **changes}, sort_keys=False))
        return str(file)

    return write


def made(suite, folder: Path) -> tuple[list, Store]:
    """The suite's tasks and the store in which they have been done."""
    tasks, store = make_plan(suite).tasks(), Store(folder)
    store.prepare()
    for task in tasks:
        assert worker.execute(task.to_json(), store) == ("done", None)
    return tasks, store


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """Method -> metrics of its samples."""
    tasks, store = made(schema.Suite.model_validate(SUITE), tmp_path_factory.mktemp("store"))
    done = [store.need(task.name) for task in tasks if task.kind == "score"]
    sampled = [store.need(artifact.manifest["inputs"]["sample"]) for artifact in done]
    names = [artifact.manifest["params"]["method"] for artifact in sampled]
    return {name: artifact.result["metrics"] for name, artifact in zip(names, done, strict=True)}


@pytest.fixture
def changed(tmp_path, monkeypatch):
    """change(name) turns one bit of a copy of the shipped files, which is then read instead of them."""
    folder = tmp_path / "frozen"

    def change(name: str) -> Path:
        shutil.copytree(frozen.FOLDER, folder)
        file = folder / f"{name}.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        monkeypatch.setattr(frozen, "FOLDER", folder)
        return file

    return change


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_shipped_file_is_the_one_that_is_pinned(network):
    assert published_files.sha256(frozen.path(network.name)) == network.sha256
    assert shipped.fault(network) is None


def test_all_shipped_files_are_small_and_part_of_the_package():
    files = [frozen.path(name) for name in NETWORKS]
    assert sorted(frozen.FOLDER.glob("*.safetensors")) == sorted(files)
    # Digits' networks are 1.1 MB; those of scenes look at four times as many pixels, and read captions.
    assert sum(file.stat().st_size for file in files) < 4e6
    setup = tomllib.loads((Path(fewstep.__file__).parent / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "*.safetensors" in setup["package-data"]["fewstep.datasets.frozen"]


def test_the_teachers_header_says_how_it_was_trained():
    """By the suite from-scratch, on the digits that are here."""
    facts = frozen.facts("digits-unet-128k")
    (trained,) = loading.load("from-scratch").teachers
    assert PretrainOptions.model_validate_json(facts["options"]) == trained
    ledger = json.loads(facts["ledger"])
    assert ledger["images"] == trained.images
    assert ledger["steps"] == trained.images / trained.batch
    assert facts["pixels"] == datasets.get("digits").pixels_sha256()
    assert {"fewstep", "torch", "suite"} <= set(facts)


def test_the_classifiers_header_says_how_it_was_trained():
    facts = frozen.facts("digits-classifier")
    assert json.loads(facts["options"]) == classifiers.DIGITS.options()
    assert json.loads(facts["ledger"])["images"] == 300 * 128
    assert float(facts["held_out_accuracy"]) > 0.98
    assert facts["pixels"] == datasets.get("digits").pixels_sha256()


def test_the_protocol_is_the_same_on_every_machine(scores):
    for metrics in scores.values():
        assert metrics["fd_digits"]["protocol"] == f"fd_digits/{PROTOCOL}"
        assert metrics["recall"]["protocol"] == f"recall/{PROTOCOL}/k=3"
    assert NETWORKS["digits-classifier"].sha256.startswith(PROTOCOL.split("@")[1].split("/")[0])


def test_solvers_have_the_same_values_on_every_machine(scores):
    assert set(scores) == set(VALUES)
    for method, values in VALUES.items():
        found = {name: scores[method][name]["value"] for name in values}
        assert found["fd_digits"] == pytest.approx(values["fd_digits"], rel=1e-4)
        # These count images: rounding may move one of 1797 over an edge.
        assert found == pytest.approx(values, rel=1e-4, abs=1.5 / 1797)


def test_every_suite_on_digits_reads_the_shipped_networks_but_the_one_that_made_them():
    suites = [loading.load(name) for name in loading.shipped_names()]
    digits = {suite.name: suite for suite in suites if suite.datasets == ["digits"]}
    assert len(digits) >= 8
    scratch = digits.pop("from-scratch")
    assert (scratch.classifier, scratch.teachers) == ("trained", [PretrainOptions()])
    for suite in digits.values():
        assert (suite.classifier, suite.teachers) == ("shipped", [ShippedOptions(file="digits-unet-128k")])


def test_the_shipped_classifier_is_one_task_whatever_the_device():
    """So that `fewstep evaluate` finds the features of a suite's run."""
    tasks = {task.name: task for device in ("cpu", "cuda") for task in [extractor_task("digits", device)]}
    suite = schema.Suite.model_validate({**SUITE, "device": "cuda"})
    assert set(tasks) == {task.name for task in make_plan(suite).tasks() if task.kind == "extractor"}
    assert len(tasks) == 1
    assert extractor_task("digits", "cpu", "trained").name not in tasks
    assert register.classifier("cifar10") is None


def test_the_reference_features_are_computed_without_training(tmp_path):
    tasks, store = [extractor_task("digits", "cpu")], Store(tmp_path)
    store.prepare()
    assert worker.execute(tasks[0].to_json(), store) == ("done", None)
    artifact = store.need(tasks[0].name)
    assert artifact.file(extractor.WEIGHTS).read_bytes() == frozen.path("digits-classifier").read_bytes()
    facts = frozen.facts("digits-classifier")
    assert artifact.result["training"] == json.loads(facts["ledger"])
    assert artifact.result["held_out_accuracy"] == pytest.approx(float(facts["held_out_accuracy"]), abs=1 / 360)
    assert not artifact.folder.joinpath("events.jsonl").exists()


def test_students_spend_shares_of_the_training_that_the_teachers_header_records(write, tmp_path):
    """BOOT among them, which needs the suite's own network."""
    share = 0.004
    methods = [{"name": "boot", "nfe": 1, "options": {"batch": 16}}, {"name": "consistency", "options": {"batch": 16}}]
    suite = loading.load(write(budgets={"teacher": share}, methods=methods, nfe=[1], samples=32, metrics=["fd_digits"]))
    tasks, store = made(suite, tmp_path / "store")
    recorded = json.loads(frozen.facts("digits-unet-128k")["ledger"])["evaluations"]
    runs = [store.need(task.name).result for task in tasks if task.kind == "train"]
    assert len(runs) == 2
    for run in runs:
        assert run["status"] == "done"
        assert run["ledger"]["limit"] == pytest.approx(share * recorded)
        assert run["ledger"]["evaluations"] <= share * recorded


def test_the_shipped_teacher_is_a_pretrained_one(write, tmp_path):
    suite = loading.load(write(methods=[{"name": "euler"}], nfe=[1], samples=2, metrics=["fd_digits"]))
    tasks, store = made(suite, tmp_path / "store")
    (artifact,) = (store.need(task.name) for task in tasks if task.kind == "teacher")
    loaded = teacher.load({"teacher": artifact})
    (trained,) = loading.load("from-scratch").teachers
    expected = teacher.pretrain.denoiser(trained, (1, 8, 8))
    assert repr(loaded) == repr(expected)
    assert repr(loaded.path) == repr(expected.path)
    assert artifact.result["parameters"] == sum(p.numel() for p in expected.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_changed_file_is_refused_in_one_line_before_anything_runs(name, changed, write, tmp_path):
    suite, file = write(), changed(name)
    result = CliRunner().invoke(main, ["run", suite, "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stderr.strip().startswith(f"fewstep: {file} (not as shipped: its SHA-256 is ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_refused_in_one_line(write, tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "FOLDER", tmp_path)
    with pytest.raises(InputError, match=r"missing .*digits-.*\.safetensors, get it by `pip install"):
        make_plan(loading.load(write())).tasks()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_changed_after_planning_is_refused(name, write, tmp_path, changed):
    kind = {"teacher": "teacher", "classifier": "extractor"}[NETWORKS[name].role]
    (task,) = (task for task in make_plan(loading.load(write())).tasks() if task.kind == kind)
    changed(name)
    store = Store(tmp_path / "store")
    store.prepare()
    state, status = worker.execute(task.to_json(), store)
    assert state == "failed"
    assert status.reason.endswith("has changed since this run was planned; run it again")


def test_a_suite_with_its_own_teacher_and_classifier_needs_no_shipped_file(tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "FOLDER", tmp_path)
    assert make_plan(loading.load("from-scratch")).tasks()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"teachers": {"name": "shipped", "file": "digits-unet"}},
            r"suite.yaml:5: teachers\[0\].file: no teacher 'digits-unet' is shipped; did you mean 'digits-unet-128k'",
        ),
        ({"teachers": {"name": "shipped", "file": "digits-classifier"}}, "no teacher 'digits-classifier' is shipped"),
        ({"datasets": "mixture-8x8", "metrics": "rmse"}, "digits-unet-128k was trained on digits, not on mixture-8x8"),
        ({"classifier": "frozen"}, "classifier: must be 'shipped' or 'trained', not 'frozen'"),
        (
            {"methods": [{"name": "bespoke", "fitted_on": {"dataset": "mixture-8x8"}}]},
            r"methods\[0\].fitted_on.*: digits-unet-128k was trained on digits, not on mixture-8x8",
        ),
    ],
)
def test_a_shipped_network_that_does_not_fit_is_named_with_its_line(write, changes, message):
    with pytest.raises(InputError, match=message):
        loading.load(write(**changes))


def test_list_and_doctor_name_the_shipped_networks(changed):
    listed = CliRunner().invoke(main, ["list", "teachers"]).output
    assert "digits-unet-128k" in listed
    assert "digits-classifier" not in listed
    healthy = CliRunner().invoke(main, ["doctor", "quickstart"])
    assert healthy.exit_code == 0
    for network in NETWORKS.values():
        assert f"shipped {network.role} {network.name}: present" in healthy.output
    changed("digits-unet-128k")
    result = CliRunner().invoke(main, ["doctor", "quickstart"])
    assert result.exit_code == 1
    assert "shipped teacher digits-unet-128k: wrong hash" in result.output
    assert CliRunner().invoke(main, ["doctor", "from-scratch"]).exit_code == 0


def test_freezing_the_same_training_gives_the_same_bytes_and_a_network_that_loads(write, tmp_path, monkeypatch):
    short = dataclasses.replace(classifiers.DIGITS, epochs=0.2)
    monkeypatch.setattr(classifiers, "DIGITS", short)
    suite = loading.load(
        write(
            teachers={"name": "pretrain", "images": 640},
            classifier="trained",
            nfe=[1],
            samples=2,
            metrics=["fd_digits"],
        )
    )
    tasks, store = made(suite, tmp_path / "store")
    kinds = {"teacher": "teacher", "extractor": "classifier"}
    for task in (task for task in tasks if task.kind in kinds):
        network = FrozenNetwork(f"digits-{task.kind}", kinds[task.kind], "digits", "")
        for name in ("once.safetensors", "again.safetensors"):
            freeze(network, store.need(task.name), tmp_path / name)
        once, again = (tmp_path / f"{name}.safetensors" for name in ("once", "again"))
        assert once.read_bytes() == again.read_bytes()
        monkeypatch.setattr(frozen, "FOLDER", tmp_path)
        assert json.loads(frozen.facts("once")["ledger"])["images"] in (640, 256)
