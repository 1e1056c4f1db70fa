"""The embedding of the noise level that the small backbones share."""

import math

import torch
from torch import Tensor, nn


class NoiseEmbedding(nn.Module):
    """Sines and cosines of c_noise (B,) at geometric frequencies, then two layers: (B, width)."""

    def __init__(self, width: int, frequencies: int = 16, max_frequency: float = 32.0) -> None:
        super().__init__()
        self.register_buffer(
            "frequencies",
            torch.exp(torch.linspace(0.0, math.log(max_frequency), frequencies)),
            persistent=False,
        )
        self.layers = nn.Sequential(nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, c_noise: Tensor) -> Tensor:
        angles = c_noise[:, None] * self.frequencies
        return self.layers(torch.cat([angles.cos(), angles.sin()], dim=1))
