"""Files of guided-diffusion, improved-diffusion and consistency_models (OpenAI): a state dict, no configuration.

The order of heads, their number where attention is not told by channels, schedule and labels are in no shape.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...networks.openai import OpenAIClassifier, OpenAIUNet
from ...paths import EDM
from ..pretrained import Pretrained
from . import schedules
from .base import Checkpoint, CheckpointError, Label, State, agree, counted, fitted, tensors

KEYS = ("time_embed.0.weight", "input_blocks.0.0.weight")
EXAMPLE = (
    '{"form": "openai", "schedule": "linear" or "cosine" or "edm", "labels": 1000, "network": {"image_size": 64, '
    '"model_channels": 192, ...}}, with the arguments of UNetModel'
)


def pick(content: Any) -> State | None:
    """The state dict, None if the content is something else."""
    return tensors(content) if isinstance(content, Mapping) and _known(content) else None


def _known(names: Mapping[str, Any]) -> bool:
    return all(any(f"{prefix}{key}" in names for prefix in ("", "module.")) for key in KEYS)


def consistency_time(sigma: Tensor) -> Tensor:
    """1000 ln(sigma)/4, EDM's c_noise as consistency_models feeds it."""
    return 250 * torch.log(sigma + 1e-44)


def build(checkpoint: Checkpoint, dropout: float = 0.0, label_scale: float | None = None) -> Pretrained:
    """label_scale: what the label is multiplied by before the network, None for what it was trained with."""
    config = checkpoint.config
    if config.get("kind") == "classifier":
        raise CheckpointError("a classifier of noisy images and no denoiser: it guides one, as its `classifier`")
    network = unet(checkpoint, dropout)
    facts: dict[str, Any] = {"shape": shape(config["network"]), "classes": checkpoint.classes}
    if config["schedule"] == "edm":
        if label_scale is not None:
            raise CheckpointError("its time is no label, which label_scale could scale")
        return Pretrained(network, EDM(), "F", consistency_time, **facts)
    path = schedules.chain(config["schedule"], config.get("labels", 1000))
    label = Label(path, config.get("label_scale", 1.0) if label_scale is None else label_scale)
    return Pretrained(network, path, config.get("prediction", "eps"), label, **facts)


def unet(checkpoint: Checkpoint, dropout: float) -> OpenAIUNet:
    """The network of openai's and torchcfm's files."""
    arguments, state = checkpoint.config["network"], checkpoint.state
    _check(arguments, state)
    found = {"out_channels": state["out.2.weight"].shape[0], "num_classes": None}
    if "label_emb.weight" in state:
        found["num_classes"] = state["label_emb.weight"].shape[0]
    agree({"num_classes": None, **arguments}, found)
    return fitted(lambda: OpenAIUNet(**{**arguments, "dropout": dropout}), state)


def classifier(checkpoint: Checkpoint) -> OpenAIClassifier:
    """The network of a `*_classifier.pt`. CheckpointError for another."""
    if checkpoint.config.get("kind") != "classifier":
        raise CheckpointError("no classifier of noisy images")
    _check(checkpoint.config["network"], checkpoint.state)
    return fitted(lambda: OpenAIClassifier(**checkpoint.config["network"]), checkpoint.state)


def _check(arguments: Mapping[str, Any], state: State) -> None:
    """What the shapes tell before anything of that size is made."""
    blocks, levels = counted(state, "input_blocks."), len(arguments["channel_mult"])
    agree(
        {**arguments, "(num_res_blocks + 1) levels": (arguments["num_res_blocks"] + 1) * levels},
        {
            "model_channels": state["time_embed.0.weight"].shape[1],
            "in_channels": state["input_blocks.0.0.weight"].shape[1],
            "(num_res_blocks + 1) levels": blocks,
        },
    )


def shape(arguments: Mapping[str, Any]) -> tuple[int, int, int]:
    side = arguments["image_size"]
    return arguments["in_channels"], side, side
