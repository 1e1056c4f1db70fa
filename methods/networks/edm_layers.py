"""Layers of EDM's networks (Karras et al. 2022), under the names of their state dicts.

B: batch, C: channels, E: width of the embedding of noise level and labels.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from .embedding import Frequencies


@dataclass(frozen=True)
class Init:
    """How a layer's weights are drawn: an initialisation by its fans, times a scale for weights and one for biases.

    "xavier" and "kaiming" are uniform (Glorot & Bengio 2010; He et al. 2015), "kaiming_normal" is Gaussian, all
    with gain 1. Biases follow the law of the weights.
    """

    law: Literal["xavier", "kaiming", "kaiming_normal"]
    weight: float = 1.0
    bias: float = 0.0

    def fill(self, weight: Tensor | None, bias: Tensor | None, fan_in: int, fan_out: int) -> None:
        for tensor, scale in ((weight, self.weight), (bias, self.bias)):
            if tensor is None:
                continue
            if self.law == "kaiming_normal":
                nn.init.normal_(tensor, std=scale * math.sqrt(1 / fan_in))
            else:
                bound = scale * math.sqrt(6 / (fan_in + fan_out) if self.law == "xavier" else 3 / fan_in)
                nn.init.uniform_(tensor, -bound, bound)


class Linear(nn.Module):
    """(..., inputs) -> (..., outputs)."""

    def __init__(self, inputs: int, outputs: int, init: Init, bias: bool = True) -> None:
        super().__init__()
        self.init = init
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        outputs, inputs = self.weight.shape
        self.init.fill(self.weight, self.bias, inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


class Conv2d(nn.Module):
    """A convolution that may double (`up`) or halve (`down`) the resolution with a separable low-pass filter.

    `resample_filter` are the filter's taps in one dimension. Kernel 0 resamples only. The kernel acts on the filtered
    image; with `fused` it acts at the higher resolution also when that is halved, and pads once for both.
    """

    resample_filter: Tensor

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        init: Init,
        up: bool = False,
        down: bool = False,
        resample_filter: Sequence[float] = (1, 1),
        fused: bool = False,
    ) -> None:
        super().__init__()
        self.init, self.kernel, self.up, self.down, self.fused = init, kernel, up, down, fused and kernel > 0
        self.fans = channels_in * kernel**2, channels_out * kernel**2
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, kernel, kernel)) if kernel else None
        self.bias = nn.Parameter(torch.empty(channels_out)) if kernel else None
        if up or down:
            taps = torch.as_tensor(resample_filter, dtype=torch.float32)
            self.register_buffer("resample_filter", (torch.outer(taps, taps) / taps.sum() ** 2)[None, None])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.init.fill(self.weight, self.bias, *self.fans)

    def _filtered(self, x: Tensor, padding: int) -> Tensor:
        channels = x.shape[1]
        taps = self.resample_filter.expand(channels, -1, -1, -1)
        if self.up:
            # Of an upsampled image's pixels only a quarter receive one of the original.
            return functional.conv_transpose2d(x, 4 * taps, stride=2, padding=padding, groups=channels)
        return functional.conv2d(x, taps, stride=2, padding=padding, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        pad = self.kernel // 2
        if self.up or self.down:
            filter_pad = (self.resample_filter.shape[-1] - 1) // 2
            if self.fused and self.down:
                assert self.weight is not None
                # The filter's taps sum to 1, so that the bias may come before it.
                return self._filtered(functional.conv2d(x, self.weight, self.bias, padding=pad + filter_pad), 0)
            if self.fused:
                pad, filter_pad = max(pad - filter_pad, 0), max(filter_pad - pad, 0)
            x = self._filtered(x, filter_pad)
        return x if self.weight is None else functional.conv2d(x, self.weight, self.bias, padding=pad)


class GroupNorm(nn.GroupNorm):
    """At most 32 groups, of at least 4 channels."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(min(32, channels // 4), channels, eps)


class PositionalEmbedding(nn.Module):
    """c_noise (B,) -> (B, C): cosines, then sines, at geometric frequencies from 1 to 1/10000 (Vaswani et al. 2017).

    The lowest frequency is 1/10000 itself with `endpoint`, one ratio above it without.
    """

    def __init__(self, channels: int, endpoint: bool) -> None:
        super().__init__()
        self.channels, self.endpoint = channels, endpoint

    def forward(self, c_noise: Tensor) -> Tensor:
        half = self.channels // 2
        # In float32 whatever the network's dtype: rounded as at training, frequencies agree to the last bit.
        exponents = torch.arange(half, dtype=torch.float32, device=c_noise.device) / (half - self.endpoint)
        angles = torch.outer(c_noise, ((1 / 10000) ** exponents).to(c_noise.dtype))
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class FourierEmbedding(Frequencies):
    """c_noise (B,) -> (B, C): cosines, then sines, at fixed Gaussian frequencies (Song et al. 2021)."""

    kept = "freqs"
    freqs: Tensor

    def __init__(self, channels: int, scale: float = 16.0) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.randn(channels // 2) * scale)

    def forward(self, c_noise: Tensor) -> Tensor:
        angles = torch.outer(c_noise, 2 * math.pi * self.freqs.to(c_noise.dtype))
        return torch.cat([angles.cos(), angles.sin()], dim=1)


def class_vector(class_labels: Tensor | None, dim: int, dropout: float, like: Tensor) -> Tensor:
    """Labels (B, dim) in the dtype of `like`, each row zero with probability `dropout`; None stands for zeros (1, dim).

    A network that is trained with dropout knows the unconditional law too (Ho & Salimans 2021).
    """
    if class_labels is None:
        return like.new_zeros(1, dim)
    labels = class_labels.to(like.dtype).reshape(-1, dim)
    if dropout:
        labels = labels * (torch.rand(len(labels), 1, device=labels.device) >= dropout)
    return labels


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q^T k / sqrt(C)) v over positions; q, k, v: (N, C, positions). The softmax is in float32."""
    logits = torch.einsum("ncq,nck->nqk", q.float(), (k / math.sqrt(k.shape[1])).float())
    return torch.einsum("nqk,nck->ncq", logits.softmax(dim=2).to(q.dtype), v)


@dataclass(frozen=True)
class BlockStyle:
    """What the blocks of one network share. `channels_per_head` None: attention with one head.

    `adaptive_scale`: the embedding scales and shifts the second norm's output (Dhariwal & Nichol 2021, section 3),
    rather than being added to its input (Ho et al. 2020). `resample_proj`: skips that resample are convolutions.
    `init_last` draws the layers that end a residual branch.
    """

    emb_channels: int
    init: Init
    init_last: Init
    init_attention: Init
    channels_per_head: int | None = None
    dropout: float = 0.0
    skip_scale: float = 1.0
    eps: float = 1e-5
    resample_filter: Sequence[float] = (1, 1)
    resample_proj: bool = False
    adaptive_scale: bool = True


class UNetBlock(nn.Module):
    """Residual block of DDPM++, NCSN++ and ADM, with self-attention after it if asked for.

    forward: x (B, channels_in, H, W), embedding (B or 1, E) -> (B, channels_out, H', W').
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        style: BlockStyle,
        up: bool = False,
        down: bool = False,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.style = style
        per_head = style.channels_per_head or channels_out
        # As in EDM: a block narrower than one head has none, even where attention is asked for.
        self.heads = channels_out // per_head if attention else 0
        taps = style.resample_filter

        self.norm0 = GroupNorm(channels_in, style.eps)
        self.conv0 = Conv2d(channels_in, channels_out, 3, style.init, up, down, taps)
        self.affine = Linear(style.emb_channels, channels_out * (2 if style.adaptive_scale else 1), style.init)
        self.norm1 = GroupNorm(channels_out, style.eps)
        self.conv1 = Conv2d(channels_out, channels_out, 3, style.init_last)
        self.skip: Conv2d | None = None
        if channels_in != channels_out or up or down:
            kernel = 1 if style.resample_proj or channels_in != channels_out else 0
            self.skip = Conv2d(channels_in, channels_out, kernel, style.init, up, down, taps)
        if self.heads:
            self.norm2 = GroupNorm(channels_out, style.eps)
            self.qkv = Conv2d(channels_out, 3 * channels_out, 1, style.init_attention)
            self.proj = Conv2d(channels_out, channels_out, 1, style.init_last)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        style = self.style
        h = self.conv0(functional.silu(self.norm0(x)))
        parameters = self.affine(embedding)[:, :, None, None]
        if style.adaptive_scale:
            scale, shift = parameters.chunk(2, dim=1)
            h = functional.silu(shift + self.norm1(h) * (scale + 1))
        else:
            h = functional.silu(self.norm1(h + parameters))
        h = self.conv1(functional.dropout(h, style.dropout, self.training))
        h = (h + (x if self.skip is None else self.skip(x))) * style.skip_scale
        if self.heads:
            # Channels are laid out head by head, and q, k, v alternate fastest within a head.
            qkv = self.qkv(self.norm2(h)).reshape(len(h) * self.heads, -1, 3, h.shape[2] * h.shape[3])
            h = (self.proj(attention(*qkv.unbind(2)).reshape(h.shape)) + h) * style.skip_scale
        return h


def residual_blocks(encoder: nn.ModuleDict, decoder: nn.ModuleDict) -> list[tuple[nn.Module, int]]:
    """Of the way down, the first in the middle, of the way up, none that resamples; with the channels of what they
    give.
    """
    named = [(name, block) for name, block in [*encoder.items(), *decoder.items()] if re.search("_block|_in0", name)]
    return [(block, block.norm1.num_channels) for _, block in named if isinstance(block, UNetBlock)]
