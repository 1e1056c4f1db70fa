"""CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 images of 32x32 pixels in ten classes."""

from collections.abc import Iterator
from pathlib import Path

from . import archive, sources
from .archive import LabelledImage
from .base import ImageSet
from .registry import DATASETS, ArchiveError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32


def cifar10() -> ImageSet:
    """The training images, from the archive that `fewstep prepare` made."""
    spec = DATASETS["cifar10"]
    return archive.load("cifar10", spec.path(), spec.classes)


def splits(source: Path) -> dict[str, Iterator[LabelledImage]]:
    """The images of a source by the archive that they belong to: the training images, and the others if there are."""
    if not source.exists():
        raise ArchiveError(f"{source}: no such file or folder")
    if sources.is_original(source):
        parts = {split: sources.original(source, split) for split in ("train", "test")}
    else:
        parts = {split: sources.by_class(source, split, CLASSES, SIDE) for split in ("train", "test")}
    return {"cifar10-32.zip": parts["train"], "cifar10-32-test.zip": parts["test"]}
