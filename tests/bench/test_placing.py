"""Where tasks are to run: mistakes are one line, before anything runs."""

import importlib.util
import socket
import sys
from types import SimpleNamespace

import pytest

from fewstep.bench.commands import placing
from fewstep.bench.run import executor as executors
from fewstep.bench.run import remote, slurm
from fewstep.bench.run.executor import EXECUTORS, Resources
from fewstep.bench.run.remote import Origin, shares
from fewstep.bench.store import Store
from fewstep.tests.bench.in_process import call, is_one_line, write_suite

PRETRAIN = {"name": "pretrain", "images": 640, "network": {"name": "mlp", "width": 16, "blocks": 1}}


def refusal(folder, *options):
    """The one line with which a run is refused; nothing is made."""
    done = call("run", write_suite(folder), "--out", folder / "out", *options)
    assert is_one_line(done), (done.output, done.exception)
    assert not (folder / "out").exists()
    return done.stderr.strip()


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_package_is_named_with_what_gets_it(tmp_path, monkeypatch, name, package):
    monkeypatch.setattr(executors, "find_spec", lambda wanted: None)
    line = refusal(tmp_path, "--executor", name)
    assert line == f"fewstep: --executor {name} needs the package {package}: pip install 'fewstep[{name}]'"


@pytest.fixture
def as_if_installed(monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda wanted: importlib.util.find_spec("sys"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--executor", "rai"], "did you mean 'ray'"),
        (["--address", "here:1"], "--address is for --executor ray, not local"),
        (["--slurm-option", "time=1"], "--slurm-option is for --executor slurm, not local"),
        (["--executor", "ray", "--slurm-option", "time=1"], "--slurm-option is for --executor slurm, not ray"),
        (["--executor", "slurm", "--slurm-option", "time = 1"], "expected KEY=VALUE"),
        (["--executor", "slurm", "--slurm-option", "time=1\n2"], "expected KEY=VALUE"),
        (["--executor", "slurm", "--slurm-option", "time=1", "--slurm-option", "--time=2"], "time is given twice"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path, options, words):
    assert words in refusal(tmp_path, *options)


def test_several_devices_are_refused_a_budget_in_seconds(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSTEP_DEVICES", "1")
    suite = write_suite(tmp_path, methods=["consistency"], budgets={"seconds": 10}, teachers=PRETRAIN)
    done = call("run", suite, "--out", tmp_path / "out", "--devices", 2)
    assert is_one_line(done)
    assert "--devices 2: a budget in seconds ends at another step on each" in done.stderr


@pytest.mark.parametrize("address", ["somewhere", "127.0.0.1", "127.0.0.1:port", ":6379", "127.0.0.1:99999999"])
def test_an_address_that_none_can_be_is_refused(tmp_path, monkeypatch, as_if_installed, address):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    assert f"--address {address}: " in refusal(tmp_path, "--executor", "ray", "--address", address)


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path, monkeypatch, as_if_installed):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        line = refusal(tmp_path, "--executor", "ray", "--address", address)
    assert line == f"fewstep: --address {address}: no Ray cluster answers there: Connection refused"


def test_slurm_is_looked_for_before_anything_runs(tmp_path, monkeypatch, as_if_installed):
    monkeypatch.setattr(slurm.shutil, "which", lambda program: None)
    assert "there is no sbatch on this machine" in refusal(tmp_path, "--executor", "slurm")


@pytest.fixture
def with_programs(monkeypatch):
    monkeypatch.setattr(slurm.shutil, "which", lambda program: f"/usr/bin/{program}")


@pytest.mark.parametrize("option", slurm.OWN)
def test_options_that_the_executor_sets_are_refused(tmp_path, as_if_installed, with_programs, option):
    line = refusal(tmp_path, "--executor", "slurm", "--slurm-option", f"{option}=1")
    assert line == f"fewstep: --slurm-option {option}: fewstep sets it itself"


def test_a_suite_for_gpus_asks_slurm_for_some(with_programs):
    resources = Resources(None, 1, 1, device="cuda")
    with pytest.raises(slurm.InputError, match="gres=gpu:1"):
        slurm.require(resources)


def test_a_cluster_has_its_own_number_of_places_and_the_threads_of_one_machine():
    teacher = SimpleNamespace(kind="teacher", name="teacher-1")
    own = {"devices": 1, "address": None, "slurm_options": {}}
    asked = placing.resources(EXECUTORS["ray"], "cpu", [teacher], None, None, None, **own)
    local = placing.resources(EXECUTORS["local"], "cpu", [teacher], None, 2, None, **own)
    assert (asked.workers, asked.threads, asked.gpus) == (placing.PLACES, 1, [])
    assert asked.threads_of == local.threads_of == {"teacher-1": 2}


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store")
    made.prepare()
    return made


def test_a_worker_says_which_folder_its_machine_lacks(store, tmp_path):
    origin = Origin(str(store.root), str(tmp_path / "nowhere"), {}, 1)
    assert f"there is no {tmp_path / 'nowhere'}: a cluster needs it on a file system that all" in origin.enter()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"torch": "1.0"}, "and this machine 1.0"),
        ({"sources": {"fewstep.bench.stages.truth": "0"}}, "another version of fewstep.bench.stages.truth"),
    ],
)
def test_a_worker_with_other_code_makes_nothing(store, changed, words):
    task = {"kind": "truth", "key": "0", "torch": remote.torch_version(), "sources": {}, **changed}
    event, status = Origin(str(store.root), ".", {}, 1).do(task, 1, "")
    assert event == "failed"
    assert words in status.reason
    assert store.names() == set()


def test_how_far_a_task_is_reaches_the_run_through_the_store(store):
    task, started = SimpleNamespace(name="train-0"), SimpleNamespace(name="train-1")
    with store.work("train-0") as folder:
        told = remote._Told(folder / remote.SHARE)
        told(0.25)
        told(0.26)  # Too soon after the other.
        assert list(shares(store.root, [task, started])) == [("progress", "train-0", 0.25)]
