"""Suites on text-to-image pipelines: captions encoded once, latents, pictures, scores with captions, training."""

import csv
import json

import pytest
import yaml

pytest.importorskip("diffusers", reason="diffusers is not installed: pip install 'fewstep[diffusers]'")
pytest.importorskip("transformers", reason="transformers is not installed: pip install 'fewstep[text]'")

from fewstep.methods.registry import METHODS, data_free
from fewstep.tests.bench.in_process import call, in_process  # noqa: F401
from fewstep.tests.bench.test_evaluate_captions import coco  # noqa: F401
from fewstep.tests.methods import tiny_pipelines

pytestmark = pytest.mark.usefixtures("in_process", "coco")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return tiny_pipelines.sd(tmp_path_factory.mktemp("pipelines") / "tiny-sd")


@pytest.fixture(scope="module")
def smooth(tmp_path_factory):
    return tiny_pipelines.sd(tmp_path_factory.mktemp("pipelines") / "tiny-v", prediction="v_prediction")


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


def ran(folder, file, store=None):
    result = call("run", file, "--out", folder / "out", "--store", store or folder / "store")
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


OPTIONS = {
    "bespoke": {"trajectories": 2, "nodes": 5, "tolerance": 1.0},
    "d-ode": {"scale": 2, "batch": 2},
    "iia": {"batch": 2},
    "dfno": {"frames": 2, "solver_nfe": 4, "modes": 1},
    "progressive": {"start_steps": 4},
    "tract": {"teacher_steps": 4, "phases": [1]},
    "knowledge": {"solver_nfe": 2},
    "rectified-flow": {"solver_nfe": 2},
}
"""Of methods that would take minutes with their own."""
BUDGET = {"bespoke": 2000}
FORWARDS = {"dfno": 2}
"""Of a student that makes several moments of the path at once."""
NFE = {"bespoke": 2, "d-ode": 2, "iia": 3, "rectified-flow": 2}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(name for name, spec in METHODS.items() if spec.trains))
def test_every_method_trains_on_a_pipeline_and_is_scored(tmp_path, pipeline, smooth, store, method):
    spec = METHODS[method]
    options = {**({"batch": 2} if "batch" in spec.options.model_fields else {}), **OPTIONS.get(method, {})}
    row = {"name": method, "options": options, "nfe": NFE.get(method, 1)}
    # The paths of a random network are smooth where it predicts v.
    source = smooth if method == "bespoke" else pipeline
    file = suite(tmp_path, source, row, budgets={"evaluations": BUDGET.get(method, 60)}, metrics=["clip_score"])
    found = ran(tmp_path, file, store)[method, "clip_score"]
    assert found["status"] == "done"
    assert 0 < float(found["train_evaluations"]) <= BUDGET.get(method, 60)
    # A student is one network, a learned solver asks the guided teacher.
    assert float(found["forwards"]) == row["nfe"] * FORWARDS.get(method, 1 if spec.needs_network else 2)
    trained = [path for path in store.iterdir() if path.name.startswith("train-")]
    reads = {role for path in trained for role in json.loads((path / "manifest.json").read_text())["inputs"]}
    assert ("latents" in reads) or data_free(spec)
    assert (float(found["latent_flops"] or 0) > 0) != data_free(spec)
    assert float(found["conditioning_flops"]) > 0
