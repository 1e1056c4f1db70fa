"""Precision, memory format and compilation as options of a suite: part of what a row is."""

import csv

import pytest

from fewstep.bench.plan.cells import make_plan
from fewstep.bench.suite.loading import load
from fewstep.methods import computing
from fewstep.tests.bench.in_process import call, in_process, is_one_line, write_suite

__all__ = ["in_process"]

SUITE = {
    "datasets": "mixture-8x8",
    "teachers": {"name": "pretrain", "images": 1_280, "network": {"name": "unet", "channels": 8, "blocks": 1}},
    "budgets": {"evaluations": 2_000},
    "samples": 32,
    "metrics": ["rmse", "fd_law"],
    "methods": [{"name": "euler"}, {"name": "consistency", "options": {"batch": 16}}],
}
OPTIONS = {"precision": "bf16", "channels_last": True, "compile": True}


def rows(out):
    with (out / "results.csv").open() as file:
        return {(row["method"], row["metric"]): row for row in csv.DictReader(file)}


def test_rows_say_how_their_networks_were_computed_and_differ_by_it(in_process, monkeypatch, tmp_path):
    monkeypatch.setattr(computing, "BACKEND", "eager")
    plain, other = tmp_path / "plain", tmp_path / "other"
    suite = write_suite(tmp_path, **SUITE)
    given = [f"--set={name}={str(value).lower()}" for name, value in OPTIONS.items()]
    for out, options in ((plain, []), (other, given)):
        done = call("run", suite, "--out", out, "--store", tmp_path / "store", "--quiet", *options)
        assert done.exit_code == 0, (done.output, done.exception)
    first, second = rows(plain), rows(other)
    assert first.keys() == second.keys()
    for key, row in second.items():
        assert row["status"] == first[key]["status"] == "done"
        assert row["teacher"] == f"{first[key]['teacher']} (bf16, channels last, compiled)"
        assert row["cell"] != first[key]["cell"]
        assert float(row["value"]) == pytest.approx(float(first[key]["value"]), rel=0.1)
        assert row["value"] != first[key]["value"]
        # What is counted is what a float32 run counts.
        for counted in ("train_flops", "train_evaluations", "flops_per_image", "forwards"):
            assert row[counted] == first[key][counted]
    both = call("leaderboard", plain, other)
    assert both.exit_code == 0
    assert "(bf16, channels last, compiled)" in " ".join(both.output.split())


def tasks(folder, **changes):
    plan = make_plan(load(write_suite(folder, **{**SUITE, **changes}), ()))
    return {(task.kind, task.label): task for task in plan.tasks()}


@pytest.mark.parametrize(("name", "value"), OPTIONS.items())
def test_each_option_is_part_of_trainings_and_samples_and_of_nothing_that_they_are_compared_with(tmp_path, name, value):
    plain, other = tasks(tmp_path), tasks(tmp_path, **{name: value})
    assert plain.keys() == other.keys()
    changed = {kind for kind, label in plain if plain[kind, label].params != other[kind, label].params}
    assert changed == {"train", "sample"}
    assert all(name not in task.asked for task in plain.values())


def test_nothing_is_trained_in_fp16(tmp_path):
    out = tmp_path / "out"
    result = call("run", write_suite(tmp_path, **SUITE, precision="fp16"), "--out", out)
    assert is_one_line(result)
    assert "consistency is trained, and small gradients are 0 in fp16; set precision: bf16" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize("wrong", [{"precision": "int8"}, {"compile": "maybe"}, {"channels_last": 2}])
def test_what_is_no_option_is_one_line(tmp_path, wrong):
    assert is_one_line(call("run", write_suite(tmp_path, **{**SUITE, **wrong}), "--dry-run"))
