"""The scores of a cell's samples beside the teacher's exact solutions."""

import math

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from fewstep.bench.metrics import psnr_per_image
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.results import write as outputs
from fewstep.bench.run import runner, worker
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import load
from fewstep.datasets.prepare import prepare
from fewstep.datasets.specs.cifar10 import CLASSES
from fewstep.methods.distillation.perceptual import Perceptual
from fewstep.reports import leaderboard
from fewstep.reports.jackknife import bounds
from fewstep.tests.bench.stand_ins import images, perceptual

SUITE = (
    "{name: s, datasets: cifar10, teachers: {name: exact, bandwidth: 0.1}, budgets: {evaluations: 1}, nfe: 4,"
    " samples: 6, truth: {samples: 4, tolerance: 1.0e-2}, metrics: [rmse, psnr, lpips], methods: [{name: euler}],"
    " device: cpu}"
)


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """(metrics, samples, truths) of Euler on the ideal denoiser of ten images."""
    for name, pixels in zip(CLASSES, images(10).permute(0, 2, 3, 1).numpy(), strict=True):
        (tmp_path / "source" / name).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "source" / name / "0.png")
    prepare("cifar10", tmp_path / "source", tmp_path / "data", lambda file, count: None)
    monkeypatch.setenv("FEWSTEP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    perceptual(tmp_path / "hub" / "checkpoints")
    (tmp_path / "suite.yaml").write_text(SUITE)
    plan, store = make_plan(load(str(tmp_path / "suite.yaml"))), Store(tmp_path / "store")
    store.prepare()
    for task in plan.tasks():
        assert worker.execute(task.to_json(), store) == ("done", None)
    made = {task.kind: runner.look_up([task], store).artifacts[task.name] for task in plan.tasks()}
    arrays = [load_file(made[kind].file(f"{kind}s.safetensors" if kind == "sample" else "truth.safetensors"))["x0"]
              for kind in ("sample", "truth")]  # fmt: skip
    return made["score"].result["metrics"], *arrays


def test_rmse_psnr_and_lpips_are_means_over_the_samples_that_have_a_truth(scored):
    metrics, x0, truths = scored
    x0 = x0[: len(truths)]
    assert len(truths) == 4
    expected = {
        "rmse": (x0.double() - truths.double()).square().flatten(1).mean(1).sqrt(),
        "psnr": psnr_per_image(x0, truths),
        "lpips": Perceptual.load()(x0.float(), truths.float()).detach(),
    }
    for name, per_sample in expected.items():
        assert metrics[name]["value"] == pytest.approx(float(per_sample.mean()), rel=1e-5), name
        assert metrics[name]["samples"] == 4
        assert metrics[name]["protocol"].startswith(f"{name}/")
        rest = [torch.cat([per_sample[:a], per_sample[b:]]).mean().item() for a, b in bounds(4)]
        assert metrics[name]["without"] == pytest.approx(rest, rel=1e-5)


def test_one_truth_has_a_value_and_no_standard_error(tmp_path):
    (tmp_path / "suite.yaml").write_text(
        "{name: s, datasets: mixture-2d, teachers: {name: exact}, budgets: {evaluations: 1}, nfe: 2, samples: 2,"
        " truth: {samples: 1, tolerance: 1.0e-3}, metrics: rmse, methods: [{name: euler}], device: cpu}"
    )
    plan, store = make_plan(load(str(tmp_path / "suite.yaml"))), Store(tmp_path / "store")
    store.prepare()
    for task in plan.tasks():
        assert worker.execute(task.to_json(), store) == ("done", None)
    (tmp_path / "out").mkdir()
    outputs.write(plan, runner.look_up(plan.tasks(), store), tmp_path / "out")
    (entry,) = leaderboard.read(tmp_path / "out").entries
    assert entry.values["rmse"][0] > 0
    assert math.isnan(entry.errors("rmse")[0])
