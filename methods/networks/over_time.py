"""Layers over time in a network of single images: it then sees several moments of a trajectory at once.

The temporal Fourier layer of zheng2023fast (arXiv:2211.13449), placed as in the authors' code: after each residual
block of the way down, between the two in the middle, and after each of the way up, never where the resolution changes.
"""

from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.01
"""Of LeakyReLU below 0."""


class Backbone(Protocol):
    """What a network must say of itself for layers over time to have a place in it."""

    def residual_blocks(self) -> list[tuple[nn.Module, int]]:
        """The blocks after which such a layer goes, each with the channels of its output."""
        ...


class TimeConv(nn.Module):
    """x + LeakyReLU(S x), where S keeps `modes` frequencies of T = `frames` moments and mixes the channels of each.

    x: (B T, C, ...), a sample's moments one after another; result: like x. Frequencies from `modes` to T/2 are dropped.
    """

    def __init__(self, channels: int, frames: int, modes: int) -> None:
        super().__init__()
        if not 1 <= modes <= frames // 2 + 1:
            raise ValueError(f"{frames} moments have {frames // 2 + 1} frequencies, not {modes}")
        self.frames, self.modes = frames, modes
        self.weight = nn.Parameter(torch.empty(modes, channels, channels, 2))
        """W_k from channel to channel: real and imaginary parts."""
        self.reset_parameters()

    def reset_parameters(self, rng: torch.Generator | None = None) -> None:
        """Uniform between 0 and 1/C^2, as in Fourier neural operators."""
        with torch.no_grad():
            self.weight.uniform_(0, 1 / self.weight.shape[1] ** 2, generator=rng)

    def convolved(self, x: Tensor) -> Tensor:
        """S x = irfft(W_k rfft(x)_k) over the moments of x (B, T, C, ...): a circular convolution."""
        W = torch.view_as_complex(self.weight.to(x.dtype))
        spectrum = torch.fft.rfft(x, dim=1)[:, : self.modes]
        return torch.fft.irfft(torch.einsum("bkc...,kcd->bkd...", spectrum, W), n=self.frames, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        # Fourier transforms in half precision exist on some devices and for some lengths only.
        single = x.to(torch.promote_types(x.dtype, torch.float32)).unflatten(0, (-1, self.frames))
        return x + functional.leaky_relu(self.convolved(single), SLOPE).flatten(0, 1).to(x.dtype)

    def after(self, block: nn.Module, inputs: Any, output: Any) -> Any:
        """As a forward hook: what the block then gives; some of diffusers' give a tuple, whose first it is."""
        return (self(output[0]), *output[1:]) if isinstance(output, tuple) else self(output)


def add_layers_over_time(network: nn.Module, frames: int, modes: int, rng: torch.Generator) -> None:
    """Give each residual block of the backbone in `network` a TimeConv, `in_time`, which acts on its output.

    What the network had keeps its names. ValueError for a backbone that names no residual blocks.
    """
    for block, channels in residual_blocks(network):
        layer = TimeConv(channels, frames, modes)
        layer.reset_parameters(rng)
        block.in_time = layer.to(next(block.parameters()).device)
        block.register_forward_hook(layer.after)


def residual_blocks(network: nn.Module) -> list[tuple[nn.Module, int]]:
    """What the backbone says, which may be inside `network`; ValueError if it says nothing."""
    for part in network.modules():
        if hasattr(part, "residual_blocks"):
            return cast(Backbone, part).residual_blocks()
    kind = type(network).__name__
    raise ValueError(f"layers over time go after residual blocks, and a {kind} does not say which those are")
