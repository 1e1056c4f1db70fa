"""The U-Net of Ho et al. 2020, under the names of its PyTorch ports (pesser/pytorch_diffusion, ermongroup/ddim)."""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .embedding import zero
from .openai import Upsample
from .sinusoids import sinusoids

GROUPS, EPS = 32, 1e-6


class ResnetBlock(nn.Module):
    """x (B, channels, H, W), temb (B, 4 ch) -> (B, channels_out, H, W); the embedding is added between the convs."""

    def __init__(self, channels: int, channels_out: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, channels, EPS)
        self.conv1 = nn.Conv2d(channels, channels_out, 3, padding=1)
        self.temb_proj = nn.Linear(embedding, channels_out)
        self.norm2 = nn.GroupNorm(GROUPS, channels_out, EPS)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zero(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.nin_shortcut = nn.Conv2d(channels, channels_out, 1) if channels != channels_out else None

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x))) + self.temb_proj(functional.silu(temb))[:, :, None, None]
        h = self.conv2(self.dropout(functional.silu(self.norm2(h))))
        return (x if self.nin_shortcut is None else self.nin_shortcut(x)) + h


class AttnBlock(nn.Module):
    """Self-attention with one head: x (B, C, H, W) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, EPS)
        self.q, self.k, self.v = (nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.proj_out = zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2) for layer in (self.q, self.k, self.v))
        logits = torch.einsum("ncq,nck->nqk", q, k) * x.shape[1] ** -0.5
        weights = logits.float().softmax(dim=2).to(v.dtype)
        return x + self.proj_out(torch.einsum("nqk,nck->ncq", weights, v).reshape(x.shape))


class Downsample(nn.Module):
    """Halves the resolution; pads on the right and below only, as TensorFlow does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.pad(x, (0, 1, 0, 1)))


class TimeEmbedding(nn.Module):
    """Label (B,) -> (B, 4 ch): sines, then cosines, and two layers."""

    def __init__(self, ch: int) -> None:
        super().__init__()
        self.ch = ch
        self.dense = nn.ModuleList([nn.Linear(ch, 4 * ch), nn.Linear(4 * ch, 4 * ch)])

    def forward(self, time: Tensor) -> Tensor:
        first, second = self.dense
        dtype = next(first.parameters()).dtype
        return second(functional.silu(first(sinusoids(time, self.ch, "sin-cos", True, dtype))))


class Level(nn.Module):
    """The residual blocks of one resolution, from `widths_in` channels to `width`; the last `attentions` attend.

    `downsample` or `upsample`, whichever the level has, ends it.
    """

    downsample: Downsample | None
    upsample: Upsample | None

    def __init__(self, widths_in: Sequence[int], width: int, attentions: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResnetBlock(channels, width, embedding, dropout) for channels in widths_in)
        self.attn = nn.ModuleList(AttnBlock(width) for _ in range(attentions))
        self.downsample = self.upsample = None

    def step(self, k: int, x: Tensor, temb: Tensor) -> Tensor:
        """Block k, and its attention."""
        x, with_attention = self.block[k](x, temb), k - len(self.block) + len(self.attn)
        return self.attn[with_attention](x) if with_attention >= 0 else x

    def residual_blocks(self) -> list[tuple[nn.Module, int]]:
        """The last layer of each step, with the channels of what it gives."""
        blocks = [cast(ResnetBlock, block) for block in self.block]
        last = [*blocks[: len(blocks) - len(self.attn)], *self.attn]
        return [(layer, block.conv2.out_channels) for layer, block in zip(last, blocks, strict=True)]


class Middle(nn.Module):
    def __init__(self, width: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(width, width, embedding, dropout)
        self.attn_1 = AttnBlock(width)
        self.block_2 = ResnetBlock(width, width, embedding, dropout)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x, temb)), temb)

    def residual_blocks(self) -> list[tuple[nn.Module, int]]:
        """The first with its attention."""
        return [(self.attn_1, self.block_1.conv2.out_channels)]


class DDPMUNet(nn.Module):
    """(x, time, None) -> (B, out_ch, H, W). x: (B, in_channels, H, W); time: labels (B,), real;
    `embedding` stands for embed(time) where it is given.

    Arguments have the names of ermongroup/ddim's code. attn_on_the_way_up: after every block of its level, or after the
    last alone, as in score_sde's `ddpm`.
    """

    def __init__(
        self,
        image_size: int,
        in_channels: int = 3,
        out_ch: int = 3,
        ch: int = 128,
        ch_mult: Sequence[int] = (1, 2, 2, 2),
        num_res_blocks: int = 2,
        attn_resolutions: Sequence[int] = (16,),
        dropout: float = 0.0,
        attn_on_the_way_up: Literal["every", "last"] = "every",
    ) -> None:
        super().__init__()
        self.image_size, self.in_channels, self.out_channels = image_size, in_channels, out_ch
        self.temb = TimeEmbedding(ch)
        self.conv_in = nn.Conv2d(in_channels, ch, 3, padding=1)
        widths = [ch * mult for mult in ch_mult]
        attends = [image_size >> level in attn_resolutions for level in range(len(ch_mult))]

        self.down = nn.ModuleList()
        skips = [ch]
        for i, width in enumerate(widths):
            widths_in = [skips[-1], *[width] * (num_res_blocks - 1)]
            level = Level(widths_in, width, num_res_blocks * attends[i], 4 * ch, dropout)
            skips += [width] * num_res_blocks
            if i < len(widths) - 1:
                level.downsample = Downsample(width)
                skips.append(width)
            self.down.append(level)

        self.mid = Middle(widths[-1], 4 * ch, dropout)

        levels, channels, blocks = list[Level](), widths[-1], num_res_blocks + 1
        for i, width in reversed(list(enumerate(widths))):
            widths_in = [before + skips.pop() for before in (channels, *[width] * num_res_blocks)]
            attentions = attends[i] * (blocks if attn_on_the_way_up == "every" else 1)
            level, channels = Level(widths_in, width, attentions, 4 * ch, dropout), width
            if i > 0:
                level.upsample = Upsample(width)
            levels.append(level)
        # In the state dict a level has its number, not its place on the way.
        self.up = nn.ModuleList(reversed(levels))
        self.norm_out = nn.GroupNorm(GROUPS, channels, EPS)
        self.conv_out = zero(nn.Conv2d(channels, out_ch, 3, padding=1))

    def forward(self, x: Tensor, time: Tensor, labels: Tensor | None = None, embedding: Tensor | None = None) -> Tensor:
        temb = self.embed(time, labels) if embedding is None else embedding
        skips = [self.conv_in(x)]
        for level in cast(list[Level], self.down):
            for k in range(len(level.block)):
                skips.append(level.step(k, skips[-1], temb))
            if level.downsample is not None:
                skips.append(level.downsample(skips[-1]))
        h = self.mid(skips[-1], temb)
        for level in reversed(cast(list[Level], self.up)):
            for k in range(len(level.block)):
                h = level.step(k, torch.cat([h, skips.pop()], dim=1), temb)
            if level.upsample is not None:
                h = level.upsample(h)
        return self.conv_out(functional.silu(self.norm_out(h)))

    def embed(self, time: Tensor, labels: Tensor | None = None) -> Tensor:
        """Of the label of the noise, (B, 4 ch); there are no classes."""
        return self.temb(time)

    def residual_blocks(self) -> list[tuple[nn.Module, int]]:
        """Of the way down, the first in the middle, of the way up, with their attention; and the channels of each."""
        down, up = (cast(list[Level], levels) for levels in (self.down, self.up))
        parts: list[Level | Middle] = [*down, self.mid, *reversed(up)]
        return [found for part in parts for found in part.residual_blocks()]
