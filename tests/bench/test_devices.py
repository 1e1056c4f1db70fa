"""Tasks that several processes do together: the results of one, and one line where one of them fails."""

from multiprocessing import active_children
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file

from fewstep.bench.run import companions
from fewstep.bench.store import Store
from fewstep.bench.training import loop
from fewstep.reports import run as reports
from fewstep.tests.bench.in_process import call, in_process, table, write_suite

__all__ = ["in_process"]

SWEEP = {
    "teachers": {"name": "pretrain", "images": 1_280, "network": {"name": "mlp", "width": 16, "blocks": 1}},
    "samples": 5_000,
    "metrics": ["fd_law", "rmse"],
    "methods": ["euler", {"name": "consistency", "options": {"batch": 16}}],
}


ROUNDED = ("value", "standard_error", "corrected")


@pytest.fixture(autouse=True)
def _alone_afterwards(monkeypatch):
    monkeypatch.setenv(companions.DEVICES, "1")
    monkeypatch.setattr(reports.figures, "for_report", lambda board, folders: {"figure": "<svg></svg>"})


def run(folder, devices):
    done = call(
        "run", write_suite(folder, **SWEEP), "--out", folder / str(devices), "--workers", 1, "--devices", devices
    )
    assert done.exit_code == 0, (done.output, done.exception)
    return table(folder / str(devices))


@pytest.mark.slow
def test_a_run_on_two_devices_has_the_results_of_one(tmp_path):
    """Teacher, student and samples; numbers to what the last digits of two trained networks differ by."""
    alone, together = (run(tmp_path, devices) for devices in (1, 2))
    assert len(alone) == len(together) == 4
    for one, two in zip(alone, together, strict=True):
        for column, value in one.items():
            if column in ROUNDED:
                assert float(two[column]) == pytest.approx(float(value), rel=1e-4), column
            elif column != "train_peak_bytes":
                assert two[column] == value, column


@pytest.mark.slow
def test_samples_of_one_teacher_have_the_bytes_of_one_process(tmp_path):
    """5,000 samples are three files: the companion makes one of them."""
    exact = {**SWEEP, "teachers": "exact", "methods": ["dpmpp-2m"]}
    files = []
    for devices in (1, 2):
        out = tmp_path / str(devices)
        suite = write_suite(tmp_path, **exact)
        done = call("run", suite, "--out", out, "--workers", 1, "--devices", devices)
        assert done.exit_code == 0, (done.output, done.exception)
        (folder,) = (out / "store").glob("sample-*")
        files.append({path.name: load_file(path)["x0"] for path in folder.glob("*.safetensors")})
    assert len(files[0]) == 3
    assert all((files[1][name] == x0).all() for name, x0 in files[0].items())


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["as it starts", "as it trains"])
def test_a_companion_that_is_killed_is_replaced_once(in_process, moment, tmp_path, monkeypatch):
    """The training goes on from its checkpoint, and the student is the one of a run without an accident."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    start, held, killed = companions._start, Store.require_held, []

    def kill(process):
        if not killed:
            process.kill()
            killed.append(process)

    def started(company, rank):
        process = start(company, rank)
        if moment == "as it starts":
            kill(process)
        return process

    def told(store, name):
        if moment == "as it trains" and name.startswith("train"):
            kill(active_children()[0])
        return held(store, name)

    monkeypatch.setattr(companions, "_start", started)
    monkeypatch.setattr(Store, "require_held", told)
    found = []
    for name in ("with", "without"):
        done = call("run", write_suite(tmp_path, **SWEEP), "--out", tmp_path / name, "--devices", 2, "--quiet")
        assert done.exit_code == 0, (done.output, done.exception)
        found.append(table(tmp_path / name))
    assert killed
    for one, two in zip(*found, strict=True):
        assert one["status"] == two["status"] == "done"
        assert float(one["value"]) == pytest.approx(float(two["value"]), rel=1e-4)
        assert one["train_flops"] == two["train_flops"]


def test_one_device_is_enough_for_what_one_does(monkeypatch):
    monkeypatch.setenv(companions.DEVICES, "4")
    asked = {
        "train": ({}, 4),
        "score": ({}, 1),
        "sample": ({"samples": 2_048}, 1),
        "truth": ({"samples": 5_000}, 3),
        "teacher": ({"teacher": {"name": "shipped"}}, 1),
    }
    found = {kind: companions.wanted({"kind": kind, "params": params}) for kind, (params, _) in asked.items()}
    assert found == {kind: count for kind, (_, count) in asked.items()}
    assert companions.wanted({"kind": "teacher", "params": {"teacher": {"name": "pretrain"}}}) == 4


def test_what_ended_a_companion_is_the_last_line_of_its_log(tmp_path):
    company = companions.Company({"kind": "train"}, tmp_path, tmp_path, tmp_path, 3, "gloo")
    company.log(2).write_text("Traceback\nRuntimeError: out of luck\n")

    def reason(*codes):
        ended = [SimpleNamespace(join=lambda timeout: None, exitcode=code) for code in codes]
        found = companions._reason(company, ended)
        return None if found is None else str(found)

    assert reason(0, 1).endswith("device 2: RuntimeError: out of luck")
    assert reason(-9, 0).endswith("device 1: its process was killed (signal 9)")
    assert reason(0, None) is None
