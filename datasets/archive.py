"""The archive that data sets are kept in: an uncompressed zip of PNG images with dataset.json, as EDM and StyleGAN3
read it, and fewstep.json, which says what is in it. Read through a memory map of its pixels.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from .base import ImageSet
from .registry import FACTS, ArchiveError, read_facts

LABELS = "dataset.json"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time that every member has, so that the same images make the same file."""


class LabelledImage(NamedTuple):
    """`name` is where it was found; pixels uint8 (H, W, C); label from 0, or None."""

    name: str
    pixels: np.ndarray[Any, Any]
    label: int | None


def write(
    target: Path,
    images: Iterable[LabelledImage],
    provenance: dict[str, Any],
    on_progress: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Write `images`, in their order, as the archive `target`, aside and renamed; returns its facts.

    The facts are the provenance, count, shape (C, H, W) and sha256 of pixels and labels, whatever encodes them.
    ArchiveError where the images differ in size, some have no label, or there are none.
    """
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    digest, labels, shape = hashlib.sha256(), [], None
    try:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:
            for i, image in enumerate(images):
                shape = shape or image.pixels.shape
                if image.pixels.shape != shape:
                    message = f"{_size(image.pixels.shape)} after images of {_size(shape)}; all must have one size"
                    raise ArchiveError(f"{image.name}: {message}")
                digest.update(image.pixels.tobytes())
                labels.append((_entry(i), image.label))
                archive.writestr(zipfile.ZipInfo(_entry(i), EPOCH), _png(image.pixels))
                on_progress(i + 1)
            if shape is None:
                raise ArchiveError(f"{provenance['source']}: there are no images for {target.name}")
            known = [label for _, label in labels if label is not None]
            if known and len(known) < len(labels):
                raise ArchiveError(f"{target.name}: {len(labels) - len(known)} of {len(labels)} images have no label")
            digest.update(json.dumps(known).encode())
            facts = {
                **provenance,
                "count": len(labels),
                "shape": [shape[2], *shape[:2]],
                "sha256": digest.hexdigest(),
            }
            listed = {"labels": [[name, label] for name, label in labels] if known else None}
            archive.writestr(zipfile.ZipInfo(LABELS, EPOCH), json.dumps(listed))
            archive.writestr(zipfile.ZipInfo(FACTS, EPOCH), json.dumps(facts, indent=1))
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)
    return facts


def _entry(i: int) -> str:
    name = f"{i:08d}"
    return f"{name[:5]}/img{name}.png"


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} pixels"


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def load(name: str, path: Path, classes: int) -> ImageSet:
    """The images of an archive. The first time, its pixels are checked and laid down beside it for memory mapping.

    ArchiveError where the file is missing or is not what its fewstep.json says.
    """
    facts = read_facts(path)
    pixels = path.with_name(f"{path.stem}.{facts['sha256'][:8]}.npy")
    with zipfile.ZipFile(path) as archive:
        entries = sorted(entry for entry in archive.namelist() if entry.endswith(".png"))
        listed = dict(json.loads(archive.read(LABELS))["labels"] or ())
        labels = [listed[entry] for entry in entries] if listed else None
        if not pixels.is_file():
            _lay_down(archive, entries, labels, facts, path, pixels)
    if labels is not None and not 0 <= min(labels) <= max(labels) < classes:
        raise ArchiveError(f"{path}: labels {min(labels)} to {max(labels)}, and {name} has {classes} classes")
    # Copy on write: torch warns of an array that cannot be written to.
    images = torch.from_numpy(np.load(pixels, mmap_mode="c"))
    targets = None if labels is None else torch.tensor(labels)
    return ImageSet(name, images, targets, classes=classes, content=facts["sha256"])


def _lay_down(
    archive: zipfile.ZipFile,
    entries: list[str],
    labels: list[int] | None,
    facts: dict[str, Any],
    path: Path,
    target: Path,
) -> None:
    """The pixels as one uint8 array (N, C, H, W), written aside and renamed, if they have the hash of the facts."""
    aside, digest = target.with_name(f".{target.name}.{os.getpid()}"), hashlib.sha256()
    images = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=(len(entries), *facts["shape"]))
    try:
        for i, entry in enumerate(entries):
            pixels = np.asarray(Image.open(io.BytesIO(archive.read(entry))))
            digest.update(pixels.tobytes())
            images[i] = pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)
        digest.update(json.dumps(labels or []).encode())
        if digest.hexdigest() != facts["sha256"]:
            raise ArchiveError(f"{path}: its images have another hash than it says; prepare it again")
        images.flush()
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)
