"""Exported students and teachers, which a suite runs again as rows with equal samples."""

import csv

import pytest
import torch
from safetensors.torch import load_file

from fewstep.bench.store import Store
from fewstep.tests.bench.in_process import call, is_one_line, run_in_process
from fewstep.tests.bench.test_made_elsewhere import artifacts, write

EXPORTED = {
    "datasets": "digits",
    "budgets": {"evaluations": 300},
    "metrics": "fd_digits",
    "nfe": 1,
    "methods": [
        {"name": "euler", "nfe": [1, 2]},
        {"name": "consistency", "options": {"batch": 4}, "nfe": [1, 2]},
        {"name": "progressive", "options": {"batch": 4, "start_steps": 4}, "nfe": [1, 2]},
        {"name": "boot", "options": {"batch": 4}},
        {"name": "sim", "options": {"batch": 4}},
        {"name": "bespoke", "options": {"trajectories": 2, "nodes": 5, "tolerance": 0.1, "batch": 4}, "nfe": 2},
    ],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        run_in_process(patch)
        patch.chdir(folder)
        result = call("run", write(folder, **EXPORTED), "--out", "out")
        assert result.exit_code == 0, result.stderr
        for name, nfe in (("consistency", 2), ("progressive", 2), ("boot", 1), ("sim", 1)):
            words = ("--method", name, "--nfe", nfe, "--out", f"{name}.safetensors")
            assert call("export", "out", *words).exit_code == 0
        assert call("export", "out", "--teacher", ".", "--out", "teacher.safetensors").exit_code == 0
        rows_of = [
            {"name": "student", "options": {"file": f"{name}.safetensors"}, "nfe": nfes}
            for name, nfes in (("consistency", [1, 2]), ("progressive", [1, 2]), ("boot", 1), ("sim", 1))
        ]
        again = {"teachers": {"name": "checkpoint", "file": "teacher.safetensors"}, "metrics": "fd_digits"}
        suite = write(folder, **again, methods=["euler", *rows_of])
        result = call("run", suite, "--out", "again", "--store", "out/store")
        assert result.exit_code == 0, result.stderr
    return folder


def sampled(folder, out):
    """(method or the exported one, NFE) -> samples."""
    store, found = Store(folder / "out" / "store"), {}
    with (folder / out / "results.csv").open() as file:
        for row in csv.DictReader(file):
            assert row["status"] == "done", row
            made = store.need(store.need(f"score-{row['cell']}").manifest["inputs"]["sample"])
            name = row["teacher"] if row["method"] == "student" else row["method"]
            found[name, int(row["nfe"])] = load_file(made.folder / "samples.safetensors")["x0"]
    return found


@pytest.mark.parametrize(
    ("method", "nfe"),
    [("consistency", 1), ("consistency", 2), ("progressive", 1), ("progressive", 2), ("boot", 1), ("sim", 1)],
)
def test_an_exported_student_gives_its_samples_again_as_a_row(trained, method, nfe):
    assert torch.equal(sampled(trained, "again")[method, nfe], sampled(trained, "out")[method, nfe])


def test_an_exported_teacher_gives_its_samples_again(trained):
    for nfe in (1, 2):
        assert torch.equal(sampled(trained, "again")["euler", nfe], sampled(trained, "out")["euler", nfe])


def test_an_exported_student_is_still_a_saved_method_of_its_teacher(trained):
    from fewstep.bench.stages import teacher
    from fewstep.methods import saved

    (parent,) = (a for a in artifacts(trained, "teacher") if a.manifest["params"]["teacher"]["name"] == "shipped")
    method = saved.load(trained / "sim.safetensors", teacher.load({"teacher": parent}))
    noise = torch.zeros(2, 1, 8, 8)
    assert method.sample(noise, 1).shape == noise.shape


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "sim", "--nfe", 1, "--out", "sim.safetensors"), "sim.safetensors: exists; give another --out"),
        (("--method", "sim", "--nfe", 1, "--out", "x", "--format", "diffusers"), "it fits no diffusers folder"),
        (("--method", "bespoke", "--nfe", 2, "--out", "x", "--format", "diffusers"), "bespoke is a learned solver"),
        (("--teacher", ".", "--out", "again", "--format", "diffusers"), "again: exists; a folder is not replaced"),
        (("--teacher", ".", "--out", "x", "--format", "diffusers"), "it fits no diffusers folder"),
        (("--teacher", "nobody", "--out", "x.safetensors"), "the run has digits-unet-128k"),
        (("--teacher", ".", "--method", "sim", "--out", "x"), "a teacher, which has no --method"),
        (("--out", "x"), "--method is missing: give --method and --nfe of a row, or --teacher"),
    ],
)
def test_what_cannot_be_exported_is_one_line(trained, monkeypatch, words, message):
    monkeypatch.chdir(trained)
    before = {path.name: path.stat().st_mtime_ns for path in trained.iterdir()}
    result = call("export", "out", *words)
    assert is_one_line(result), result.output + result.stderr
    assert message in result.stderr
    assert {path.name: path.stat().st_mtime_ns for path in trained.iterdir()} == before


def test_a_learned_solver_is_no_student(trained, monkeypatch):
    monkeypatch.chdir(trained)
    assert call("export", "out", "--method", "bespoke", "--nfe", 2, "--out", "b.safetensors").exit_code == 0
    suite = write(trained, methods=[{"name": "student", "options": {"file": "b.safetensors"}}])
    result = call("run", suite, "--dry-run")
    assert is_one_line(result)
    assert "bespoke is a learned solver, which needs its teacher: it is no student" in result.stderr


def test_an_exported_student_is_no_teacher(trained, monkeypatch):
    monkeypatch.chdir(trained)
    suite = write(trained, teachers={"name": "checkpoint", "file": "sim.safetensors"}, methods=["euler"])
    result = call("run", suite, "--dry-run")
    assert is_one_line(result)
    assert "a sim of fewstep and no denoiser: it is a row, {name: student, file: ...}" in result.stderr
