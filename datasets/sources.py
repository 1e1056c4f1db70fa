"""The forms in which people have CIFAR-10: images in folders by class, an archive of these, the original batches."""

import io
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from .archive import LabelledImage
from .registry import ArchiveError

IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
LARGEST = 2**26
"""Bytes of an image file beyond which it is not read."""
BATCHES = "cifar-10-batches-py"


Pixels = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]


class Member(NamedTuple):
    """A file of a source, by its path inside it."""

    name: str
    read: Callable[[], bytes]


def by_class(source: Path, split: str, classes: tuple[str, ...], side: int) -> Iterator[LabelledImage]:
    """The RGB images of `split` ("train" or "test") in a folder, zip or tar, sorted by name; the class is the folder.

    Without a folder named by a split, all images are the training split's. ArchiveError names the first member that is
    not an image of side x side pixels in one of the classes.
    """
    found = image_members(source)
    splits = {"train", "test"}
    divided = any(splits & set(PurePosixPath(member.name).parts[:-1]) for member in found)
    for member in found:
        folders = PurePosixPath(member.name).parts[:-1]
        if (split in folders) if divided else split == "train":
            if not folders or folders[-1] not in classes:
                place = folders[-1] if folders else "no folder"
                raise ArchiveError(f"{member.name}: {place} is none of the classes {', '.join(classes)}")
            yield LabelledImage(
                member.name, decode(member.name, member.read(), (side, side)), classes.index(folders[-1])
            )


def decode(name: str, data: bytes, size: tuple[int, int] | None = None, modes: tuple[str, ...] = ("RGB",)) -> Pixels:
    """The pixels (H, W, C) of an image file. ArchiveError unless it is whole, of that (width, height) and of a mode."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
        if size is not None and image.size != size:
            raise ArchiveError(f"{name}: {image.width}x{image.height} pixels, not {size[0]}x{size[1]}")
        if image.mode not in modes:
            raise ArchiveError(f"{name}: mode {image.mode}, not {' or '.join(modes)}")
        pixels = np.asarray(image)
        return pixels.reshape(*pixels.shape[:2], -1)
    except ArchiveError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ArchiveError(f"{name}: {error}") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ArchiveError(f"{name}: not a whole image: {error}") from None


def image_members(source: Path) -> list[Member]:
    """The image files of a folder, zip or tar, by name. ArchiveError for a source that is none of these."""
    return sorted(
        (member for member in _members(source) if PurePosixPath(member.name).suffix.lower() in IMAGES),
        key=lambda member: member.name,
    )


def _members(source: Path) -> list[Member]:
    """The files of a folder, zip or tar; none is ever written out."""
    if source.is_dir():
        files = (path for path in source.rglob("*") if path.is_file())
        return [Member(path.relative_to(source).as_posix(), path.read_bytes) for path in files]
    try:
        if zipfile.is_zipfile(source):
            archive = zipfile.ZipFile(source)
            return [
                Member(info.filename, lambda info=info: _bounded(info.filename, archive.open(info)))  # type: ignore[misc]
                for info in archive.infolist()
                if not info.is_dir()
            ]
        return _tar_members(source)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise ArchiveError(f"{source}: not a folder, zip or tar of images: {str(error).splitlines()[0]}") from None


def _tar_members(source: Path) -> list[Member]:
    """Read in one pass, since a compressed tar cannot be sought in; the images stay in memory as files."""
    found = []
    with tarfile.open(source) as archive:
        for info in archive:
            file = archive.extractfile(info) if info.isfile() else None
            if file is not None and PurePosixPath(info.name).suffix.lower() in IMAGES:
                data = _bounded(info.name, file)
                found.append(Member(info.name, lambda data=data: data))  # type: ignore[misc]
    return found


def _bounded(name: str, file: IO[bytes]) -> bytes:
    """The content of a member that is not larger than an image can be."""
    with file:
        data: bytes = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ArchiveError(f"{name}: more than {LARGEST} bytes, which no image here has")
    return data


def is_original(source: Path) -> bool:
    """Whether a source is CIFAR-10's original download, unpacked or not."""
    return source.name in (BATCHES, "cifar-10-python.tar.gz") or (source / BATCHES).is_dir()


def original(source: Path, split: str) -> Iterator[LabelledImage]:
    """CIFAR-10's original batches (Krizhevsky 2009), read and checked by torchvision, in their own order."""
    try:
        from torchvision.datasets import CIFAR10
    except ImportError:
        raise ArchiveError("missing package torchvision, get it by `pip install torchvision`") from None
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
            batches = CIFAR10(str(root), train=split == "train", download=False)
        except RuntimeError:
            raise ArchiveError(f"{source}: not the original CIFAR-10 batches, by their hashes") from None
        for i, (pixels, label) in enumerate(zip(batches.data, batches.targets, strict=True)):
            yield LabelledImage(f"{split} image {i}", pixels, label)
