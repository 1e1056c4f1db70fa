"""LPIPS (zhang2018unreasonable, arXiv:1801.03924) as in openai/consistency_models: piq's, VGG-16, average pooling.

Its network is frozen and belongs to nobody's parameters; its FLOPs are charged as "auxiliary".
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..assets import LPIPS_FILES, hub_file, missing_lpips
from ..uses import spent_on

LAYERS = ["3", "8", "15", "22", "29"]
"""relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 among VGG-16's features."""
SIDE = 224
"""Images of less than 256 pixels are scaled to this side, ImageNet's, as in the authors' code."""


class Perceptual:
    """distance(x, y) -> (B,) for images (B, C, H, W) in [-1, 1] of one or three channels; gradients reach both."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.requires_grad_(False).eval()

    @classmethod
    def load(cls) -> "Perceptual":
        """From the files in torch.hub's folder. FileNotFoundError says which is missing and how to get it."""
        if (missing := missing_lpips()) is not None:
            raise FileNotFoundError(str(missing))
        from piq import ContentLoss
        from torchvision.models import vgg16

        vgg, lpips = (_loaded(hub_file(name)) for name in LPIPS_FILES)
        with torch.device("meta"):
            features = vgg16().features
        prefix = "features."
        state = {key.removeprefix(prefix): value for key, value in vgg.items() if key.startswith(prefix)}
        features.load_state_dict(state, assign=True)
        return cls(
            ContentLoss(
                features, LAYERS, weights=lpips, replace_pooling=True, reduction="none", normalize_features=True
            )
        )

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(f"lpips compares images of one or three channels, not samples of {tuple(x.shape[1:])}")
        with spent_on("auxiliary"):
            distances: Tensor = self.network(_prepared(x), _prepared(y))
        return distances


def _prepared(x: Tensor) -> Tensor:
    """From [-1, 1] to three channels in [0, 1], of VGG's size."""
    x = ((x + 1) / 2).expand(-1, 3, -1, -1)
    if x.shape[-1] >= 256:
        return x
    return functional.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)


def _loaded(file: Path) -> Any:
    return torch.load(file, weights_only=True, map_location="cpu")
