"""Scores of images with their captions in suites: of rows that were made of captions, and of no others."""

import csv
from dataclasses import replace

import pytest
import yaml

from fewstep.bench.plan.captions import NO_CAPTIONS
from fewstep.bench.plan.problem import problems
from fewstep.bench.suite.loading import load
from fewstep.tests.bench.in_process import call, in_process  # noqa: F401
from fewstep.tests.bench.test_evaluate_captions import coco, drawn  # noqa: F401

pytestmark = pytest.mark.usefixtures("in_process", "coco")


def rows(out):
    with (out / "results.csv").open() as file:
        return list(csv.DictReader(file))


def suite(folder, *methods, **changes):
    given = {"name": "captioned", "datasets": "coco2017", "nfe": [1], "samples": 4, "metrics": ["clip_score"]}
    file = folder / "captioned.yaml"
    file.write_text(yaml.safe_dump({**given, "methods": list(methods), "device": "cpu", **changes}))
    return file


def test_an_images_row_is_scored_with_the_captions_in_order(tmp_path):
    made = drawn(tmp_path / "made", 4)
    file = suite(tmp_path, {"name": "images", "options": {"from": str(made)}})
    result = call("run", file, "--out", tmp_path / "out", "--store", tmp_path / "store")
    assert result.exit_code == 0, result.stderr
    (row,) = rows(tmp_path / "out")
    assert float(row["value"]) == pytest.approx(sum(3 * i + i * i + 1 for i in range(4)) / 4)
    assert row["protocol"].startswith("clip_score/clip@w/resize/round/4/captions@")
    evaluated = call(
        "evaluate", made, "--dataset", "coco2017", "--metrics", "clip_score", "--device", "cpu", "--out", tmp_path / "e"
    )
    assert evaluated.exit_code == 0, evaluated.stderr
    (alone,) = rows(tmp_path / "e")
    assert (alone["value"], alone["protocol"]) == (row["value"], row["protocol"])
    # Each image has a score of its own: the mean has the jackknife's error.
    assert (tmp_path / "out" / "blocks.csv").read_text().count("clip_score") == 1


def test_without_the_archive_the_row_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSTEP_DATA", str(tmp_path / "elsewhere"))
    made = drawn(tmp_path / "made", 4)
    file = suite(tmp_path, {"name": "images", "options": {"from": str(made)}})
    said = call("run", file, "--dry-run", "--store", tmp_path / "store").output
    assert "fewstep prepare coco2017" in said
    assert "0 of 1 cells can run here" in said


def test_a_network_that_is_told_no_captions_has_no_such_score_and_says_why(tmp_path):
    file = suite(tmp_path, "euler", teachers={"name": "exact"}, datasets="mixture-8x8", metrics=["fd_law"])
    plain = load(str(file))
    told = plain.model_copy(update={"datasets": ["coco2017"], "metrics": ["clip_score", "rmse"]})
    (problem,) = problems(told)
    assert problem.undefined == {"clip_score": NO_CAPTIONS}
    assert replace(problem, pictured=True).undefined == {}
