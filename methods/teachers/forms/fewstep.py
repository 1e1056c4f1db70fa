"""Networks that fewstep trained itself, as `fewstep export` writes them: EDM's preconditioning (Karras et al. 2022)."""

from typing import Any

from torch import Tensor

from ... import networks
from ...paths import EDM
from .. import preconditioned
from ..pretrained import Pretrained
from .base import Checkpoint, fitted

FORM = "fewstep"
PREFIX = "network."
"""Of the network's tensors among a denoiser's."""


def checkpoint(
    network: dict[str, Any],
    state: dict[str, Tensor],
    shape: tuple[int, ...],
    classes: int,
    sigma_data: float,
    ends: tuple[float, float],
) -> Checkpoint:
    """The checkpoint of an EDMDenoiser's state dict.

    network: the options that `networks.build` takes. classes: labels that it knows beside the null label, 0 if it is
    unconditional. ends: the smallest and the largest noise level.
    """
    config = {
        "form": FORM,
        "network": network,
        "shape": list(shape),
        "classes": classes,
        "sigma_data": sigma_data,
        "sigma_min": ends[0],
        "sigma_max": ends[1],
    }
    return Checkpoint(config, {name.removeprefix(PREFIX): tensor for name, tensor in state.items()})


def build(checkpoint: Checkpoint, dropout: float = 0.0) -> Pretrained:
    """The network with its weights; these networks have no dropout. CheckpointError where they do not fit."""
    config = checkpoint.config
    shape, classes = tuple(config["shape"]), int(config["classes"])
    # Without memory first, so that only what the file holds is ever allocated.
    fitted(lambda: networks.build(config["network"], shape, classes), checkpoint.state)
    network = networks.build(config["network"], shape, classes)
    network.load_state_dict(checkpoint.state)
    path = EDM(config["sigma_min"], config["sigma_max"])
    return Pretrained(
        network,
        path,
        "F",
        preconditioned.c_noise,
        shape,
        classes,
        null=classes > 0,
        sigma_data=config["sigma_data"],
    )
