"""Weight files of the real form with random numbers, and images to look at."""

import hashlib
from dataclasses import replace

import torch

from fewstep.bench import weights


def register(monkeypatch, folder, *names):
    """The register as if the folder's files were those that are published."""
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(folder))
    for name in names:
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        monkeypatch.setitem(weights.REGISTER, name, replace(weights.REGISTER[name], sha256=digest))


def images(count, side=32, channels=3, seed=0):
    """Smooth uint8 images (B, C, side, side): noise alone would look the same to every network."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 5, 5, generator=rng)
    fine = torch.nn.functional.interpolate(coarse, size=side, mode="bilinear")
    return (255 * (0.8 * fine + 0.2 * torch.rand(fine.shape, generator=rng))).to(torch.uint8)
