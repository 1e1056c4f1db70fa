"""Images that a suite names: every one is decoded once, so that a broken one is found before anything is computed."""

import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ...datasets.registry import ArchiveError
from ..errors import InputError

LOOKED_AT = 64
"""Images that are held in memory at a time."""


class Found(NamedTuple):
    """shape: (C, H, W) of each. size: how many. content: the hash of names and bytes."""

    shape: tuple[int, ...]
    size: int
    content: str


def looked_at(path: Path) -> Found:
    """What there is at a path, read once for as long as sizes and times of change stay. InputError for what is no set
    of images of one size.
    """
    try:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if os.path.isdir(path) else [path]
        stats = ((str(file), file.stat()) for file in files)
        return _found(path, tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))
    except (ArchiveError, OSError) as error:
        raise InputError(str(error)) from None


@lru_cache(maxsize=16)
def _found(path: Path, stamp: tuple[tuple[str, int, int], ...]) -> Found:
    from ...datasets.images import Images

    images = Images(path)
    for first in range(0, len(images), LOOKED_AT):
        images[slice(first, first + LOOKED_AT)]
    return Found(images.shape, len(images), images.content())
