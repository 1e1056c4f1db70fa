"""Gaussian mixtures: laws whose denoiser is known in closed form, so that every error can be measured."""

import math
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

from ..methods.randomness import generator, noise

SIZE = 20_000
"""Samples that a mixture offers as its training set; sample i is a function of (name, i)."""


@dataclass(frozen=True)
class MixtureSet:
    """sum_k w_k N(mu_k, s_k^2 I); weights (K,), means (K, *shape), stds (K,); the label is the component."""

    name: str
    weights: Tensor
    means: Tensor
    stds: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.means.shape[1:])

    @property
    def bound(self) -> None:
        return None

    @property
    def classes(self) -> int:
        return len(self.weights)

    def __len__(self) -> int:
        return SIZE

    @cached_property
    def components(self) -> Tensor:
        """int64 (SIZE,): the component that each sample is drawn from."""
        rng = generator(0, f"{self.name}-component")
        return torch.multinomial(self.weights.double(), SIZE, replacement=True, generator=rng)

    def labels(self, indices: Tensor) -> Tensor:
        return self.components[indices]

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D) of the law itself, float64: E s^2 I + Cov mu."""
        weights, means = self.weights.double() / self.weights.double().sum(), self.means.flatten(1).double()
        mean = weights @ means
        within = (weights * self.stds.double() ** 2).sum() * torch.eye(means.shape[1], dtype=torch.float64)
        return mean, within + (weights[:, None] * (means - mean)).T @ (means - mean)

    @cached_property
    def _noises(self) -> tuple[Tensor, Tensor]:
        """(SIZE, *shape), and which rows are there (SIZE,): one that training asks for again is not drawn again."""
        return torch.empty(SIZE, *self.shape), torch.zeros(SIZE, dtype=torch.bool)

    def samples(self, indices: Tensor) -> Tensor:
        component = self.labels(indices)
        noises, there = self._noises
        new = indices[~there[indices]]
        noises[new] = noise(0, f"{self.name}-sample", new.tolist(), self.shape)
        there[new] = True
        eps = noises[indices]
        std = self.stds[component].reshape(-1, *[1] * len(self.shape))
        return (self.means[component] + std * eps).float()


@cache
def mixture_2d() -> MixtureSet:
    """Eight components on the unit circle with standard deviations from 0.09 to 0.21."""
    angles = torch.arange(8) * (2 * math.pi / 8)
    means = torch.stack([angles.cos(), angles.sin()], dim=1)
    return MixtureSet("mixture-2d", torch.full((8,), 1 / 8), means, torch.linspace(0.09, 0.21, 8))


@cache
def mixture_8x8() -> MixtureSet:
    """Ten smooth 8x8 patterns with pixels inside [-1, 1] and standard deviation 0.2: an image-shaped law."""
    rows = torch.linspace(0, math.pi, 8)
    phases = torch.arange(10) * 0.7
    means = torch.stack(
        [
            0.6 * torch.sin(rows * (1 + k % 3) + p)[:, None] * torch.cos(rows * (1 + k % 4) - p)
            for k, p in enumerate(phases)
        ]
    )
    return MixtureSet("mixture-8x8", torch.full((10,), 0.1), means[:, None], torch.full((10,), 0.2))
