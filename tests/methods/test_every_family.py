"""Every trained method takes two steps, samples, is saved and loaded again on a tiny teacher of every family."""

import math
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from fewstep import datasets
from fewstep.bench.commands.conformance import setup
from fewstep.bench.training.ledger import Ledger
from fewstep.bench.training.loop import fit
from fewstep.bench.training.tracking import NoTracker
from fewstep.methods import saved
from fewstep.methods.networks.dhariwal import DhariwalUNet
from fewstep.methods.networks.song import SongUNet
from fewstep.methods.networks.unet import SmallUNet
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM, FlowOT, VPCosine, VPDiscrete, VPLinear, linear_betas
from fewstep.methods.registry import METHODS
from fewstep.methods.teachers import preconditioned
from fewstep.methods.teachers.pretrained import Pretrained

DATA = datasets.get("digits")
TRAINED = [name for name, spec in METHODS.items() if spec.trains]
STEPS = 4
CHAIN = VPDiscrete(linear_betas(), t_min=1e-3)
TINY = {"model_channels": 8, "channel_mult": [1, 1], "num_blocks": 1, "attn_resolutions": []}
BATCH = 4
OPTIONS = {
    "bespoke": {"trajectories": 4, "nodes": 5, "tolerance": 1e-2},
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


def small(seed=0):
    torch.manual_seed(seed)
    return drawn(SmallUNet(1, 8, (1, 2), embedding=16))


class Unlabelled(nn.Module):
    """EDM's backbones take labels as rows."""

    def __init__(self, model):
        super().__init__()
        self.model = drawn(model)

    def forward(self, x, time, condition=None, embedding=None):
        return self.model(x, time, embedding=embedding)

    def embed(self, time, condition=None):
        return self.model.embed(time)


def diffusers():
    from fewstep.methods.teachers.forms import diffusers

    kwargs = {
        "sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": [8, 8], "layers_per_block": 1,
        "norm_num_groups": 4, "down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2,
    }  # fmt: skip
    torch.manual_seed(0)
    network = drawn(diffusers.library()(**kwargs))
    return diffusers.build({"form": "diffusers", "kwargs": kwargs, "scheduler": None}, network.state_dict())


FAMILIES = {
    "edm": lambda: Pretrained(small(), EDM(0.002, 80.0), "F", preconditioned.c_noise, DATA.shape, sigma_data=0.5),
    "discrete eps": lambda: Pretrained(
        Unlabelled(DhariwalUNet(8, 1, 2, **TINY)), CHAIN, "eps", CHAIN.label, DATA.shape
    ),
    "cosine v": lambda: Pretrained(small(), VPCosine(), "v", lambda t: t, DATA.shape),
    "flow": lambda: Pretrained(small(), FlowOT(), "velocity", lambda t: 1 - t, DATA.shape),
    "continuous eps": lambda: Pretrained(
        Unlabelled(SongUNet(8, 1, 1, **TINY)), VPLinear(t_min=1e-5), "eps", lambda t: 999 * t, DATA.shape
    ),
    "exploding": lambda: Pretrained(
        Unlabelled(SongUNet(8, 1, 1, embedding_type="fourier", **TINY)), EDM(0.02, 100.0), "eps",
        lambda t: torch.log(t / 2), DATA.shape,
    ),
    "diffusers": diffusers,
}  # fmt: skip
OFTEN = ("edm", "discrete eps", "flow", "diffusers")


def teacher(family):
    if family == "diffusers" and find_spec("diffusers") is None:
        pytest.skip("diffusers is not installed: pip install 'fewstep[diffusers]'")
    found = preconditioned.denoiser(FAMILIES[family](), 0.01, 40.0)
    found.sample_shape, found.sample_bound = tuple(DATA.shape), DATA.bound
    return found.requires_grad_(False).eval()


def cases():
    for family in FAMILIES:
        marks = [] if family in OFTEN else [pytest.mark.slow]
        yield from (pytest.param(name, family, marks=marks, id=f"{name} on {family}") for name in TRAINED)


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
