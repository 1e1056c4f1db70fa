"""CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 images of 32x32 pixels in ten classes."""

import tarfile
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from . import folders, forms, sources
from .facts import ArchiveError
from .registry import DatasetSpec
from .sources import Part
from .writing import Record

BATCHES = "cifar-10-batches-py"
DOWNLOAD = "cifar-10-python.tar.gz"


def splits(spec: DatasetSpec, source: Path) -> dict[str, Part]:
    """The training and the test images, from any form that sources reads or the original batches."""
    if source.name not in (BATCHES, DOWNLOAD) and not (source / BATCHES).is_dir():
        return sources.splits(spec, source)
    held_out = sources.origin(spec).held_out
    inside = source.name != BATCHES and source.is_dir()
    beside = [file.name for file in folders.files(source) if not file.name.startswith(f"{BATCHES}/")] if inside else []
    left = forms.unread(forms.kind(name) for name in beside if name != DOWNLOAD and not forms.is_note(name))
    return {spec.archive: Part(_original(source, "train"), (), left), held_out: Part(_original(source, "test"))}


def _original(source: Path, split: str) -> Iterator[Record]:
    """The original batches, read and checked by torchvision, in their own order."""
    with tempfile.TemporaryDirectory() as unpacked:
        root = source.parent if source.name == BATCHES else source
        if source.is_file():
            root = Path(unpacked)
            try:
                with tarfile.open(source) as archive:
                    archive.extractall(root, filter="data")
            except (tarfile.TarError, EOFError, OSError) as error:
                raise ArchiveError(f"{source}: {str(error).splitlines()[0]}") from None
        try:
            batches = _torchvision()(str(root), train=split == "train", download=False)
        except RuntimeError:
            raise ArchiveError(f"{source}: not the original CIFAR-10 batches, by their hashes") from None
        for i, (pixels, label) in enumerate(zip(batches.data, batches.targets, strict=True)):
            yield Record(f"{split} image {i}", partial(sources.same, pixels), label)


def download(folder: Path) -> Path:
    """Let torchvision fetch the original into `folder`, and check it. ArchiveError without a connection."""
    try:
        _torchvision()(str(folder), download=True)
    except (OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ArchiveError(f"cifar10 could not be downloaded: {reason}") from None
    return folder


def _torchvision() -> Any:
    try:
        from torchvision.datasets import CIFAR10
    except ImportError:
        raise ArchiveError("missing package torchvision, get it by `pip install torchvision`") from None
    return CIFAR10
