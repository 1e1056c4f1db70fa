"""The archive that data sets are kept in: an uncompressed zip of PNG images with dataset.json, as EDM and StyleGAN3
read it, and fewstep.json, which says what is in it. Small images are read through a memory map of their pixels, laid
down on first use; larger ones from the zip itself, when they are asked for.
"""

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from ..methods.portable import rename
from .base import ImageSet, to_unit_range
from .decoding import Pixels, decode
from .facts import CAPTIONS, LABELS, MAPPED, ArchiveError, check_directory, opened, read_facts

Index = np.ndarray[tuple[int, int], np.dtype[np.int64]]
"""A row for each image: where its member begins in the zip, its bytes, its CRC, its label (-1 without)."""


@dataclass(frozen=True)
class ZippedImages:
    """`images[rows]` is uint8 (B, C, H, W), decoded from the archive; any process may ask. Rows: a slice or indices.

    ArchiveError, on reading, for an image that is not what the archive's directory says.
    """

    path: Path
    index: Index
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        wanted = self.index[rows if isinstance(rows, slice) else rows.numpy()]
        found = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        # A handle for each batch costs nothing beside the decoding, and none is shared with a forked worker.
        with self.path.open("rb") as file:
            for image, row in zip(found, wanted, strict=True):
                image[:] = _decoded(file, row, self.path, self.shape[1:]).transpose(2, 0, 1)
        return torch.from_numpy(found)


@dataclass(frozen=True)
class ArchivedSet:
    """A data set of images too large to be laid down as pixels: `images` decodes them when asked.

    `prompts` is the frozen list of captions, `captioned` the image of each.
    """

    name: str
    images: ZippedImages
    targets: Tensor | None
    classes: int
    content: str
    prompts: tuple[str, ...] = ()
    captioned: tuple[int, ...] = ()
    bound: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.images.shape[1:]

    def __len__(self) -> int:
        return len(self.images)

    def samples(self, indices: Tensor) -> Tensor:
        return to_unit_range(self.images[indices])

    def labels(self, indices: Tensor) -> Tensor | None:
        return None if self.targets is None else self.targets[indices]


def load(name: str, path: Path, classes: int) -> ImageSet | ArchivedSet:
    """The images of an archive. The first time, its directory (and small images' pixels) are checked and laid down
    beside it.

    ArchiveError where the file is missing or is not what its fewstep.json says.
    """
    facts = read_facts(path)
    index = _index(path, facts)
    labels = index[:, 3]
    if len(labels) and not -1 <= labels.min() <= labels.max() < max(classes, 1):
        raise ArchiveError(f"{path}: labels {labels.min()} to {labels.max()}, and {name} has {classes} classes")
    targets = torch.from_numpy(labels.copy()) if len(labels) and labels[0] >= 0 else None
    if max(facts["shape"][1:]) <= MAPPED:
        images = torch.from_numpy(_mapped(path, index, facts))
        return ImageSet(name, images, targets, classes=classes, content=facts["sha256"])
    return ArchivedSet(name, zipped(path), targets, classes, facts["sha256"], *_captions(path, facts))


def zipped(path: Path) -> ZippedImages:
    """The images of an archive of any size, decoded when they are asked for."""
    facts = read_facts(path)
    index = _index(path, facts)
    return ZippedImages(path, index, (len(index), *facts["shape"]))


def _index(path: Path, facts: dict[str, Any]) -> Index:
    """Where the images lie: read from the zip's directory once, since for a million images that takes a while."""
    # The same pixels, encoded by another Pillow, lie elsewhere.
    digits = facts.get("directory", facts["sha256"])[:8]
    target = path.with_name(f"{path.stem}.{digits}.index.npy")
    if not target.is_file():
        with opened(path) as archive:
            check_directory(path, facts, archive.infolist())
            members = sorted((m for m in archive.infolist() if m.filename.endswith(".png")), key=lambda m: m.filename)
            listed = dict(json.loads(archive.read(LABELS))["labels"] or ())
            rows = [(m.header_offset, m.file_size, m.CRC, listed[m.filename] if listed else -1) for m in members]
            if any(offset < 0 for offset, *_ in rows):
                raise zipfile.BadZipFile("cut short")
        with _aside(target) as aside, aside.open("wb") as file:
            np.save(file, np.array(rows, np.int64))
    index: Index = np.load(target, mmap_mode="r")
    return index


def _mapped(path: Path, index: Index, facts: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The pixels (N, C, H, W) as a memory map, laid down the first time if they have the hash of the facts."""
    target = path.with_name(f"{path.stem}.{facts['sha256'][:8]}.npy")
    if not target.is_file():
        digest, shape = hashlib.sha256(), (len(index), *facts["shape"])
        # Not through a memory map: on a full disk that ends the process, and Windows renames no mapped file.
        with _aside(target) as aside, path.open("rb") as file, aside.open("wb") as laid:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(laid, header)
            for row in index:
                pixels = _decoded(file, row, path, tuple(facts["shape"]))
                digest.update(pixels.tobytes())
                laid.write(pixels.transpose(2, 0, 1).tobytes())
            digest.update(json.dumps([label for label in index[:, 3].tolist() if label >= 0]).encode())
            if digest.hexdigest() != facts["sha256"]:
                raise ArchiveError(f"{path}: its images have another hash than it says; prepare it again")
    # Copy on write: torch warns of an array that cannot be written to.
    return np.load(target, mmap_mode="c")


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A file beside the target that takes its name when all has gone well. ArchiveError where it cannot be written."""
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield aside
        try:
            rename(aside, target)
        except PermissionError:
            # Windows replaces no file that another process reads, and that one laid down the same.
            if not target.is_file():
                raise
    except OSError as error:
        raise ArchiveError(f"{target}: cannot be laid down: {error.strerror or error}") from None
    finally:
        aside.unlink(missing_ok=True)


def _decoded(file: IO[bytes], row: np.ndarray[Any, Any], path: Path, shape: tuple[int, ...]) -> Pixels:
    """One image (H, W, C). Its local header is 30 bytes, a name and an extra field, whose lengths end the header."""
    offset, size, crc = (int(value) for value in row[:3])
    file.seek(offset)
    data = file.read(size + 64)
    skip = 30 + int.from_bytes(data[26:28], "little") + int.from_bytes(data[28:30], "little")
    name = data[30 : 30 + int.from_bytes(data[26:28], "little")].decode("utf-8", "replace")
    if not name.isprintable():
        name = f"the image at byte {offset}"
    data = (data + file.read(max(0, skip - 64)))[skip : skip + size]
    if len(data) != size or zlib.crc32(data) != crc:
        raise ArchiveError(f"{path}: {name} is not what the archive says; prepare it again")
    return decode(f"{path}: {name}", data, (shape[2], shape[1]), modes=("RGB" if shape[0] == 3 else "L",))


def _captions(path: Path, facts: dict[str, Any]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """(the frozen list, the image of each), if it has the hash of the facts; empty where there is none."""
    if "captions" not in facts:
        return (), ()
    with opened(path) as archive:
        data = archive.read(CAPTIONS)
    if hashlib.sha256(data).hexdigest() != facts["captions"]["sha256"]:
        raise ArchiveError(f"{path}: its captions have another hash than it says; prepare it again")
    found = [json.loads(line) for line in data.splitlines()]
    return tuple(row["caption"] for row in found), tuple(int(row["image"]) for row in found)


def loader(name: str, path: Path, shape: tuple[int, ...], classes: int) -> ImageSet | ArchivedSet:
    """The data set of that name, from the archive that `fewstep prepare` made."""
    data = load(name, path, classes)
    if data.shape != shape:
        sizes = " and ".join("x".join(map(str, found)) for found in (data.shape, shape))
        raise ArchiveError(f"{path}: the images' and {name}'s shapes are {sizes}")
    return data
