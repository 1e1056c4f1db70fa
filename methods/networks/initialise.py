"""A trained network's weights, drawn anew: for methods that start from random weights, on their teacher's network."""

import copy
from typing import TypeVar

import torch
from torch import nn

from .embedding import zero

Network = TypeVar("Network", bound=nn.Module)


def drawn_anew(network: Network, seed: int) -> Network:
    """A copy of `network` with weights as at its construction, a function of `seed`.

    Every layer that holds weights must know how to draw them (`reset_parameters`, as torch's own do), or start
    at zero. Raises ValueError that names the layer which does not.
    """
    fresh = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for name, layer in fresh.named_modules():
            if layer.__dict__.get("starts_at_zero"):
                zero(layer)
            elif callable(reset := getattr(layer, "reset_parameters", None)):
                reset()
            elif next(layer.parameters(recurse=False), None) is not None:
                kind = type(layer).__name__
                raise ValueError(f"weights cannot be drawn anew: layer {name!r} ({kind}) has no reset_parameters")
    return fresh
