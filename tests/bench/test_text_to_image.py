"""Suites on text-to-image pipelines: captions encoded once, latents, pictures, scores with captions, training."""

import csv

import pytest
import yaml

pytest.importorskip("diffusers", reason="diffusers is not installed: pip install 'fewstep[diffusers]'")
pytest.importorskip("transformers", reason="transformers is not installed: pip install 'fewstep[text]'")

from fewstep.tests.bench.in_process import call, in_process  # noqa: F401
from fewstep.tests.bench.test_evaluate_captions import coco  # noqa: F401
from fewstep.tests.methods import tiny_pipelines

pytestmark = pytest.mark.usefixtures("in_process", "coco")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return tiny_pipelines.sd(tmp_path_factory.mktemp("pipelines") / "tiny-sd")


def suite(folder, pipeline, *methods, **changes):
    given = {
        "name": "pictures",
        "datasets": "coco2017",
        "teachers": {"name": "pipeline", "folder": str(pipeline), "guidance": 2.0},
        "nfe": [2],
        "samples": 4,
        "truth": {"samples": 2, "tolerance": 1e-2},
        "metrics": ["clip_score", "rmse"],
        "device": "cpu",
    }
    file = folder / "pictures.yaml"
    file.write_text(yaml.safe_dump({**given, "methods": list(methods), **changes}))
    return file


def ran(folder, file):
    result = call("run", file, "--out", folder / "out", "--store", folder / "store")
    assert result.exit_code == 0, result.output + result.stderr
    with (folder / "out" / "results.csv").open() as opened:
        return {(row["method"], row["metric"]): row for row in csv.DictReader(opened)}


def kinds(folder):
    found = (path.name for path in (folder / "store").iterdir() if path.is_dir())
    return [name.partition("-")[0] for name in found if not name.startswith(".")]


def test_a_solver_on_a_guided_pipeline(tmp_path, pipeline):
    found = ran(tmp_path, suite(tmp_path, pipeline, "euler"))
    assert {row["status"] for row in found.values()} == {"done"}
    assert "/AutoencoderKL" in found["euler", "clip_score"]["protocol"]
    assert found["euler", "rmse"]["protocol"].startswith("rmse/latents/float/2/")
    assert float(found["euler", "clip_score"]["forwards"]) == 4
    assert kinds(tmp_path).count("prompts") == 1
