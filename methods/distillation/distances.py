"""Distances between a student's output and its target: (x, y), each (B, ...), to one number per sample (B,).

Beside them the weights of the noise levels that several losses share.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Distance = Callable[[Tensor, Tensor], Tensor]


def l1(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).abs().flatten(1).mean(1)


def l2(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().flatten(1).mean(1)


def pseudo_huber(x: Tensor, y: Tensor, c: float | None = None) -> Tensor:
    """sqrt(|x - y|^2 + c^2) - c on the vector norm; c = 0.00054 sqrt(d) unless given.

    Source: song2023improved, eq. 8. c = 0 is the norm itself, whose gradient at x = y is taken as 0.
    """
    difference = (x - y).flatten(1)
    c = 0.00054 * difference.shape[1] ** 0.5 if c is None else c
    # The norm of (x - y, c): torch gives it a gradient where it is 0.
    return torch.linalg.vector_norm(torch.nn.functional.pad(difference, (0, 1), value=c), dim=1) - c


DISTANCES: dict[str, Distance] = {"l1": l1, "l2": l2, "pseudo-huber": pseudo_huber}


def distance(name: str) -> Distance:
    """The distance that an option names; "lpips" loads its network. FileNotFoundError where that is missing."""
    if name == "lpips":
        from .perceptual import Perceptual

        return Perceptual.load()
    return DISTANCES[name]


def snr_weight(name: str, t: Tensor, sigma_data: float) -> Tensor:
    """A loss's weight at the noise level t = sigma/alpha, in t's shape; snr = t^-2 (cm/karras_diffusion.py)."""
    snr = t**-2
    weights = {
        "uniform": lambda: torch.ones_like(t),
        "snr": lambda: snr,
        "snr+1": lambda: snr + 1,
        "karras": lambda: snr + 1 / sigma_data**2,
        "truncated-snr": lambda: snr.clamp(min=1),
    }
    return weights[name]()
