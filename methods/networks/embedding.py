"""What the small backbones share: the embedding of the noise level, and layers that start at zero."""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

Layer = TypeVar("Layer", bound=nn.Module)


def zero(layer: Layer) -> Layer:
    """The layer with its weights set to 0: a block that starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class NoiseEmbedding(nn.Module):
    """Sines and cosines of c_noise (B,) at geometric frequencies, then two layers: (B, width)."""

    frequencies: Tensor

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
