"""Files in the form of the published weights and statistics, of random numbers: what a rehearsal measures with."""

import io
from pathlib import Path
from pickle import dumps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .statistics import DIMENSIONS

# A task names the hash of each file that it reads.
PART_OF_RESULTS = False

IMAGES = 64
"""What statistics are made of, and how many images lie in a file that has some."""


def inception(file: Path) -> None:
    """96 MB of Inception's weights: He-initialised, since features of the default initialisation all but vanish."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Outline(FeatureExtractorInceptionV3):
        def load_state_dict(self, *state: Any) -> None:
            """Names and shapes are all that is wanted."""

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with torch.device("meta"):
        network = Outline("shapes", ["2048"], feature_extractor_weights_path=empty)
    rng = torch.Generator().manual_seed(0)
    torch.save({name: _weight(name, value, rng) for name, value in network.state_dict().items()}, file)


def _weight(name: str, value: Tensor, rng: torch.Generator) -> Tensor:
    if value.ndim > 1:
        return torch.randn(value.shape, generator=rng) * (2 / value[0].numel()) ** 0.5
    if name.endswith(("bn.weight", "running_var")):
        return 0.75 + 0.5 * torch.rand(value.shape, generator=rng)
    if value.ndim == 1:
        return 0.3 * torch.randn(value.shape, generator=rng)
    return torch.zeros((), dtype=torch.long)


def lpips(vgg: Path, weights: Path) -> None:
    """VGG-16's state dict (its unused classifier without storage) and LPIPS's list of five."""
    from torchvision.models import vgg16

    rng = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in vgg16().state_dict().items()}
    state = {
        name: torch.randn(shape, generator=rng) * (2 / shape[1:].numel()) ** 0.5
        if name.startswith("features")
        else torch.zeros(1).expand(shape)
        for name, shape in shapes.items()
    }
    torch.save(state, vgg)
    torch.save([torch.rand(1, width, 1, 1, generator=rng) for width in (64, 128, 256, 512, 512)], weights)


def statistics(file: Path) -> None:
    """Moments of random features, as the file's name says: EDM2's pickle, ADM's with images, or a mean and covariance
    alone.
    """
    rng = np.random.default_rng(0)
    mu, sigma = _moments(rng, DIMENSIONS["pool"])
    if file.suffix == ".pkl":
        file.write_bytes(dumps({"fid": {"mu": mu, "sigma": sigma}}, protocol=2))
        return
    arrays = {"mu": mu, "sigma": sigma}
    if file.stem.startswith("VIRTUAL"):
        arrays["mu_s"], arrays["sigma_s"] = _moments(rng, DIMENSIONS["spatial"])
        arrays["arr_0"] = rng.integers(0, 256, (IMAGES, 64, 64, 3), dtype=np.uint8)
    with file.open("wb") as opened:
        np.savez(opened, allow_pickle=False, **arrays)


def _moments(rng: np.random.Generator, dimensions: int) -> tuple[Any, Any]:
    features = rng.random((IMAGES, dimensions))
    return features.mean(0), np.cov(features, rowvar=False)
