"""What a network adds to its noise embedding for a caption: encoded while it is trained, looked up ever after."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..prompts import Encoded, PromptTable, write
from ..text_encoder import TextEncoder, tokens


class EncodedCaptions(nn.Module):
    """rows (B,) int64 -> (B, width) by a text encoder that is trained with the network; the last row is the null
    prompt's. ValueError for captions that the encoder cannot read.
    """

    tokens: Tensor

    def __init__(self, captions: Sequence[str], width: int) -> None:
        super().__init__()
        self.encoder = TextEncoder(width)
        self.register_buffer("tokens", tokens([*captions, ""]), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        return self.encoder(self.tokens[rows])

    @torch.no_grad()
    def write(self, file: Path) -> None:
        """The table of all rows, whose identity is that of the tokens and of the encoder's weights."""
        digest = hashlib.sha256(self.tokens.cpu().numpy().tobytes())
        for name, tensor in sorted(self.encoder.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        rows = self(torch.arange(len(self.tokens), device=self.tokens.device))
        write(file, [Encoded(pooled=rows)], len(self.tokens), digest.hexdigest())


class CaptionRows(nn.Module):
    """rows (B,) int64 -> (B, width) from a table: no parameters, nothing in a state dict, one file for all copies."""

    def __init__(self, table: PromptTable) -> None:
        super().__init__()
        self.table = table

    def forward(self, rows: Tensor) -> Tensor:
        pooled = self.table.at(rows).pooled
        assert pooled is not None
        return pooled
