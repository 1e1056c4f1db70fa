"""The autoencoder of a folder as a codec: latents of a standard deviation near 1 to images in [-1, 1] and back."""

from typing import Any

import torch
from torch import Tensor

from .facts import Facts
from .folder import digest
from .library import module, renamed, state


class Autoencoder:
    """An AutoencoderKL, in float32 whatever the latents' dtype: SDXL's overflows in half precision.

    Latents are scaling (z - shift) of the library's z, with the factors in its configuration; where that has
    `latents_mean` and `latents_std`, scaling (z - mean)/std. It is frozen, and copies share it.
    """

    def __init__(self, vae: Any, image_shape: tuple[int, int, int], identity: str) -> None:
        self.vae = vae.float().eval().requires_grad_(False)
        self.image_shape, self.identity = image_shape, identity

    def __deepcopy__(self, memo: dict[int, Any]) -> "Autoencoder":
        return self

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Images (B, 3, H, W) float32, about [-1, 1], not clamped, of latents (B, C, h, w)."""
        scaling, std, mean = self._factors(latents)
        # In the library's order: another rounding moves 8-bit images.
        images: Tensor = self.vae.decode(latents.float() * std / scaling + mean).sample
        return images

    @torch.no_grad()
    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, standard deviation) of the latents of images (B, 3, H, W) in [-1, 1], each (B, C, h, w) float32."""
        found = self.vae.encode(images.float()).latent_dist
        scaling, std, mean = self._factors(found.mean)
        return (found.mean - mean) * scaling / std, found.std * scaling / std

    def to(self, device: torch.device | str) -> "Autoencoder":
        self.vae.to(device)
        return self

    def _factors(self, latents: Tensor) -> tuple[float, Tensor, Tensor]:
        """(scaling, std, mean) with which z = std latents/scaling + mean."""
        config, shape = self.vae.config, (1, -1, 1, 1)
        std, mean = getattr(config, "latents_std", None), getattr(config, "latents_mean", None)
        if std is None or mean is None:
            std, mean = [1.0], [getattr(config, "shift_factor", None) or 0.0]
        scale, offset = (torch.tensor(part, device=latents.device, dtype=torch.float32) for part in (std, mean))
        return float(config.scaling_factor), scale.view(shape), offset.view(shape)


def read(facts: Facts) -> Autoencoder:
    """The folder's autoencoder; its identity is of its weights and configuration. CheckpointError if it is none."""
    files, config = facts.codec_files(), dict(facts.vae)
    vae = module("AutoencoderKL", config, renamed(state(files)))
    settings = {key: value for key, value in config.items() if key not in ("_diffusers_version", "_name_or_path")}
    return Autoencoder(vae, facts.image_shape, f"AutoencoderKL {digest(files, settings)[:16]}")
