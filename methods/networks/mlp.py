"""A residual MLP for low-dimensional laws such as the 2-D Gaussian mixture."""

from torch import Tensor, nn
from torch.nn import functional

from .embedding import NoiseEmbedding


class ResidualMLP(nn.Module):
    """F(x, c_noise, condition): x (B, D), c_noise (B,); the condition is not used."""

    def __init__(self, dimension: int, width: int = 96, blocks: int = 3) -> None:
        super().__init__()
        self.embed = NoiseEmbedding(width)
        self.stem = nn.Linear(dimension, width)
        self.blocks = nn.ModuleList(
            nn.ModuleList([nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)])
            for _ in range(blocks)
        )
        self.out = nn.Linear(width, dimension)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None) -> Tensor:
        embedding = self.embed(c_noise)
        h = self.stem(x)
        for norm, wide, narrow in self.blocks:
            h = h + narrow(functional.silu(wide(norm(h) + embedding)))
        return self.out(functional.silu(h))
