"""Captions of a few known words as numbers, and a small transformer that reads them."""

from collections.abc import Sequence
from zlib import crc32

import torch
from torch import Tensor, nn

WORDS, LENGTH = 128, 8
"""Numbers of words, 0 for none; words of a caption."""


def tokens(captions: Sequence[str]) -> Tensor:
    """(len(captions), LENGTH) int64: 1 + crc32(word) mod 127 for each word, then zeros; "" is the null prompt.

    ValueError for a caption of more words, and where two words have the same number.
    """
    rows, known = [], dict[int, str]()
    for caption in captions:
        words = caption.split()
        if len(words) > LENGTH:
            raise ValueError(f"{caption!r} has {len(words)} words, and the text encoder reads {LENGTH}")
        numbers = [1 + crc32(word.encode()) % (WORDS - 1) for word in words]
        for number, word in zip(numbers, words, strict=True):
            if known.setdefault(number, word) != word:
                raise ValueError(f"the text encoder cannot tell {word!r} from {known[number]!r}; choose another word")
        rows.append(numbers + [0] * (LENGTH - len(words)))
    return torch.tensor(rows, dtype=torch.int64)


class TextEncoder(nn.Module):
    """Tokens (B, LENGTH) -> (B, out): one pre-norm transformer layer, whose outputs stand side by side in the end.

    Their mean would lose the order of the words, which is most of what these captions say.
    """

    def __init__(self, out: int, width: int = 32, heads: int = 2, hidden: int = 64) -> None:
        super().__init__()
        self.heads = heads
        self.words = nn.Embedding(WORDS, width)
        self.places = nn.Parameter(0.1 * torch.randn(LENGTH, width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.out = nn.Linear(LENGTH * width, out)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.words(tokens) + self.places
        h = h + self._attention(self.norm1(h))
        h = h + self.narrow(nn.functional.silu(self.wide(self.norm2(h))))
        return self.out(h.flatten(1))

    def _attention(self, h: Tensor) -> Tensor:
        batch, length, width = h.shape
        q, k, v = self.qkv(h).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1)
        return self.joined((weights @ v).transpose(1, 2).reshape(batch, length, width))
