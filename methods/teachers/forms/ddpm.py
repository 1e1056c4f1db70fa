"""Ho et al.'s networks in PyTorch: pesser/pytorch_diffusion's state dicts and the lists that ermongroup/ddim saves."""

from collections.abc import Mapping
from typing import Any

from ...networks.ddpm import DDPMUNet
from ..pretrained import Pretrained
from . import schedules
from .base import Checkpoint, Label, State, agree, counted, fitted, tensors

KEYS = ("temb.dense.0.weight", "conv_in.weight")
EXAMPLE = '{"form": "ddpm", "network": {"image_size": 64, "ch": 128, "ch_mult": [1, 2, 2, 2, 4], ...}}'
AVERAGE = 4
"""Where ermongroup/ddim's lists hold it, after model, optimiser, epoch and step."""


def pick(content: Any) -> State | None:
    """The averaged network's state dict, the network's own where none was averaged, None in another form."""
    if isinstance(content, list | tuple) and content:
        content = content[AVERAGE if len(content) > AVERAGE else 0]
    if not isinstance(content, Mapping):
        return None
    known = all(any(f"{prefix}{key}" in content for prefix in ("", "module.")) for key in KEYS)
    return tensors(content) if known else None


def build(checkpoint: Checkpoint, dropout: float = 0.0) -> Pretrained:
    config, state = checkpoint.config, checkpoint.state
    network = unet(config["network"], state, dropout)
    path = schedules.chain(config.get("schedule", "linear"), config.get("labels", 1000))
    side = network.image_size
    return Pretrained(network, path, config.get("prediction", "eps"), Label(path), (network.in_channels, side, side))


def unet(arguments: Mapping[str, Any], state: State, dropout: float) -> DDPMUNet:
    agree(
        {"in_channels": 3, "out_ch": 3, **arguments, "levels": len(arguments["ch_mult"])},
        {
            "ch": state["conv_in.weight"].shape[0],
            "in_channels": state["conv_in.weight"].shape[1],
            "out_ch": state["conv_out.weight"].shape[0],
            "levels": counted(state, "down."),
            "num_res_blocks": counted(state, "down.0.block."),
        },
    )
    return fitted(lambda: DDPMUNet(**{**arguments, "dropout": dropout}), state)
