"""Every published network as one with EDM's preconditioning (Karras et al. 2022, table 1), which all methods take.

A network that was trained on another path is asked there, and what it says is written as EDM's F of data with
sigma_data = 1. With s the noise level, x = x0 + s eps the state on EDM's path and u = c_in x = x/sqrt(1 + s^2) what
an EDM network is given:

    c_skip = 1/(1 + s^2),  c_out = s/sqrt(1 + s^2),  D = c_skip x + c_out F

    v on a variance-preserving path, whose state is u     F = -v(u)
    eps there                                             F = s u - sqrt(1 + s^2) eps(u)
    x0 there                                              F = (sqrt(1 + s^2) x0(u) - u)/s
    velocity of a flow, whose state is x/(1 + s)          F = ((s - 1) u - sqrt(1 + s^2) velocity)/(1 + s)

All of them are linear, F = a u + b output, with a and b from the path's own formulas.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ..denoiser import (
    X0_FROM,
    Condition,
    Denoiser,
    EDMDenoiser,
    NetworkDenoiser,
)
from ..networks.embedding import embed_of
from ..paths import EDM, axpby, expand
from ..scalings import as_number, factor, parameter_dtype, time_dtype
from .pretrained import Pretrained


def c_noise(sigma: Tensor) -> Tensor:
    """EDM's time: a Pretrained whose `time_of` is this function has a network that is called as it is."""
    return torch.log(sigma) / 4


class Told(nn.Module):
    """F(u, c_noise, condition) of a network that is told its noise level as `time_of` a time on `path`.

    u: (B, ...); c_noise: (B,) float64, from which that time is found without loss. `embedding` stands for
    embed(c_noise, condition) where it is given. x is cast to the network's dtype, its time never below float32.
    """

    casts_itself = True
    network: Any

    def __init__(self, pretrained: Pretrained) -> None:
        super().__init__()
        self.network, self.time_of = pretrained.network, pretrained.time_of
        self.path, self.prediction = pretrained.path, pretrained.prediction

    def forward(
        self, u: Tensor, c_noise: Tensor, condition: Condition = None, embedding: Tensor | None = None
    ) -> Tensor:
        return self.said(u, self.time_at(torch.exp(4 * c_noise.double())), condition, embedding)

    def embed(self, c_noise: Tensor, condition: Condition = None) -> Tensor:
        """The network's embedding of the noise level that c_noise (B,) stands for, and of the condition."""
        t = self.time_at(torch.exp(4 * c_noise.double()))
        return embed_of(self.network)(self._named(t), condition)

    def identity(self) -> str:
        """How the weights are read, in so far as it makes another denoiser of them."""
        t_max = torch.tensor(self.path.t_max, dtype=torch.float64)
        return f"{self.prediction} on {self.path!r}, told {float(self.time_of(t_max)):.9g}"

    def time_at(self, s: Tensor) -> Tensor:
        """The path's time at noise level s, its last where that is the largest up to rounding."""
        return self.path.time_at(s.double()).clamp(max=self.path.t_max)

    def _named(self, t: Tensor) -> Tensor:
        return self.time_of(t).to(time_dtype(self.network, parameter_dtype(self.network, t.float())))

    def said(self, x: Tensor, t: Tensor, condition: Condition, embedding: Tensor | None = None) -> Tensor:
        """What the network predicts at x and t (B,) of its path, without a learned variance, in x's dtype."""
        given = {} if embedding is None else {"embedding": embedding}
        said: Tensor = self.network(x.to(parameter_dtype(self.network, x)), self._named(t), condition, **given)
        return said[:, : x.shape[1]].to(x.dtype)


class EDMForm(Told):
    """F of a network that predicts `prediction` on `path`, for sigma_data = 1."""

    def forward(
        self, u: Tensor, c_noise: Tensor, condition: Condition = None, embedding: Tensor | None = None
    ) -> Tensor:
        t = self.time_at(torch.exp(4 * c_noise.double()))
        s = self.path.noise_level(t)
        norm, (alpha, p, q) = torch.sqrt(1 + s**2), self.coefficients(t)
        a, b = (p * norm**2 - 1) / s, q * norm / s
        return expand(a, u) * u + expand(b, u) * self.said(expand(alpha * norm, u) * u, t, condition, embedding)

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(alpha, p, q) with which D = p x + q output(alpha x) for x on EDM's path, in t's shape."""
        x0_from, one, alpha = X0_FROM[self.prediction], torch.ones_like(t), self.path.alpha(t)
        return alpha, alpha * x0_from(self.path, one, 0 * one, t), x0_from(self.path, 0 * one, one, t)


class ConvertedDenoiser(EDMDenoiser):
    """A network trained on another path, on EDM's; `on(trained_path)` it is asked as it was trained."""

    network: EDMForm

    def __init__(self, network: EDMForm, path: EDM) -> None:
        super().__init__(network, 1.0, path)
        self.trained_path = network.path

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """c_skip x + c_out F, without the detour by F."""
        form, own = self.network, self.network.time_at(t)
        alpha, p, q = (factor(as_number(c), x) for c in form.coefficients(own))
        return axpby(p, x, q, form.said(alpha * x, own.expand(len(x)), condition))

    def as_trained(self) -> Denoiser:
        form = self.network
        trained = NetworkDenoiser(form.network, form.path, form.prediction, form.time_of)
        trained.sample_shape, trained.sample_bound = self.sample_shape, self.sample_bound
        trained.class_counts, trained.prompts, trained.codec = self.class_counts, self.prompts, self.codec
        return trained


def denoiser(pretrained: Pretrained, sigma_min: float, sigma_max: float) -> EDMDenoiser:
    """The network on EDM's path between the noise levels that it knows, of those from sigma_min to sigma_max.

    Equal to its NetworkDenoiser under ChangeOfPath up to rounding.
    """
    own = pretrained.path
    lowest, highest = (float(own.noise_level(t)) for t in (own.t_min, own.t_max))
    path = EDM(max(sigma_min, lowest), min(sigma_max, highest))
    if pretrained.prediction != "F":
        return ConvertedDenoiser(EDMForm(pretrained), path)
    network = pretrained.network if pretrained.time_of is c_noise else Told(pretrained)
    return EDMDenoiser(network, pretrained.sigma_data, path)
