"""DINOv2 features (Oquab et al. 2023) for the Fréchet distance of Stein et al. 2023, as dgm-eval takes them."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .network import FeatureNetwork, normalised

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DinoV2(FeatureNetwork):
    """Gives "cls" (B, D), the class token after the last norm, of facebookresearch/dinov2's state dict."""

    def __init__(self, weights: Path, model: str, side: int, resize: str) -> None:
        super().__init__()
        import timm

        network: Any = timm.create_model(model, img_size=side, num_classes=0, global_pool="token")
        state = torch.load(weights, map_location="cpu", weights_only=True)
        state.pop("mask_token", None)
        state["pos_embed"] = positions(state["pos_embed"], side // network.patch_embed.patch_size[0])
        network.load_state_dict(state)
        self.network = network
        self.side, self.resize = side, resize

    def features(self, images: Tensor) -> dict[str, Tensor]:
        pixels = self.pixels(images, self.resize, self.side)
        return {"cls": self.network(normalised(pixels, MEAN, STD))}


def positions(embedding: Tensor, cells: int) -> Tensor:
    """Position embedding (1, 1 + n * n, D) of the training's grid, for a grid of cells * cells.

    As facebookresearch/dinov2 scales it: bicubic without antialiasing, by a factor of (cells + 0.1) / n. timm's
    own loader antialiases, so that its features are others.
    """
    token, grid = embedding[:, :1], embedding[:, 1:]
    n = round(grid.shape[1] ** 0.5)
    if n == cells:
        return embedding
    factor = (cells + 0.1) / n
    grid = grid.unflatten(1, (n, n)).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, scale_factor=(factor, factor), mode="bicubic")
    return torch.cat([token, grid.flatten(2).transpose(1, 2)], dim=1)
