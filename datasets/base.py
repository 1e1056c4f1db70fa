"""What a data set gives: samples scaled to [-1, 1], labels, and batches that depend on (seed, step) alone."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypedDict

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from ..methods.randomness import generator


class Dataset(Protocol):
    """`shape` is one sample's; `classes` is 0 without labels; `bound` is the largest |x0|, None where there is none."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def classes(self) -> int: ...

    @property
    def bound(self) -> float | None: ...

    def __len__(self) -> int: ...

    def samples(self, indices: Tensor) -> Tensor:
        """float32 (len(indices), *shape), scaled to [-1, 1] where the data are images."""
        ...

    def labels(self, indices: Tensor) -> Tensor | None:
        """int64 (len(indices),), or None without labels."""
        ...


@dataclass(frozen=True)
class ImageSet:
    """Images in memory or mapped into it: uint8 NCHW from 0 to max_value, labels int64 or None.

    `content` is the hash of the archive that they come from, empty for what is embedded.
    """

    name: str
    images: Tensor
    targets: Tensor | None = None
    max_value: int = 255
    classes: int = 0
    bound: float = 1.0
    content: str = ""

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"{self.name}: images must be uint8 NCHW, not {self.images.dtype} {self.images.ndim}-D")
        if self.targets is not None and len(self.targets) != len(self.images):
            raise ValueError(f"{self.name}: {len(self.targets)} labels for {len(self.images)} images")

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.images.shape[1:])

    def __len__(self) -> int:
        return len(self.images)

    def samples(self, indices: Tensor) -> Tensor:
        return to_unit_range(self.images[indices], self.max_value)

    def labels(self, indices: Tensor) -> Tensor | None:
        return None if self.targets is None else self.targets[indices]

    def pixels_sha256(self) -> str:
        """The SHA-256 of the images' shape and pixels, in their order."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for part in self.images.split(4096):
            digest.update(part.contiguous().numpy())
        return digest.hexdigest()


def to_unit_range(images: Tensor, max_value: int = 255) -> Tensor:
    """uint8 0..max_value to float32 [-1, 1]; the one place where images are scaled."""
    return images.float() * (2 / max_value) - 1


def shuffled(positions: Tensor, count: int, seed: int, purpose: str) -> Tensor:
    """What stands at these positions (N,) of endless passes over 0 to count - 1, each a permutation of its own.

    A function of (seed, purpose, position).
    """
    passes, rows = positions // count, torch.empty_like(positions)
    for turn in passes.unique().tolist():
        here = passes == turn
        rows[here] = _order(count, seed, purpose, turn)[positions[here] % count]
    return rows


# Drawing ImageNet's takes 24 ms: it is kept for the steps of its pass. Two, as two uses may take turns.
@lru_cache(maxsize=2)
def _order(count: int, seed: int, purpose: str, turn: int) -> Tensor:
    return torch.randperm(count, generator=generator(seed, purpose, turn))


class Batch(TypedDict):
    """One training step's data; `step` makes the step's noise a function of (seed, step)."""

    step: int
    x0: Tensor
    labels: Tensor | None


class Batches(IterableDataset[Batch]):
    """Endless batches: step k's indices are a function of (seed, k), so that training resumes anywhere.

    Each epoch is a permutation drawn from (seed, epoch); batches run across epoch ends. `start` is read
    when iteration begins.
    """

    def __init__(self, data: Dataset, batch: int, seed: int, start: int = 0) -> None:
        self.data, self.batch, self.seed, self.start = data, batch, seed, start

    def indices(self, step: int) -> Tensor:
        start, count = step * self.batch, len(self.data)
        turn, first = divmod(start, count)
        if first + self.batch <= count:
            return _order(count, self.seed, "epoch", turn)[first : first + self.batch]
        return shuffled(torch.arange(start, start + self.batch), count, self.seed, "epoch")

    def __iter__(self) -> Iterator[Batch]:
        step = self.start
        while True:
            rows = self.indices(step)
            yield Batch(step=step, x0=self.data.samples(rows), labels=self.data.labels(rows))
            step += 1
