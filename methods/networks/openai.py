"""The U-Nets of Nichol & Dhariwal 2021 and Dhariwal & Nichol 2021, under the names of OpenAI's state dicts.

One class for improved-diffusion, guided-diffusion, consistency_models, torchcfm, and progressive distillation's U-Net,
which differ in options. Arguments have the names that OpenAI's code gives them.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from .embedding import zero
from .sinusoids import Order, sinusoids

GROUPS = 32


class TimestepSequential(nn.Sequential):
    """Layers of which the residual blocks are also given the embedding."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, embedding) if isinstance(layer, ResBlock) else layer(x)
        return x


class Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.interpolate(x, scale_factor=2, mode="nearest"))


class ResBlock(nn.Module):
    """x (B, channels, H, W), embedding (B or 1, 4 model_channels) -> (B, channels_out, H', W').

    `resample` doubles or halves both branches before the first convolution. With `scale_shift` the embedding scales and
    shifts the second norm's output, without it is added to its input.
    """

    def __init__(
        self,
        channels: int,
        channels_out: int,
        embedding: int,
        dropout: float,
        scale_shift: bool,
        eps: float,
        resample: Literal["up", "down"] | None = None,
    ) -> None:
        super().__init__()
        self.scale_shift, self.resample, self.channels_out = scale_shift, resample, channels_out
        self.in_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, channels, eps), nn.SiLU(), nn.Conv2d(channels, channels_out, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, channels_out * (2 if scale_shift else 1)))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, channels_out, eps),
            nn.SiLU(),
            nn.Dropout(dropout),
            zero(nn.Conv2d(channels_out, channels_out, 3, padding=1)),
        )
        self.skip_connection = nn.Identity() if channels_out == channels else nn.Conv2d(channels, channels_out, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        norm, activation, conv = self.in_layers
        h = conv(self._resampled(activation(norm(x))))
        parameters = self.emb_layers(embedding)[:, :, None, None]
        norm, *rest = self.out_layers
        if self.scale_shift:
            scale, shift = parameters.chunk(2, dim=1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + parameters)
        for layer in rest:
            h = layer(h)
        return self.skip_connection(self._resampled(x)) + h

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "up":
            return functional.interpolate(x, scale_factor=2, mode="nearest")
        return functional.avg_pool2d(x, 2) if self.resample == "down" else x


def attend(qkv: Tensor, heads: int, new_order: bool) -> Tensor:
    """Self-attention of channels (B, 3 C, positions) -> (B, C, positions); the softmax is in float32.

    The 3 C channels are (3, heads, d) in the new order, (heads, 3, d) in the legacy one: shapes do not tell which.
    """
    batch, width, positions = qkv.shape
    d = width // (3 * heads)
    if new_order:
        q, k, v = qkv.reshape(batch, 3, heads, d, positions).unbind(1)
    else:
        q, k, v = qkv.reshape(batch, heads, 3, d, positions).unbind(2)
    q, k, v = (part.reshape(batch * heads, d, positions) for part in (q, k, v))
    # Scaled on both sides, as OpenAI does, so that half precision does not overflow.
    scale = d**-0.25
    weights = torch.einsum("ncq,nck->nqk", q * scale, k * scale).float().softmax(dim=2).to(v.dtype)
    return torch.einsum("nqk,nck->ncq", weights, v).reshape(batch, -1, positions)


class AttentionBlock(nn.Module):
    """x (B, C, H, W) -> the same shape. `dims`: of the 1x1 convolutions, over positions (1) or over the image (2)."""

    def __init__(self, channels: int, heads: int, new_order: bool, dims: int, eps: float) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be split into {heads} heads")
        self.heads, self.new_order, self.dims = heads, new_order, dims
        conv = nn.Conv1d if dims == 1 else nn.Conv2d
        self.norm = nn.GroupNorm(GROUPS, channels, eps)
        self.qkv = conv(channels, 3 * channels, 1)
        self.proj_out = zero(conv(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        positions = self.norm(x) if self.dims == 2 else self.norm(x).flatten(2)
        h = attend(self.qkv(positions).flatten(2), self.heads, self.new_order)
        return x + self.proj_out(h.reshape(positions.shape)).reshape(x.shape)


class Encoder(nn.Module):
    """What the U-Net and the classifier share: the embedding, and the way down to the middle block.

    `channels` is the width of the middle block, `widths` what each block on the way down leaves for the way up.
    """

    def __init__(
        self,
        image_size: int,
        in_channels: int,
        model_channels: int,
        num_res_blocks: int,
        attention_resolutions: Sequence[int],
        dropout: float = 0.0,
        channel_mult: Sequence[float] = (1, 2, 4, 8),
        num_heads: int = 1,
        num_head_channels: int = -1,
        use_scale_shift_norm: bool = False,
        resblock_updown: bool = False,
        use_new_attention_order: bool = False,
        attention_dims: Literal[1, 2] = 1,
        time_embedding: Order = "cos-sin",
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.image_size, self.in_channels, self.model_channels = image_size, in_channels, model_channels
        self.time_embedding = time_embedding
        self.num_head_channels, self.eps = num_head_channels, eps
        self._new_order, self._attention_dims, self._updown = use_new_attention_order, attention_dims, resblock_updown
        self._dropout, self._scale_shift = dropout, use_scale_shift_norm
        self._level_widths = [int(mult * model_channels) for mult in channel_mult]
        self._attends = [1 << level in attention_resolutions for level in range(len(channel_mult))]
        width = model_channels * 4
        self.time_embed = nn.Sequential(nn.Linear(model_channels, width), nn.SiLU(), nn.Linear(width, width))

        channels = self._level_widths[0]
        stem = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.input_blocks = nn.ModuleList([TimestepSequential(stem)])
        self.widths = [channels]
        for level, channels_out in enumerate(self._level_widths):
            for _ in range(num_res_blocks):
                layers: list[nn.Module] = [self._residual(channels, channels_out)]
                channels = channels_out
                if self._attends[level]:
                    layers.append(self._attention(channels, num_heads))
                self.input_blocks.append(TimestepSequential(*layers))
                self.widths.append(channels)
            if level < len(self._level_widths) - 1:
                down = self._residual(channels, channels, "down") if resblock_updown else Downsample(channels)
                self.input_blocks.append(TimestepSequential(down))
                self.widths.append(channels)
        self.channels = channels
        self.middle_block = TimestepSequential(
            self._residual(channels, channels),
            self._attention(channels, num_heads),
            self._residual(channels, channels),
        )

    def _residual(self, channels: int, channels_out: int, resample: Literal["up", "down"] | None = None) -> ResBlock:
        embedding = self.model_channels * 4
        return ResBlock(channels, channels_out, embedding, self._dropout, self._scale_shift, self.eps, resample)

    def _attention(self, channels: int, heads: int) -> AttentionBlock:
        if self.num_head_channels != -1:
            if channels % self.num_head_channels:
                raise ValueError(f"{channels} channels cannot be split into heads of {self.num_head_channels}")
            heads = channels // self.num_head_channels
        return AttentionBlock(channels, heads, self._new_order, self._attention_dims, self.eps)

    def _embed_time(self, time: Tensor) -> Tensor:
        dtype = next(self.time_embed.parameters()).dtype
        endpoint = self.time_embedding == "sin-cos"
        return self.time_embed(sinusoids(time, self.model_channels, self.time_embedding, endpoint, dtype))

    def _encode(self, x: Tensor, embedding: Tensor) -> list[Tensor]:
        """What each block leaves for the way up, then the middle block's output."""
        skips: list[Tensor] = []
        for block in self.input_blocks:
            x = block(x, embedding)
            skips.append(x)
        return [*skips, self.middle_block(x, embedding)]


class OpenAIUNet(Encoder):
    """(x, time, labels) -> (B, out_channels, H, W).

    x: (B, in_channels, H, W); time: (B,) in the network's own unit, float32 or float64 whatever the weights' dtype;
    labels: (B,) int64 from 0 to num_classes - 1. No row stands for the null label: without labels a class-conditional
    network is told of no class, which it was not trained on. `embedding` stands for embed(time, labels) where it is
    given. attention_resolutions are factors of down-sampling.
    """

    def __init__(
        self,
        image_size: int,
        in_channels: int,
        model_channels: int,
        out_channels: int,
        num_res_blocks: int,
        attention_resolutions: Sequence[int],
        dropout: float = 0.0,
        channel_mult: Sequence[float] = (1, 2, 4, 8),
        num_classes: int | None = None,
        num_heads: int = 1,
        num_head_channels: int = -1,
        num_heads_upsample: int = -1,
        use_scale_shift_norm: bool = False,
        resblock_updown: bool = False,
        use_new_attention_order: bool = False,
        attention_dims: Literal[1, 2] = 1,
        time_embedding: Order = "cos-sin",
        eps: float = 1e-5,
    ) -> None:
        super().__init__(
            image_size,
            in_channels,
            model_channels,
            num_res_blocks,
            attention_resolutions,
            dropout,
            channel_mult,
            num_heads,
            num_head_channels,
            use_scale_shift_norm,
            resblock_updown,
            use_new_attention_order,
            attention_dims,
            time_embedding,
            eps,
        )
        self.out_channels, self.num_classes = out_channels, num_classes
        self.label_emb = nn.Embedding(num_classes, model_channels * 4) if num_classes is not None else None
        self._build_decoder(num_res_blocks, num_heads if num_heads_upsample == -1 else num_heads_upsample)
        width = self._level_widths[0]
        self.out = nn.Sequential(
            nn.GroupNorm(GROUPS, width, eps), nn.SiLU(), zero(nn.Conv2d(width, out_channels, 3, padding=1))
        )

    def _build_decoder(self, num_res_blocks: int, heads: int) -> None:
        self.output_blocks = nn.ModuleList()
        widths, channels = list(self.widths), self.channels
        for level, channels_out in reversed(list(enumerate(self._level_widths))):
            for k in range(num_res_blocks + 1):
                layers: list[nn.Module] = [self._residual(channels + widths.pop(), channels_out)]
                channels = channels_out
                if self._attends[level]:
                    layers.append(self._attention(channels, heads))
                if level > 0 and k == num_res_blocks:
                    layers.append(self._residual(channels, channels, "up") if self._updown else Upsample(channels))
                self.output_blocks.append(TimestepSequential(*layers))

    def forward(self, x: Tensor, time: Tensor, labels: Tensor | None = None, embedding: Tensor | None = None) -> Tensor:
        if embedding is None:
            embedding = self.embed(time, labels)
        *skips, x = self._encode(x, embedding)
        for block in self.output_blocks:
            x = block(torch.cat([x, skips.pop()], dim=1), embedding)
        return self.out(x)

    def embed(self, time: Tensor, labels: Tensor | None = None) -> Tensor:
        """Of time and label, (B, 4 model_channels)."""
        embedding = self._embed_time(time)
        if self.label_emb is not None and labels is not None:
            embedding = embedding + self.label_emb(labels)
        return embedding

    def residual_blocks(self) -> list[tuple[nn.Module, int]]:
        """Of the way down, the first in the middle, of the way up, with their attention; and the channels of each."""
        found = list[tuple[nn.Module, int]]()
        for layers in [*self.input_blocks, self.middle_block[:2], *self.output_blocks]:
            blocks = [layer for layer in layers if isinstance(layer, ResBlock) and layer.resample is None]
            attention = [layer for layer in layers if isinstance(layer, AttentionBlock)]
            if blocks:
                found.append(([*blocks, *attention][-1], blocks[0].channels_out))
        return found


class AttentionPool(nn.Module):
    """(B, C, H, W) -> (B, outputs): what the image's mean attends to (Radford et al. 2021)."""

    def __init__(self, side: int, channels: int, head_channels: int, outputs: int) -> None:
        super().__init__()
        self.heads = channels // head_channels
        self.positional_embedding = nn.Parameter(torch.empty(channels, side**2 + 1))
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, outputs, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.positional_embedding, std=len(self.positional_embedding) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2)
        x = torch.cat([x.mean(dim=2, keepdim=True), x], dim=2) + self.positional_embedding
        return self.c_proj(attend(self.qkv_proj(x), self.heads, new_order=True)[:, :, :1])[:, :, 0]


class OpenAIClassifier(Encoder):
    """(x, label) -> logits (B, out_channels) of noisy images, for classifier guidance (Dhariwal & Nichol 2021, app. A).

    x: (B, in_channels, H, W) on the path of the network that it guides; label: (B,), real, as that network is fed.
    num_head_channels must be given.
    """

    def __init__(
        self,
        image_size: int,
        in_channels: int,
        model_channels: int,
        out_channels: int,
        num_res_blocks: int,
        attention_resolutions: Sequence[int],
        channel_mult: Sequence[float] = (1, 2, 4, 8),
        num_head_channels: int = 64,
        use_scale_shift_norm: bool = True,
        resblock_updown: bool = True,
        use_new_attention_order: bool = False,
        pool: Literal["attention"] = "attention",
    ) -> None:
        super().__init__(
            image_size,
            in_channels,
            model_channels,
            num_res_blocks,
            attention_resolutions,
            channel_mult=channel_mult,
            num_head_channels=num_head_channels,
            use_scale_shift_norm=use_scale_shift_norm,
            resblock_updown=resblock_updown,
            use_new_attention_order=use_new_attention_order,
        )
        if pool != "attention":
            raise ValueError(f"unknown pool {pool!r}; only attention is known")
        side = image_size >> (len(channel_mult) - 1)
        self.out = nn.Sequential(
            nn.GroupNorm(GROUPS, self.channels),
            nn.SiLU(),
            AttentionPool(side, self.channels, num_head_channels, out_channels),
        )

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return self.out(self._encode(x, self._embed_time(label))[-1])
