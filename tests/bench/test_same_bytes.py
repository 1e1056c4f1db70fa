"""Two runs of one training write the same file, whatever the order of Python's sets."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from fewstep.bench.training.ledger import Ledger, forward_flops
from fewstep.bench.training.loop import fit
from fewstep.bench.training.tracking import NoTracker
from fewstep.datasets.base import ImageSet
from fewstep.methods import registry, saved
from fewstep.methods.denoiser import EDMDenoiser
from fewstep.methods.networks.unet import SmallUNet
from fewstep.methods.paths import EDM


def train(folder: Path) -> Path:
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher = EDMDenoiser(SmallUNet(1, 8, (1,)), 0.5, EDM())
        data = ImageSet("noise", torch.randint(256, (16, 1, 8, 8), dtype=torch.uint8))
    teacher.sample_shape, teacher.sample_bound = (1, 8, 8), 1.0
    spec = registry.method("progressive")
    options = spec.options.model_validate({"start_steps": 4, "batch": 4})
    method = spec.load()(teacher, options, seed=0)
    fit(method, data, 0, Ledger(12, "iterations", forward_flops(teacher, torch.zeros(2, 1, 8, 8))), folder, NoTracker())
    saved.save(method, "progressive", options, folder / "student.safetensors")
    return folder / "student.safetensors"


def test_the_same_student_has_the_same_bytes(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    here = train(tmp_path / "here").read_bytes()
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    code = (
        "import sys, pathlib; from fewstep.tests.bench.test_same_bytes import train; train(pathlib.Path(sys.argv[1]))"
    )
    elsewhere = tmp_path / "elsewhere"
    subprocess.run([sys.executable, "-c", code, elsewhere], check=True, env={**os.environ, "PYTHONHASHSEED": seed})
    assert (elsewhere / "student.safetensors").read_bytes() == here
