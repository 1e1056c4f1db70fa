"""DFNO and knowledge distillation in several steps as rows of a suite."""

import csv

import pytest

from fewstep.tests.bench.in_process import call, in_process, write_suite

__all__ = ["in_process"]

TEACHER = {"name": "pretrain", "network": {"name": "mlp", "width": 32, "blocks": 2}, "images": 20_000}
METHODS = [
    {"name": "dfno", "nfe": 1, "options": {"batch": 32}},
    {"name": "knowledge", "nfe": 4, "options": {"batch": 32, "loss": "lte", "steps": 4}},
    {"name": "knowledge", "nfe": 2, "options": {"batch": 32, "loss": "lte", "steps": 2}},
]


@pytest.mark.slow
def test_a_suite_has_their_rows_with_what_a_sample_takes(tmp_path, in_process):
    suite = write_suite(tmp_path, teachers=TEACHER, methods=METHODS, nfe=[1, 2, 4], budgets={"evaluations": 30_000})
    assert call("run", suite, "--out", tmp_path / "out", "--quiet").exit_code == 0
    with (tmp_path / "out" / "results.csv").open() as file:
        rows = {(row["method"], row["nfe"]): row for row in csv.DictReader(file)}
    assert {key: row["status"] for key, row in rows.items()} == {
        ("dfno", "1"): "done",
        ("knowledge", "2"): "done",
        ("knowledge", "4"): "done",
    }
    assert {key: float(row["forwards"]) for key, row in rows.items()} == {
        ("dfno", "1"): 4,
        ("knowledge", "2"): 2,
        ("knowledge", "4"): 4,
    }
    for row in rows.values():
        assert 25_000 < float(row["train_evaluations"]) <= 30_000
