"""ADM (Dhariwal & Nichol 2021), as reimplemented by Karras et al. 2022, appendix F."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .edm_layers import (
    BlockStyle,
    Conv2d,
    GroupNorm,
    Init,
    Linear,
    PositionalEmbedding,
    UNetBlock,
    class_vector,
    residual_blocks,
)

KAIMING = Init("kaiming", weight=math.sqrt(1 / 3), bias=math.sqrt(1 / 3))
ZERO = Init("kaiming", weight=0.0)


class DhariwalUNet(nn.Module):
    """F(x, c_noise, class_labels, augment_labels): a U-Net with adaptive group norms and multi-head attention.

    x: (B, in_channels, H, W); noise_labels: c_noise (B,); class_labels: one-hot (B, label_dim), None for zeros;
    augment_labels: (B, augment_dim), None for an image that was not augmented. `embedding`
    stands for what `embed` makes of the last three where it is given. Result: (B, out_channels, H, W).
    """

    def __init__(
        self,
        img_resolution: int,
        in_channels: int,
        out_channels: int,
        label_dim: int = 0,
        augment_dim: int = 0,
        model_channels: int = 192,
        channel_mult: Sequence[int] = (1, 2, 3, 4),
        channel_mult_emb: int = 4,
        num_blocks: int = 3,
        attn_resolutions: Sequence[int] = (32, 16, 8),
        dropout: float = 0.10,
        label_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.label_dim, self.label_dropout = label_dim, label_dropout
        self.num_blocks = num_blocks
        self.resolutions = [img_resolution >> level for level in range(len(channel_mult))]
        embedding = model_channels * channel_mult_emb
        self.map_noise = PositionalEmbedding(model_channels, endpoint=False)
        self.map_augment = Linear(augment_dim, model_channels, ZERO, bias=False) if augment_dim else None
        self.map_layer0 = Linear(model_channels, embedding, KAIMING)
        self.map_layer1 = Linear(embedding, embedding, KAIMING)
        one_hot = Init("kaiming_normal", weight=math.sqrt(label_dim))
        self.map_label = Linear(label_dim, embedding, one_hot, bias=False) if label_dim else None

        style = BlockStyle(embedding, KAIMING, ZERO, KAIMING, channels_per_head=64, dropout=dropout)
        levels = list(zip(self.resolutions, [model_channels * mult for mult in channel_mult], strict=True))
        self.enc = nn.ModuleDict()
        skips = self._build_encoder(style, levels, attn_resolutions, in_channels)
        self.dec = nn.ModuleDict()
        self._build_decoder(style, levels, attn_resolutions, skips)
        self.out_norm = GroupNorm(levels[0][1])
        self.out_conv = Conv2d(levels[0][1], out_channels, 3, ZERO)

    def _build_encoder(
        self, style: BlockStyle, levels: list[tuple[int, int]], attn_resolutions: Sequence[int], in_channels: int
    ) -> list[int]:
        """Fills `enc`; returns the widths that the decoder's skip connections have."""
        width = levels[0][1]
        skips = [width]
        for level, (resolution, width_out) in enumerate(levels):
            r = f"{resolution}x{resolution}"
            if level == 0:
                self.enc[f"{r}_conv"] = Conv2d(in_channels, width, 3, KAIMING)
            else:
                self.enc[f"{r}_down"] = UNetBlock(width, width, style, down=True)
                skips.append(width)
            for k in range(self.num_blocks):
                attend = resolution in attn_resolutions
                self.enc[f"{r}_block{k}"] = UNetBlock(width, width_out, style, attention=attend)
                width = width_out
                skips.append(width)
        return skips

    def _build_decoder(
        self, style: BlockStyle, levels: list[tuple[int, int]], attn_resolutions: Sequence[int], skips: list[int]
    ) -> None:
        width = skips[-1]
        for level, (resolution, width_out) in reversed(list(enumerate(levels))):
            r = f"{resolution}x{resolution}"
            if level == len(levels) - 1:
                self.dec[f"{r}_in0"] = UNetBlock(width, width, style, attention=True)
                self.dec[f"{r}_in1"] = UNetBlock(width, width, style)
            else:
                self.dec[f"{r}_up"] = UNetBlock(width, width, style, up=True)
            for k in range(self.num_blocks + 1):
                attend = resolution in attn_resolutions
                self.dec[f"{r}_block{k}"] = UNetBlock(width + skips.pop(), width_out, style, attention=attend)
                width = width_out

    def residual_blocks(self) -> list[tuple[nn.Module, int]]:
        """As in `edm_layers`."""
        return residual_blocks(self.enc, self.dec)

    def forward(
        self,
        x: Tensor,
        noise_labels: Tensor,
        class_labels: Tensor | None = None,
        augment_labels: Tensor | None = None,
        embedding: Tensor | None = None,
    ) -> Tensor:
        if embedding is None:
            embedding = self.embed(noise_labels, class_labels, augment_labels)
        skips: list[Tensor] = []
        for layer in self.enc.values():
            x = layer(x, embedding) if isinstance(layer, UNetBlock) else layer(x)
            skips.append(x)
        for name, layer in self.dec.items():
            x = layer(torch.cat([x, skips.pop()], dim=1) if "block" in name else x, embedding)
        return self.out_conv(functional.silu(self.out_norm(x)))

    def embed(
        self, noise_labels: Tensor, class_labels: Tensor | None = None, augment_labels: Tensor | None = None
    ) -> Tensor:
        """Of noise level, class and augmentation, (B, E)."""
        embedding = self.map_noise(noise_labels).to(self.map_layer0.weight.dtype)
        if self.map_augment is not None and augment_labels is not None:
            embedding = embedding + self.map_augment(augment_labels.to(embedding.dtype))
        embedding = self.map_layer1(functional.silu(self.map_layer0(embedding)))
        if self.map_label is not None:
            dropout = self.label_dropout if self.training else 0.0
            labels = class_vector(class_labels, self.label_dim, dropout, like=embedding)
            embedding = embedding + self.map_label(labels)
        return functional.silu(embedding)
