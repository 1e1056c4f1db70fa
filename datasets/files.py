"""The files of a folder, zip or tar: listed by name, read up to a limit, never written out."""

import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from .facts import ArchiveError

IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
LARGEST = 2**26
"""Bytes of an image file beyond which it is not read."""
HELD = 2**32
"""Bytes of images beyond which a compressed tar is not read: they would have to stay in memory."""
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError)


class Member(NamedTuple):
    """A file of a source, by its path inside it."""

    name: str
    read: Callable[[], bytes]


def image_members(source: Path) -> list[Member]:
    """The image files of a folder, zip or tar, by name. ArchiveError for a source that is none of these."""
    return [member for member in members(source) if is_image(member.name)]


def is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGES


def members(source: Path) -> list[Member]:
    """The files of a folder, zip or tar, by name; none is ever written out.

    Of a tar, images and JSON alone; a tar in a plain tar is a folder.
    """
    try:
        if source.is_dir():
            found = _folder_members(source)
        elif zipfile.is_zipfile(source):
            archive = zipfile.ZipFile(source)
            infos = [info for info in archive.infolist() if not info.is_dir()]
            found = [Member(info.filename, partial(_read_zipped, archive, info)) for info in infos]
        else:
            found = _tar_members(source)
    except (*BROKEN, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ArchiveError(f"{source}: not a folder, zip or tar of images: {reason}") from None
    return sorted(found, key=lambda member: member.name)


def _folder_members(source: Path) -> list[Member]:
    found = []
    for folder, _, names in os.walk(source, onerror=_raise):
        inside = Path(folder).relative_to(source).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        found += [
            Member(prefix + name, partial(_read_file, os.path.join(folder, name), prefix + name)) for name in names
        ]
    return found


def _raise(error: OSError) -> None:
    raise error


def _read_file(path: str, name: str) -> bytes:
    try:
        return _bounded(name, open(path, "rb"))
    except OSError as error:
        raise ArchiveError(f"{name}: {error.strerror}") from None


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        return _bounded(info.filename, archive.open(info))
    except RuntimeError:
        raise ArchiveError(f"{info.filename}: encrypted, or compressed as Python cannot read it") from None
    except BROKEN as error:
        raise ArchiveError(f"{info.filename}: {(str(error).splitlines() or ['cut short'])[0]}") from None


def _tar_members(source: Path) -> list[Member]:
    """A plain tar is read where its files lie; a compressed one in one pass, the images staying in memory as files."""
    with tarfile.open(source) as archive:
        if not isinstance(archive.fileobj, io.BufferedReader):
            return list(_held_members(source, archive))
        found = list(_lying_members(source, archive))
        _check_end(archive, source.stat().st_size)
    return found


def _held_members(source: Path, archive: tarfile.TarFile) -> Iterator[Member]:
    held = 0
    for info in archive:
        file = archive.extractfile(info) if info.isfile() and _wanted(info.name) else None
        if file is None:
            continue
        data = _bounded(info.name, file)
        held += len(data)
        if held > HELD:
            raise ArchiveError(f"{source}: more than {HELD >> 30} GiB in a compressed tar; unpack it first")
        yield Member(info.name, partial(bytes, data))


def _lying_members(source: Path, archive: tarfile.TarFile, start: int = 0, folder: str = "") -> Iterator[Member]:
    """`start` is where the archive begins in the file. A tar in it is a folder: ILSVRC2012 is published so."""
    for info in archive:
        name, offset = folder + info.name, start + info.offset_data
        if info.isfile() and _wanted(info.name):
            yield Member(name, partial(_read_span, source, name, offset, info.size))
        elif info.isfile() and info.name.endswith(".tar") and not folder:
            try:
                with tarfile.open(fileobj=archive.extractfile(info), mode="r:") as inner:
                    yield from _lying_members(source, inner, offset, f"{info.name.removesuffix('.tar')}/")
                    _check_end(inner, info.size)
            except BROKEN as error:
                raise ArchiveError(f"{name}: not a tar of images: {error}") from None


def _wanted(name: str) -> bool:
    return is_image(name) or name.endswith(".json")


def _check_end(archive: tarfile.TarFile, size: int) -> None:
    """tarfile takes the end of the file for the end of the archive, which is a block of zeros."""
    if size <= archive.offset:
        raise EOFError("cut short")


def _read_span(source: Path, name: str, offset: int, size: int) -> bytes:
    with source.open("rb") as file:
        file.seek(offset)
        return _bounded(name, io.BytesIO(file.read(min(size, LARGEST + 1))))


def bounded(name: str, data: bytes) -> bytes:
    """`data`, if it is not larger than an image can be."""
    if len(data) > LARGEST:
        raise ArchiveError(f"{name}: more than {LARGEST} bytes, which no image here has")
    return data


def _bounded(name: str, file: IO[bytes]) -> bytes:
    with file:
        return bounded(name, file.read(LARGEST + 1))
