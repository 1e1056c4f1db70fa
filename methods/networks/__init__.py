"""Backbones F(x, c_noise, condition): what a denoiser preconditions."""

from collections.abc import Sequence
from typing import Any

from torch import nn


def build(config: dict[str, Any], shape: Sequence[int], classes: int = 0) -> nn.Module:
    """The network that `config` names (`name` and its options), for samples of `shape`: (C, H, W) or (D,).

    `classes` is how many labels it knows beside the null label, 0 for an unconditional network.
    """
    from .mlp import ResidualMLP
    from .unet import SmallUNet

    options = {key: value for key, value in config.items() if key != "name"}
    if config["name"] == "unet":
        return SmallUNet(image_channels=shape[0], classes=classes, **options)
    return ResidualMLP(dimension=shape[0], classes=classes, **options)


def edm_network(config: dict[str, Any]) -> nn.Module:
    """A network of EDM's code as a denoiser D(x, sigma), under the names of its checkpoints: see edm.py."""
    from . import edm

    return edm.edm_network(config)
