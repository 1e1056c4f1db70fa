"""Backbones F(x, c_noise, condition): what a denoiser preconditions."""

from collections.abc import Sequence
from typing import Any

from torch import nn


def build(config: dict[str, Any], shape: Sequence[int]) -> nn.Module:
    """The network that `config` names (`name` and its options), for samples of `shape`: (C, H, W) or (D,)."""
    from .mlp import ResidualMLP
    from .unet import SmallUNet

    options = {key: value for key, value in config.items() if key != "name"}
    if config["name"] == "unet":
        return SmallUNet(image_channels=shape[0], **options)
    return ResidualMLP(dimension=shape[0], **options)
