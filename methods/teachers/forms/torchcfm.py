"""Files of atong01/conditional-flow-matching: guided-diffusion's U-Net, trained to predict the velocity of a flow.

Their time runs from noise (0) to data (1), and is fed as it is; the prediction is data minus noise.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...paths import FlowOT
from ..pretrained import Pretrained
from . import openai
from .base import Checkpoint, State, negate

EXAMPLE = (
    '{"form": "torchcfm", "network": {"image_size": 32, "model_channels": 128, ...}}, with the arguments of UNetModel'
)


def pick(content: Any) -> State | None:
    """The averaged network's state dict, the network's own where none was averaged, None in another form."""
    if not isinstance(content, Mapping):
        return None
    found = next((content[key] for key in ("ema_model", "net_model") if key in content), None)
    return openai.pick(found)


def from_noise(t: Tensor) -> Tensor:
    return 1 - t


def build(checkpoint: Checkpoint, dropout: float = 0.0) -> Pretrained:
    network = openai.unet(checkpoint, dropout)
    negate(network.out[2])
    return Pretrained(
        network=network,
        path=FlowOT(),
        prediction="velocity",
        time_of=from_noise,
        shape=openai.shape(checkpoint.config["network"]),
        classes=checkpoint.classes,
    )
