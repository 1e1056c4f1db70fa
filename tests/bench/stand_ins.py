"""Weight files of the real form with random numbers, and images to look at."""

import hashlib
from dataclasses import replace

import pytest
import torch

from fewstep.bench import published_files as weights
from fewstep.bench.metrics.extractors import stand_ins as made_up

INCEPTION = "inception-2015-12-05-6726825d.pth"


def register(monkeypatch, folder, *names):
    """The register as if the folder's files were those that are published."""
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(folder))
    for name in names:
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        monkeypatch.setitem(weights.REGISTER, name, replace(weights.REGISTER[name], sha256=digest))


def inception(folder):
    """A file of 96 MB: He-initialised, since features of the default initialisation all but vanish."""
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    rng = torch.Generator().manual_seed(0)
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *args, **options: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *args: None)
        network = fidelity.FeatureExtractorInceptionV3("shapes", ["2048"])
    state = {}
    for name, value in network.state_dict().items():
        if value.ndim > 1:
            state[name] = torch.randn(value.shape, generator=rng) * (2 / value[0].numel()) ** 0.5
        elif name.endswith(("bn.weight", "running_var")):
            state[name] = 0.75 + 0.5 * torch.rand(value.shape, generator=rng)
        elif value.ndim == 1:
            state[name] = 0.3 * torch.randn(value.shape, generator=rng)
        else:
            state[name] = torch.zeros((), dtype=torch.long)
    torch.save(state, folder / INCEPTION)
    return folder / INCEPTION


def perceptual(checkpoints):
    """VGG-16's state dict and LPIPS's list of five in torch.hub's folder."""
    pytest.importorskip("piq")
    pytest.importorskip("torchvision")
    checkpoints.mkdir(parents=True)
    made_up.lpips(checkpoints / "vgg16-397923af.pth", checkpoints / "lpips_weights.pt")
    return checkpoints


def images(count, side=32, channels=3, seed=0):
    """Smooth uint8 images (B, C, side, side): noise alone would look the same to every network."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 5, 5, generator=rng)
    fine = torch.nn.functional.interpolate(coarse, size=side, mode="bilinear")
    return (255 * (0.8 * fine + 0.2 * torch.rand(fine.shape, generator=rng))).to(torch.uint8)
