"""LPIPS as a distance: the code path with random weights in the real files' format, and what is said without them."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fewstep.bench.commands.findings import findings
from fewstep.bench.errors import InputError
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.suite.loading import checked as suite_of
from fewstep.bench.suite.schema import Suite
from fewstep.bench.training.ledger import Ledger, forward_flops
from fewstep.bench.training.loop import fit
from fewstep.bench.training.tracking import NoTracker
from fewstep.datasets import get
from fewstep.methods import assets, registry
from fewstep.methods.distillation.boot import Boot
from fewstep.methods.distillation.consistency import Consistency
from fewstep.methods.distillation.consistency_training import ConsistencyTraining
from fewstep.methods.distillation.dfno import DFNO
from fewstep.methods.distillation.distances import distance
from fewstep.methods.specs.boot import BootOptions
from fewstep.methods.specs.consistency import ConsistencyOptions
from fewstep.methods.specs.consistency_training import ConsistencyTrainingOptions
from fewstep.methods.specs.dfno import DFNOOptions
from fewstep.methods.uses import divided
from fewstep.reports.status import Kind, Status
from fewstep.tests.bench.stand_ins import perceptual
from fewstep.tests.methods import killing

CT_LPIPS = {"variant": {"name": "ct", "distance": "lpips"}}


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def weights(empty_cache):
    return perceptual(empty_cache)


def images(count, channels=1, side=8, seed=0):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_what_is_missing_is_one_line_with_a_command(empty_cache, monkeypatch):
    monkeypatch.setattr(assets, "find_spec", lambda name: None)
    assert str(assets.missing_lpips()) == "missing package piq, get it by `pip install piq torchvision`"
    monkeypatch.setattr(assets, "find_spec", lambda name: name)
    for name in ("vgg16-397923af.pth", "lpips_weights.pt"):
        file, line = empty_cache / name, str(assets.missing_lpips())
        assert line.startswith(f"missing {file}, get it by `curl -L --create-dirs -o {file} https://")
        assert "\n" not in line
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert assets.missing_lpips() is None


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (Consistency, ConsistencyOptions(distance="lpips")),
        (ConsistencyTraining, ConsistencyTrainingOptions(**CT_LPIPS)),
    ],
)
def test_absent_weights_stop_a_method_before_it_is_made(empty_cache, monkeypatch, method, options):
    monkeypatch.setattr(assets, "find_spec", lambda name: name)
    with pytest.raises(FileNotFoundError, match=r"missing .*vgg16-397923af.pth, get it by `curl"):
        method(killing.small_unet(), options)


def test_absent_weights_skip_the_row_before_anything_is_trained(empty_cache, monkeypatch):
    monkeypatch.setattr(assets, "find_spec", lambda name: name)
    for name, options in (("consistency", {"distance": "lpips"}), ("consistency-training", CT_LPIPS)):
        spec = registry.method(name)
        missing = spec.options.model_validate(options).missing()
        assert missing.what == str(empty_cache / "vgg16-397923af.pth")
        assert missing.command.startswith("curl ")
        assert spec.options().missing() is None
        suite = Suite(
            name="x",
            datasets="digits",
            teachers={"name": "pretrain"},
            budgets={"evaluations": 1000},
            nfe=1,
            metrics="rmse",
            methods={"name": name, "options": options},
        )
        assert [advice for what, state, advice in findings(suite) if what.startswith(f"method {name}")] == [
            missing.detail
        ]
        (cell,) = make_plan(suite).cells
        assert cell.skipped == Status(Kind.LACKING, missing.detail)


def test_it_is_piqs_lpips_with_average_pooling(weights):
    """As openai/consistency_models calls it: [0, 1], 224 pixels, no reduction."""
    import piq

    x, y = images(3, 3), images(3, 3, seed=1)
    official = piq.LPIPS(replace_pooling=True, reduction="none")
    scaled = [torch.nn.functional.interpolate((z + 1) / 2, size=224, mode="bilinear") for z in (x, y)]
    torch.testing.assert_close(distance("lpips")(x, y), official(*scaled))


def test_it_is_a_distance_of_grey_images_with_gradients_to_the_student_alone(weights):
    lpips, x, y = distance("lpips"), images(2).requires_grad_(), images(2, seed=1)
    apart = lpips(x, y)
    assert apart.shape == (2,)
    assert (apart > 0).all()
    assert torch.equal(lpips(y, y), torch.zeros(2))
    torch.testing.assert_close(apart, lpips(y, x))
    apart.sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None for p in lpips.network.parameters())
    with pytest.raises(ValueError, match=r"lpips compares images of one or three channels, not samples of \(2,\)"):
        lpips(torch.zeros(4, 2), torch.zeros(4, 2))


@pytest.mark.parametrize(
    ("make", "options"), [(Consistency, ConsistencyOptions), (ConsistencyTraining, ConsistencyTrainingOptions)]
)
def test_its_flops_are_charged_and_its_weights_are_nobodys(weights, tmp_path, make, options):
    given = {"distance": "lpips"} if make is Consistency else CT_LPIPS
    method = make(killing.small_unet(), options(batch=2, **given))
    assert not any("distance" in name or "vgg" in name for name in method.state_dict())
    data = get("digits")
    unit = forward_flops(method.teacher, torch.zeros(2, *data.shape))
    ledger = Ledger(2, "images", unit)
    fit(method, data, 0, ledger, tmp_path, NoTracker())
    # VGG-16's convolutions at 224 x 224 are 15.3 GMACs, as published; two images are compared.
    assert ledger.uses["auxiliary"] / ledger.images == pytest.approx(2 * 2 * 15.35e9, rel=0.01)
    assert ledger.uses["student backward"] / ledger.images > 2 * 15e9


@pytest.mark.parametrize(
    ("make", "options"),
    [(Boot, BootOptions(batch=1, distance="lpips")), (DFNO, DFNOOptions(batch=1, frames=2, distance="lpips"))],
)
def test_methods_without_images_are_charged_for_it_too(weights, make, options):
    """BOOT compares a sample of the batch and one at the boundary, DFNO each of its moments: two images each time."""
    method = make(killing.small_unet(), options)
    with FlopCounterMode(display=False) as counter, divided(counter.get_total_flops) as spent:
        method.training_step({"step": 0}, 0).backward()
    assert spent.finish()["auxiliary"] == pytest.approx(2 * 2 * 2 * 15.35e9, rel=0.01)
    assert any(p.grad.abs().sum() > 0 for p in method.student.parameters() if p.grad is not None)
    assert not any("distance" in name or "vgg" in name for name in method.state_dict())


@pytest.mark.parametrize("name", ["boot", "consistency", "dfno"])
def test_it_is_refused_for_what_is_no_image_and_skipped_where_its_files_are_missing(name, empty_cache, monkeypatch):
    monkeypatch.setattr(assets, "find_spec", lambda package: package)
    text = "{{name: x, datasets: {}, teachers: {}, methods: {}, nfe: 1, metrics: rmse, budgets: {{evaluations: 1000}}}}"
    method = f"{{name: {name}, options: {{distance: lpips}}}}"
    (cell,) = make_plan(suite_of("x", text.format("digits", "{name: pretrain}", method))).cells
    assert cell.skipped.kind is Kind.LACKING
    points = text.format("mixture-2d", "{name: pretrain, network: {name: mlp}}", method)
    message = r"lpips compares images of one or three channels, and mixture-2d's samples have shape \(2,\)"
    with pytest.raises(InputError, match=message):
        suite_of("x", points)
