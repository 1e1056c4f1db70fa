"""A small convolutional U-Net for the embedded default: 8x8 to 32x32 images in minutes of CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .embedding import NoiseEmbedding, zero


class Block(nn.Module):
    """Residual block: norm, SiLU, conv, plus the noise embedding, norm, SiLU, conv (zero at the start)."""

    def __init__(self, channels_in: int, channels_out: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(min(8, channels_in // 4), channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.shift = nn.Linear(embedding, channels_out)
        self.norm2 = nn.GroupNorm(min(8, channels_out // 4), channels_out)
        self.conv2 = zero(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.skip = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x))) + self.shift(embedding)[:, :, None, None]
        return self.skip(x) + self.conv2(functional.silu(self.norm2(h)))


class SmallUNet(nn.Module):
    """F(x, c_noise, condition): x (B, C, H, W), c_noise (B,), labels (B,) int64 or None.

    `embedding`, (B, embedding), stands for embed(c_noise, condition) where it is given.
    H and W must be divisible by 2^(levels - 1).
    """

    def __init__(
        self,
        image_channels: int,
        channels: int = 16,
        multipliers: tuple[int, ...] = (1, 2),
        blocks: int = 1,
        embedding: int = 64,
        classes: int = 0,
    ) -> None:
        super().__init__()
        widths = [channels * m for m in multipliers]
        self.embed = NoiseEmbedding(embedding, classes)
        self.stem = nn.Conv2d(image_channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        width = widths[0]
        skips = [width]
        for level, w in enumerate(widths):
            for _ in range(blocks):
                self.down.append(Block(width, w, embedding))
                width = w
                skips.append(width)
            if level + 1 < len(widths):
                self.down.append(nn.AvgPool2d(2))
                skips.append(width)
        self.middle = nn.ModuleList([Block(width, width, embedding), Block(width, width, embedding)])
        self.up = nn.ModuleList()
        for level, w in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(Block(width + skips.pop(), w, embedding))
                width = w
            if level > 0:
                self.up.append(nn.Upsample(scale_factor=2, mode="nearest"))
        self.out_norm = nn.GroupNorm(min(8, width // 4), width)
        self.out = zero(nn.Conv2d(width, image_channels, 3, padding=1))

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None, embedding: Tensor | None = None
    ) -> Tensor:
        embedding = self.embed(c_noise, condition) if embedding is None else embedding
        h = self.stem(x)
        skips = [h]
        for layer in self.down:
            h = layer(h, embedding) if isinstance(layer, Block) else layer(h)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, embedding)
        for layer in self.up:
            h = layer(torch.cat([h, skips.pop()], dim=1), embedding) if isinstance(layer, Block) else layer(h)
        return self.out(functional.silu(self.out_norm(h)))

    def residual_blocks(self) -> list[tuple[nn.Module, int]]:
        """Of the way down, the first in the middle, of the way up; with the channels of what they give."""
        blocks = [*self.down, self.middle[0], *self.up]
        return [(block, block.conv2.out_channels) for block in blocks if isinstance(block, Block)]
