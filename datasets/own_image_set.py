"""The images of a folder, zip, tar or npz as a data set, decoded when they are asked for."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from .base import to_unit_range
from .images import Images


@dataclass(frozen=True)
class OwnImageSet:
    """A data set without labels. `content` is the hash of the files."""

    name: str
    images: Images
    content: str
    classes: int = 0
    bound: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)

    def samples(self, indices: Tensor) -> Tensor:
        return to_unit_range(torch.cat([self.images[slice(i, i + 1)] for i in indices.tolist()]))

    def labels(self, indices: Tensor) -> None:
        return None


def load(name: str, path: Path, shape: tuple[int, ...], classes: int) -> OwnImageSet:
    return OwnImageSet(name, Images(path), content(path))


def content(path: Path) -> str:
    """The hash of the images' names and bytes, read once for as long as sizes and times of change stay."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    stats = ((str(file), file.stat()) for file in files)
    return _content(path, tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


@lru_cache(maxsize=4)
def _content(path: Path, stamp: tuple[tuple[str, int, int], ...]) -> str:
    return Images(path).content()
