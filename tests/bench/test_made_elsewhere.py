"""Rows made elsewhere, through the whole house: student, images, ground-truth."""

import csv

import numpy as np
import pytest
import torch
import yaml
from fewstep.tests.bench.in_process import call, in_process, is_one_line  # noqa: F401
from safetensors.torch import load_file
from fewstep.tests.bench.test_checkpoints import CONFIG, network

from fewstep.bench.plan.cells import make_plan
from fewstep.bench.stages import sample
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import load
from fewstep.methods.teachers.checkpoint import Checkpoint
from fewstep.reports import leaderboard

pytestmark = pytest.mark.usefixtures("in_process")

SUITE = {
    "name": "small",
    "datasets": "digits",
    "teachers": {"name": "shipped", "file": "digits-unet-128k"},
    "nfe": [1, 2],
    "seeds": [0, 1],
    "samples": 32,
    "truth": {"samples": 4, "tolerance": 1e-3},
    "metrics": ["fd_digits", "rmse"],
    "device": "cpu",
    "methods": [
        "euler",
        "dpmpp-2m",
        "ipndm",
        {"name": "student", "options": {"file": "few.safetensors", "kind": "consistency", "levels": [80, 1.5]}},
        {"name": "images", "nfe": 1, "options": {"from": "made.npz"}},
        {"name": "ground-truth"},
    ],
}  # fmt: skip


def write(folder, **changes):
    config = {**CONFIG, "kwargs": {**CONFIG["kwargs"], "label_dim": 0}}
    Checkpoint(config, {k: v for k, v in network().state_dict().items() if "map_label" not in k}).save(
        folder / "few.safetensors"
    )
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    np.savez(folder / "made.npz", pixels)
    (folder / "suite.yaml").write_text(yaml.safe_dump({**SUITE, **changes}, sort_keys=False))
    return folder / "suite.yaml"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        from fewstep.tests.bench.in_process import run_in_process

        run_in_process(patch)
        patch.chdir(folder)
        result = call("run", write(folder), "--out", "out")
        assert result.exit_code == 0, result.output + result.stderr
    return folder, result


def rows(folder):
    with (folder / "out" / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_rows(ran):
    folder, result = ran
    print(result.output)
    for row in rows(folder):
        print({k: row[k] for k in ("teacher", "method", "variant", "budget", "seed", "nfe", "metric", "value", "status", "rules", "protocol","flops_per_image", "train_flops")})
    assert 0
