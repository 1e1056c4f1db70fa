"""What lies between a denoiser's samples and images: nothing, or an autoencoder of latents."""

from typing import Protocol

import torch
from torch import Tensor


class Codec(Protocol):
    """Latents (B, *shape) with a standard deviation near 1, and the images (B, C, H, W) in [-1, 1] that they stand for.

    image_shape: (C, H, W) of an image. identity: a hash of the weights and of how they are used.
    """

    @property
    def image_shape(self) -> tuple[int, int, int]: ...

    @property
    def identity(self) -> str: ...

    def decode(self, latents: Tensor) -> Tensor:
        """Images (B, C, H, W), about [-1, 1], not clamped."""
        ...

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, standard deviation) of the latents of images (B, C, H, W) in [-1, 1], each (B, *shape)."""
        ...

    def to(self, device: torch.device | str) -> "Codec": ...
