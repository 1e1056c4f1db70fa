"""Denoisers in closed form: D(x; t) = E[x0 | x_t = x] for a Gaussian, a mixture, a finite data set."""

from typing import Any

import torch
from torch import Tensor

from ..denoiser import Condition, Denoiser
from ..paths import EDM, Path, expand
from ..specs.teachers.exact import ExactOptions


class GaussianDenoiser(Denoiser):
    """Data N(mean, diag(variance)); mean and variance have one sample's shape.

    D = m + alpha v/(alpha^2 v + sigma^2) (x - alpha m).
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, mean: Tensor, variance: Tensor, path: Path) -> None:
        super().__init__(path)
        self.register_buffer("mean", mean)
        self.register_buffer("variance", variance)

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        alpha, sigma = expand(self.path.alpha(t), x), expand(self.path.sigma(t), x)
        gain = alpha * self.variance / (alpha**2 * self.variance + sigma**2)
        return self.mean + gain * (x - alpha * self.mean)

    def on(self, path: Path) -> "GaussianDenoiser":
        return GaussianDenoiser(self.mean, self.variance, path)


class MixtureDenoiser(Denoiser):
    """Data sum_k w_k N(mu_k, v_k I); weights (K,), means (K, ...), variances (K,), a variance may be 0.

    With V_k = alpha^2 v_k + sigma^2 and r_k = softmax(log w_k - d/2 log V_k - |x - alpha mu_k|^2/2V_k):
    D = sum_k r_k [mu_k + alpha v_k/V_k (x - alpha mu_k)]. Computed in float64 whatever x is, so that
    |x - alpha mu|^2 can be expanded into one matrix product.
    """

    weights: Tensor
    means: Tensor
    variances: Tensor

    def __init__(self, weights: Tensor, means: Tensor, variances: Tensor, path: Path) -> None:
        super().__init__(path)
        self.register_buffer("weights", weights.double())
        self.register_buffer("means", means.double())
        self.register_buffer("variances", variances.double())

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        flat, means = x.double().flatten(1), self.means.flatten(1)
        alpha = self.path.alpha(t.double()).reshape(-1, 1)
        sigma = self.path.sigma(t.double()).reshape(-1, 1)
        total = alpha**2 * self.variances + sigma**2
        distance = flat.square().sum(1, keepdim=True) - 2 * alpha * (flat @ means.T) + alpha**2 * means.square().sum(1)
        log_r = self.weights.log() - flat.shape[1] / 2 * total.log() - distance / (2 * total)
        r = log_r.softmax(1)
        gain = r * (alpha * self.variances / total)
        x0 = (r - gain * alpha) @ means + gain.sum(1, keepdim=True) * flat
        return x0.reshape(x.shape)

    def on(self, path: Path) -> "MixtureDenoiser":
        return MixtureDenoiser(self.weights, self.means, self.variances, path)


def ideal_denoiser(images: Tensor, path: Path, bandwidth: float = 0.0) -> MixtureDenoiser:
    """The exact denoiser of a finite data set (N, ...), each image widened to a Gaussian of std `bandwidth`."""
    n = len(images)
    return MixtureDenoiser(torch.full((n,), 1 / n), images, torch.full((n,), bandwidth**2), path)


def exact(options: ExactOptions, data: Any) -> MixtureDenoiser:
    """The exact denoiser of a data set: of the law of a mixture (`weights`, `means`, `stds`), else of its samples."""
    path = EDM(options.sigma_min, options.sigma_max)
    if hasattr(data, "means"):
        return MixtureDenoiser(data.weights, data.means, data.stds**2 + options.bandwidth**2, path)
    return ideal_denoiser(data.samples(torch.arange(len(data))), path, options.bandwidth)
