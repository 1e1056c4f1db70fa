"""What a rehearsal measures with: random features, and files in the form of published weights and statistics."""

from pathlib import Path
from pickle import dumps
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .network import FeatureNetwork
from .statistics import DIMENSIONS

# A task names the hash of each file that it reads.
PART_OF_RESULTS = False

IMAGES = 64
"""What statistics are made of, and how many images lie in a file that has some."""


LOGITS = 1008
SIDE, CELLS = 64, 16
"""Pixels that an image is resized to, and means of them that are projected."""


class Projection(FeatureNetwork):
    """The features of Inception or DINOv2 by name, each a random projection of the image's coarse pixels."""

    def __init__(self, resize: str) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.resize = resize
        sizes = {**DIMENSIONS, "logits": LOGITS}
        weights = {name: torch.randn(3 * CELLS**2, size, generator=rng) / CELLS for name, size in sizes.items()}
        self.weights = nn.ParameterDict(weights)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        pixels = self.pixels(images, self.resize, SIDE) / 127.5 - 1
        means = functional.adaptive_avg_pool2d(pixels, CELLS).flatten(1)
        return {name: means @ weight for name, weight in self.weights.items()}


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


EDM2 = "fid"
"""Under which EDM2's pickles keep the moments."""


def statistics(file: Path) -> None:
    """Moments of random features, as the file's name says: EDM2's pickle, ADM's with images, or a mean and covariance
    alone.
    """
    rng = np.random.default_rng(0)
    mu, sigma = _moments(rng, DIMENSIONS["pool"])
    if file.suffix == ".pkl":
        file.write_bytes(dumps({EDM2: {"mu": mu, "sigma": sigma}}, protocol=2))
        return
    arrays = {"mu": mu, "sigma": sigma}
    if file.stem.startswith("VIRTUAL"):
        arrays["mu_s"], arrays["sigma_s"] = _moments(rng, DIMENSIONS["spatial"])
        arrays["arr_0"] = rng.integers(0, 256, (IMAGES, 64, 64, 3), dtype=np.uint8)
    with file.open("wb") as opened:
        np.savez(opened, allow_pickle=False, **arrays)


def _moments(rng: np.random.Generator, dimensions: int) -> tuple[Any, Any]:
    features = rng.standard_normal((IMAGES, dimensions))
    # Of full rank, as those of whole data sets are.
    return features.mean(0), np.cov(features, rowvar=False) + 1e-2 * np.eye(dimensions)
