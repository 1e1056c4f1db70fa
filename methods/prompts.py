"""Captions as conditions: a condition is a row, int64, of a frozen table of encoded prompts.

The text encoder has run once, before anything is trained or sampled. Labels, pairs, guidance and every method then see
numbers, as those of classes; only the network looks its rows up. The last row is the null prompt.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from .randomness import categories

FORMAT = "fewstep-prompts-1"


@dataclass(frozen=True)
class Prompts:
    """Which rows of a table samples are drawn with.

    evaluation: row i mod n for sample i, whatever the seed. training: rows drawn uniformly, with repetition. null: the
    row of the null prompt, after all others.
    """

    evaluation: range
    training: range
    null: int

    def drawn(self, seed: int, purpose: str, indices: Iterable[int]) -> Tensor:
        """Rows (len(indices),) int64: those of the evaluation for the purpose "label", else of the training."""
        if purpose == EVALUATION:
            return torch.tensor([self.evaluation[i % len(self.evaluation)] for i in indices], dtype=torch.int64)
        return self.training.start + categories(seed, purpose, indices, (1,) * len(self.training))


EVALUATION = "label"
"""The purpose for which scored samples draw their conditions."""


@dataclass(frozen=True)
class Encoded:
    """What a text encoder makes of some prompts: tokens (B, L, D) with mask (B, L) bool, pooled (B, P); None: none."""

    tokens: Tensor | None = None
    mask: Tensor | None = None
    pooled: Tensor | None = None


class PromptTable:
    """Encoded prompts in a file, read row by row: it is never in memory as a whole, and copies share it.

    `identity` says what made it: encoders, prompts, length, cleaning. Of masked tokens only those that count are in the
    file; they are padded with zeros on reading.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        with safe_open(file, "pt") as opened:
            facts = opened.metadata() or {}
            self._names = set(opened.keys())
        if facts.get("format") != FORMAT:
            raise ValueError(f"{file}: not a table of encoded prompts")
        self.identity: str = facts["identity"]
        self.length: int = int(facts["length"])
        self.masked: bool = facts["masked"] == "true"
        self._nulls: Tensor | None = None
        self._starts: Tensor | None = None
        self._opened: Any = None
        self._last: list[tuple[Tensor, int, Encoded]] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> "PromptTable":
        return self

    def __len__(self) -> int:
        """How many prompts, the null prompt among them."""
        return int(self._slice("pooled").get_shape()[0]) if "pooled" in self._names else len(self.starts) - 1

    @property
    def null(self) -> int:
        return len(self) - 1

    def nulls(self, count: int, device: torch.device) -> Tensor:
        """The null prompt's row, `count` times: the same tensor for the same question."""
        if self._nulls is None or len(self._nulls) != count or self._nulls.device != device:
            self._nulls = torch.full((count,), self.null, device=device)
        return self._nulls

    @property
    def starts(self) -> Tensor:
        """Where the tokens of each prompt begin, and where the last end."""
        if self._starts is None:
            self._starts = self._slice("starts")[:]
        return self._starts

    def at(self, rows: Tensor) -> Encoded:
        """The prompts of rows (B,), on their device, in the dtype of the file. IndexError for a row that is not there.

        Rows that occur several times are read once. For the very tensor of the call before, or of the one before that,
        the answer is the same again: a solver asks with one tensor at all its steps, under guidance with two.
        """
        version = 0 if rows.is_inference() else rows._version
        for asked, then, found in self._last:
            if asked is rows and then == version:
                return found
        found = self._at(rows)
        self._last = [(rows, version, found), *self._last[:1]]
        return found

    def _at(self, rows: Tensor) -> Encoded:
        wanted, where = torch.unique(rows.cpu(), return_inverse=True)
        if len(wanted) and not 0 <= int(wanted[0]) <= int(wanted[-1]) < len(self):
            raise IndexError(f"rows {int(wanted[0])} to {int(wanted[-1])} of {len(self)} prompts")
        here, where = wanted.tolist(), where.to(rows.device)
        pooled = self._rows("pooled", [(row, row + 1) for row in here]) if "pooled" in self._names else None
        tokens, mask = self._tokens(here) if "tokens" in self._names else (None, None)
        found = (None if part is None else part.to(rows.device)[where] for part in (tokens, mask, pooled))
        return Encoded(*found)

    def _tokens(self, rows: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        ends = [(int(self.starts[row]), int(self.starts[row + 1])) for row in rows]
        flat = self._rows("tokens", ends)
        counts = torch.tensor([end - start for start, end in ends])
        mask = torch.arange(self.length) < counts[:, None]
        tokens = flat.new_zeros(len(rows), self.length, flat.shape[-1])
        tokens[mask] = flat
        return tokens, mask if self.masked else None

    def _rows(self, name: str, ends: Sequence[tuple[int, int]]) -> Tensor:
        part = self._slice(name)
        return torch.cat([part[start:end] for start, end in ends]) if ends else part[0:0]

    def _slice(self, name: str) -> Any:
        if self._opened is None:
            self._opened = safe_open(self.file, "pt")
        return self._opened.get_slice(name)


def write(file: Path, encoded: Iterable[Encoded], count: int, identity: str) -> PromptTable:
    """The table of `count` prompts, the null prompt last, that come in parts; what is in memory is one part at a time.

    Every part has the same kinds of tensors. ValueError where another number of prompts comes.
    """
    writer = _Writer(file, count)
    for part in encoded:
        writer.add(part)
    writer.finish(identity)
    return PromptTable(file)


class _Writer:
    """Tensors whose sizes are known only at the end are laid down beside the file first, as plain bytes."""

    def __init__(self, file: Path, count: int) -> None:
        self.file, self.count = file, count
        self.parts: dict[str, tuple[Path, str, list[int]]] = {}
        self.counts: list[int] = []
        self.length, self.masked = 0, False

    def add(self, part: Encoded) -> None:
        if part.tokens is not None:
            self.length, self.masked = part.tokens.shape[1], part.mask is not None
            mask = torch.ones(part.tokens.shape[:2], dtype=torch.bool) if part.mask is None else part.mask.bool().cpu()
            self.counts += mask.sum(1).tolist()
            self._append("tokens", part.tokens.cpu()[mask])
        if part.pooled is not None:
            self._append("pooled", part.pooled.cpu())

    def _append(self, name: str, rows: Tensor) -> None:
        start = (self.file.with_suffix(f".{name}"), DTYPES[rows.dtype], [0, *rows.shape[1:]])
        path, _, shape = self.parts.setdefault(name, start)
        shape[0] += len(rows)
        with path.open("ab") as stream:
            stream.write(rows.contiguous().view(torch.uint8).numpy().tobytes())

    def finish(self, identity: str) -> None:
        rows = {len(self.counts)} if self.counts else set()
        if "pooled" in self.parts:
            rows.add(self.parts["pooled"][2][0])
        if rows != {self.count}:
            raise ValueError(f"{sorted(rows)} prompts were encoded, not {self.count}")
        if self.counts:
            starts = np.concatenate([[0], np.cumsum(self.counts)])
            self._append("starts", torch.from_numpy(starts))
        facts = {"format": FORMAT, "identity": identity, "length": str(self.length)}
        header: dict[str, Any] = {"__metadata__": {**facts, "masked": str(self.masked).lower()}}
        place = 0
        for name, (path, dtype, shape) in self.parts.items():
            size = path.stat().st_size
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + size]}
            place += size
        text = json.dumps(header, sort_keys=True).encode()
        text += b" " * (-len(text) % 8)
        with self.file.open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            for path, _, _ in self.parts.values():
                for block in _blocks(path):
                    stream.write(block)
                path.unlink()


DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
}
"""As safetensors call them."""


def _blocks(path: Path, size: int = 2**24) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(size):
            yield block
