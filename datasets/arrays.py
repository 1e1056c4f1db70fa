"""Images in arrays: guided-diffusion's sample batches, and the downsampled ImageNet of Chrabaszcz et al. 2017."""

import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..methods import unpickling
from . import forms
from .facts import ArchiveError

Array = np.ndarray[Any, Any]
BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def is_npz(source: Path) -> bool:
    """Whether a file is an npz, by its name or else by its content, a zip of arrays."""
    if not source.is_file():
        return False
    if forms.suffix(source.name) == ".npz":
        return True
    try:
        with source.open("rb") as file:
            if file.read(2) != b"PK":
                return False
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
    except (*BROKEN, NotImplementedError):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def sample_batch(source: Path) -> tuple[Array, Array | None]:
    """(arr_0, arr_1) of guided-diffusion's sample files: uint8 (N, H, W, 1 or 3), labels (N,) or None."""
    try:
        with np.load(source, allow_pickle=False) as file:
            images = file["arr_0"]
            labels = file["arr_1"] if "arr_1" in file.files else None
    except BROKEN as error:
        raise ArchiveError(f"{source}: no images `arr_0` in it: {str(error).splitlines()[0]}") from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or not len(images):
        raise ArchiveError(f"{source}: arr_0 is {images.dtype} {images.shape}, not uint8 images (N, H, W, 1 or 3)")
    if labels is not None and (labels.shape != (len(images),) or labels.dtype.kind not in "iu"):
        raise ArchiveError(f"{source}: arr_1 is {labels.dtype} {labels.shape}, not a label for each image")
    return images, labels


def downsampled_labels(source: Path, classes: int) -> Array:
    """The labels (N,) of a batch, from 0; the published ones begin at 1."""
    labels = _member(source, "labels").reshape(-1)
    if labels.dtype.kind not in "iu":
        raise ArchiveError(f"{source}: labels is {labels.dtype}, not whole numbers")
    labels = labels.astype(np.int64)
    if len(labels) and not 1 <= labels.min() <= labels.max() <= classes:
        raise ArchiveError(f"{source}: labels {labels.min()} to {labels.max()}, not 1 to {classes}")
    return labels - 1


def downsampled_pixels(source: Path, count: int, side: int) -> Array:
    """The images (N, side, side, 3) of a batch, published as rows of a red, a green and a blue plane."""
    data = _member(source, "data")
    if data.dtype != np.uint8 or data.shape != (count, 3 * side * side):
        expected = f"uint8 {(count, 3 * side * side)}"
        raise ArchiveError(f"{source}: data is {data.dtype} {data.shape}, not {expected}: another size, or cut short")
    return data.reshape(count, 3, side, side).transpose(0, 2, 3, 1)


def _member(source: Path, name: str) -> Array:
    if not is_npz(source):
        return _pickled(source, name)
    try:
        with np.load(source, allow_pickle=False) as file:
            found: Array = file[name]
    except BROKEN as error:
        raise ArchiveError(f"{source}: no `{name}` in it: {str(error).splitlines()[0]}") from None
    return found


@lru_cache(maxsize=1)
def _unpickled(source: Path) -> Mapping[str, Any]:
    # Labels and pixels are one object: it is not read twice.
    found = unpickling.load(source, unpickling.arrays())
    if not isinstance(found, Mapping):
        raise TypeError("no dictionary")
    return found


def _pickled(source: Path, name: str) -> Array:
    """From the pickled form, of which arrays are all that is read."""
    try:
        return np.asarray(_unpickled(source)[name])
    except unpickling.BROKEN as error:
        raise ArchiveError(f"{source}: not a batch of the downsampled ImageNet: {unpickling.reason(error)}") from None
