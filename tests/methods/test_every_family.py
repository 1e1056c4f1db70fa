"""Every trained method takes two steps, samples, is saved and loaded again on a tiny teacher of every family."""

import math
from importlib.util import find_spec

import pytest
import torch

from fewstep.bench.commands.conformance import setup
from fewstep.bench.training.ledger import Ledger
from fewstep.bench.training.loop import fit
from fewstep.bench.training.tracking import NoTracker
from fewstep.datasets.base import ImageSet
from fewstep.methods import saved
from fewstep.methods.networks.edm import edm_network
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.registry import METHODS
from fewstep.methods.teachers import forms, preconditioned
from fewstep.methods.teachers.forms import Checkpoint
from fewstep.tests.methods import published

CLASSES = 4
IMAGES = torch.randint(256, (64, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
DATA = ImageSet("tiny", IMAGES, torch.arange(64) % CLASSES, classes=CLASSES)
TRAINED = [name for name, spec in METHODS.items() if spec.trains]
STEPS = 2
BATCH = 2
OPTIONS = {
    "bespoke": {"trajectories": 2, "nodes": 5, "tolerance": 1.0},
    "d-ode": {"scale": 2},
    "iia": {"substeps": 2},
    "knowledge": {"solver_nfe": 2},
    "rectified-flow": {"solver_nfe": 2},
    "dmd": {"solver_nfe": 2},
    "progressive": {"start_steps": 2, "last_shares": (1.0, 1.0)},
    "tract": {"teacher_steps": 4, "phases": (2, 1)},
}
REFUSED: dict[tuple[str, str], str] = {}
"""(method, family) -> the reason, which `fewstep list methods` shows too."""


def drawn(network):
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.15 * torch.randn(parameter.shape, generator=rng))
    return network


def edm(precond, model="SongUNet", **options):
    kwargs = {
        "img_resolution": 8, "img_channels": 3, "model_type": model, "model_channels": 16, "channel_mult": [1, 2],
        "num_blocks": 1, "attn_resolutions": [4], **options,
    }  # fmt: skip
    config = {"precond": precond, "kwargs": kwargs}
    return Checkpoint(config, drawn(edm_network(config)).state_dict())


def diffusers():
    if find_spec("diffusers") is None:
        pytest.skip("diffusers is not installed: pip install 'fewstep[diffusers]'")
    from fewstep.methods.teachers.forms import diffusers

    kwargs = {
        "sample_size": 8, "in_channels": 3, "out_channels": 3, "block_out_channels": [8, 8], "layers_per_block": 1,
        "norm_num_groups": 4, "down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2,
    }  # fmt: skip
    network = drawn(diffusers.library()(**kwargs))
    chain = {"prediction_type": "v_prediction"}
    return Checkpoint({"form": "diffusers", "kwargs": kwargs, "scheduler": chain}, network.state_dict())


FAMILIES = {
    "EDM": lambda: edm("EDMPrecond"),
    "EDM's VP": lambda: edm("VPPrecond", label_dim=CLASSES),
    "EDM's VE": lambda: edm("VEPrecond", embedding_type="fourier"),
    "EDM's iDDPM": lambda: edm("iDDPMPrecond", "DhariwalUNet"),
    **{name: (lambda name=name: published.tiny(name)) for name in published.NETWORKS},
    "diffusers": diffusers,
}
OFTEN = ("EDM", "improved", "torchcfm", "diffusers")
"""EDM's own F, eps with a learned variance, a flow's velocity, v."""


def teacher(family):
    pretrained = forms.build(FAMILIES[family]())
    found = preconditioned.denoiser(pretrained, 0.01, 40.0)
    found.sample_shape, found.sample_bound = DATA.shape, DATA.bound
    found.class_counts = (16,) * CLASSES if pretrained.classes else None
    return found.requires_grad_(False).eval()


def cases():
    """Each method on two of what is run OFTEN, which take turns; all others with --slow."""
    for i, name in enumerate(TRAINED):
        often = (OFTEN[i % 4], OFTEN[(i + 1 + i // 4 % 3) % 4])
        for family in FAMILIES:
            marks = [] if family in often else [pytest.mark.slow]
            yield pytest.param(name, family, marks=marks, id=f"{name} on {family}")


def first_nfe(spec, options):
    """The smallest number of evaluations that the method samples in."""
    for nfe in range(1, 9):
        try:
            spec.steps_for(nfe, options)
        except UnreachableNFE:
            continue
        return nfe
    raise AssertionError(f"{spec.name} samples in no NFE up to 8")


@pytest.mark.parametrize(("name", "family"), list(cases()))
def test_every_method_trains_samples_and_is_kept_on_every_family(tmp_path, name, family):
    spec, found = METHODS[name], teacher(family)
    options = spec.options.model_validate({**OPTIONS.get(name, {}), "batch": BATCH})
    nfe = max(first_nfe(spec, options), 2 if name in ("iia", "bespoke") else 1)
    if (name, family) in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name, family]):
            setup.method(spec, options, found, nfe)
        return
    method = setup.method(spec, options, found, nfe)
    method.quality = lambda x0: float(x0.double().std())
    before = {key: value.clone() for key, value in found.state_dict().items()}
    ledger = Ledger(STEPS * BATCH, "images", 1.0)
    fit(method, DATA, method.seed, ledger, tmp_path, NoTracker())
    assert ledger.steps >= 1
    assert all(torch.equal(before[key], value) for key, value in found.state_dict().items())
    x0 = setup.sampled(method.eval(), nfe, range(3))
    assert x0.shape == (3, *DATA.shape)
    assert math.isfinite(float(x0.sum()))
    saved.save(method, name, options, tmp_path / "method.safetensors", nfe if spec.per_nfe else None)
    again = saved.load(tmp_path / "method.safetensors", found)
    assert torch.equal(setup.sampled(again.eval(), nfe, range(3)), x0)
