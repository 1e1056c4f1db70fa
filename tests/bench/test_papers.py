"""The suites of the papers in miniature: every row on tiny networks of the forms that its tables' have."""

import csv

import pytest
import torch
import yaml
from PIL import Image

from fewstep.methods import registry
from fewstep.methods.networks import edm_network
from fewstep.methods.published_networks import NETWORKS
from fewstep.methods.teachers.forms import Checkpoint

from ..methods import published
from . import stand_ins
from .in_process import call, run_in_process
from .test_problems import CONFIG, PAPERS

SUITES = ("diffsampler-edm", "cm-table1", "boot-table1", "dode-noise", "bespoke-table3", "sim-cifar10")
TINY = {"openai": "improved", "ddpm": "ddpm", "torchcfm": "torchcfm"}
"""Form -> the tiny network that stands in; all without labels."""
UNITS = {"iterations": 3, "images": 6, "trajectories": 4, "batches": 1}
SMALL = {
    "batch": 2, "tolerance": 0.1, "nodes": 5, "solver_nfe": 2, "start_steps": 4, "teacher_steps": 4, "scale": 2,
    "phases": [2, 1],
}  # fmt: skip


def write_network(folder, form):
    file = folder / f"{form}.safetensors"
    if form == "edm":
        config = {**CONFIG, "kwargs": {**CONFIG["kwargs"], "label_dim": 0}}
        torch.manual_seed(0)
        Checkpoint(config, edm_network(config).state_dict()).save(file)
    else:
        published.tiny(TINY[form]).save(file)
    return str(file)


def without_lpips(options):
    """Whose weights are not here."""
    return {
        key: without_lpips(value) if isinstance(value, dict) else value
        for key, value in options.items()
        if value != "lpips"
    }


def small(row, suite):
    """The row with little to do: two NFEs that it reaches, three steps, no published weights."""
    row = {"name": row} if isinstance(row, str) else {key: row[key] for key in row.keys() - {"published"}}
    known = registry.method(row["name"]).options.model_fields
    row["options"] = {
        **without_lpips(row.get("options", {})),
        **{key: value for key, value in SMALL.items() if key in known},
    }
    nfe = row.get("nfe", suite["nfe"])
    row["nfe"] = (nfe if isinstance(nfe, list) else [nfe])[:2]
    if registry.method(row["name"]).trains:
        ((unit, _),) = row.get("budgets", suite.get("budgets")).items()
        row["budgets"] = {unit: UNITS.get(unit, [2, 1])}
    return row


def miniature(name, folder):
    """The suite on a folder of images, with a tiny network for each problem."""
    suite = yaml.safe_load((PAPERS / f"{name}.yaml").read_text())
    problems = suite["problems"] if isinstance(suite["problems"], list) else [suite["problems"]]
    for i, problem in enumerate(problems):
        teacher = problem["teacher"]
        file = write_network(folder, NETWORKS[teacher if isinstance(teacher, str) else teacher["file"]].form)
        problem |= {"dataset": str(folder / "photos"), "teacher": {"name": "checkpoint", "file": file, "label": f"{i}"}}
        for key in ("references", "published"):
            problem.pop(key, None)
    suite |= {"problems": problems, "metrics": "rmse", "samples": 2, "truth": {"samples": 2, "tolerance": 0.1}}
    suite |= {"methods": [small(row, suite) for row in suite["methods"]], "device": "cpu"}
    return {key: value for key, value in suite.items() if key not in ("references", "paper")}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in SUITES])
def test_every_row_of_a_papers_suite_runs_in_miniature(tmp_path, monkeypatch, name):
    (tmp_path / "photos").mkdir()
    for i, image in enumerate(stand_ins.images(6, side=8)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "photos" / f"{i}.png")
    run_in_process(monkeypatch)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(miniature(name, tmp_path)))
    result = call("run", tmp_path / "s.yaml", "--out", tmp_path / "out", "--quiet")
    assert result.exit_code == 0, result.output
    with (tmp_path / "out" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert {row["status"] for row in rows} == {"done"}
