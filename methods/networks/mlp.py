"""A residual MLP for low-dimensional laws such as the 2-D Gaussian mixture."""

from torch import Tensor, nn
from torch.nn import functional

from .embedding import NoiseEmbedding, zero


class ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        return h + self.narrow(functional.silu(self.wide(self.norm(h) + embedding)))


class ResidualMLP(nn.Module):
    """F(x, c_noise, condition): x (B, D), c_noise (B,), labels (B,) int64 or None.

    `embedding`, (B, width), stands for embed(c_noise, condition) where it is given.
    """

    def __init__(self, dimension: int, width: int = 96, blocks: int = 3, classes: int = 0) -> None:
        super().__init__()
        self.embed = NoiseEmbedding(width, classes)
        self.stem = nn.Linear(dimension, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        self.out = zero(nn.Linear(width, dimension))

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None, embedding: Tensor | None = None
    ) -> Tensor:
        embedding = self.embed(c_noise, condition) if embedding is None else embedding
        h = self.stem(x)
        for block in self.blocks:
            h = block(h, embedding)
        return self.out(functional.silu(h))

    def residual_blocks(self) -> list[tuple[nn.Module, int]]:
        """With the width of what they give."""
        return [(block, self.stem.out_features) for block in self.blocks]
