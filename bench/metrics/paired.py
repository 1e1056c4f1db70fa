"""How near samples are to the teacher's own from the same noise: images in pixels, features by their geometry."""

import math
from typing import Any

import torch
from torch import Tensor

from .arrays import as_features

ELEMENTS = 2**22
"""Pixels held at a time in float64."""


def rmse_per_image(x: Tensor, exact: Tensor) -> Tensor:
    """Root mean square distance per pixel of each of samples (N, ...) to its exact solution, (N,) float64."""
    return _mean_squares(x, exact).sqrt()


def rmse(x: Tensor, exact: Tensor) -> float:
    """The mean of `rmse_per_image`."""
    return float(rmse_per_image(x, exact).mean())


def psnr(x: Tensor, exact: Tensor, span: float = 2.0) -> float:
    """10 log10(span^2 / MSE) over all pixels of images (N, ...), in dB; infinite for equal images.

    `span` is the pixels' range: 2 on [-1, 1], 1 on [0, 1]. Not the mean of `psnr_per_image`, and never above it.
    """
    error = _squared_errors(x, exact).mean().item()
    return 10 * math.log10(span**2 / error) if error else math.inf


def psnr_per_image(x: Tensor, exact: Tensor, span: float = 2.0) -> Tensor:
    """The same of each image by itself, (N,) float64."""
    return 10 * torch.log10(span**2 / _squared_errors(x, exact))


def linear_cka(x: Any, y: Any) -> float:
    """|Yc^T Xc|_F^2 / (|Xc^T Xc|_F |Yc^T Yc|_F) of features (N, Dx), (N, Dy) of the same N inputs, float64, in [0, 1].

    1 for features that differ by a rotation, a shift and a scale (Kornblith et al. 2019, section 3).
    Raises ValueError for different N, for features that do not vary, and as `frechet_distance` does.
    """
    a, b = (as_features(part, name).double() for part, name in ((x, "first"), (y, "second")))
    if len(a) != len(b):
        raise ValueError(f"features are of {len(a)} inputs and of {len(b)}")
    a, b = a - a.mean(0), b - b.mean(0)
    norms = _inner(a, a).sqrt() * _inner(b, b).sqrt()
    if not norms > 0:
        raise ValueError("features that do not vary have no alignment")
    return float(_inner(a, b) / norms)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """|b^T a|_F^2, from the smaller of the products that give it."""
    if len(a) < min(a.shape[1], b.shape[1]):
        return ((a @ a.T) * (b @ b.T)).sum()
    return (b.T @ a).square().sum()


def _squared_errors(x: Tensor, exact: Tensor) -> Tensor:
    """Mean over the pixels of each image, (N,) float64."""
    if x.shape != exact.shape or x.ndim < 2:
        raise ValueError(f"images (N, ...) must be of one shape, not {tuple(x.shape)} and {tuple(exact.shape)}")
    return _mean_squares(x, exact)


def _mean_squares(x: Tensor, exact: Tensor) -> Tensor:
    size = max(1, ELEMENTS // max(1, x[:1].numel()))
    parts = zip(x.split(size), exact.split(size), strict=True)
    return torch.cat([(a.double() - b.double()).square().flatten(1).mean(1) for a, b in parts])
