"""The files of a folder, zip or tar: listed by name, read up to a limit, never written out."""

import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from . import folders, forms, links
from .facts import ArchiveError
from .forms import SPECIAL, Kind, is_image

LARGEST = 2**26
"""Bytes of an image file beyond which it is not read."""
HELD = 2**32
"""Bytes of images beyond which a compressed tar is not read: they would have to stay in memory."""
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, UnicodeError)


class Member(NamedTuple):
    """A file of a source, by its path inside it; `fault` says why it cannot be read."""

    name: str
    read: Callable[[], bytes]
    fault: Kind | None = None

    @property
    def is_image(self) -> bool:
        return self.fault is None and is_image(self.name)


def unread(found: Iterable[Member], otherwise: Iterable[Kind] = ()) -> str:
    """One line on the members that are neither images nor notes, and on what else is not read; often empty."""
    kinds = (member.fault or forms.kind(member.name) for member in found if not (member.is_image or _noted(member)))
    return forms.unread([*kinds, *otherwise])


def _noted(member: Member) -> bool:
    return member.fault is None and forms.is_note(member.name)


def members(source: Path) -> list[Member]:
    """Every file of a folder, zip or tar, by name, but what systems and editors leave; none is ever written out.

    A tar in a plain tar is a folder. ArchiveError for a source that is none of these.
    """
    try:
        if source.is_dir():
            found = [Member(f.name, partial(_read_file, f.path, f.name), f.fault) for f in folders.files(source)]
        elif not source.is_file():
            raise ArchiveError(f"{source}: neither a file nor a folder")
        elif is_zip(source):
            found = _zip_members(source)
        else:
            found = _tar_members(source)
    except (*BROKEN, RuntimeError) as error:
        raise ArchiveError(f"{source}: not a folder, zip or tar of images: {_reason(source, error)}") from None
    return sorted((member for member in found if not forms.is_left(member.name)), key=lambda member: member.name)


def is_zip(source: Path) -> bool:
    """Whether a file is a zip by its content: a tar may end in one."""
    with source.open("rb") as file:
        if file.read(2) == b"PK":
            return True
    return zipfile.is_zipfile(source) and not tarfile.is_tarfile(source)


def _reason(source: Path, error: Exception) -> str:
    if is_image(source.name):
        return "it is one image; name the folder that holds it"
    hints = {".npy": "save the array as arr_0 of an npz", ".mdb": "name the folder that holds the database"}
    if (ending := forms.suffix(source.name)) in hints:
        return hints[ending]
    if isinstance(error, UnicodeError):
        return "a name in it is not of the encoding that it says"
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return "of no form that is read" if reason.endswith(":") else reason


def _read_file(path: str, name: str) -> bytes:
    try:
        return _bounded(name, open(path, "rb"))
    except OSError as error:
        raise ArchiveError(f"{name}: {error.strerror}") from None


def _zip_members(source: Path) -> list[Member]:
    archive = zipfile.ZipFile(source)
    found, targets = [], {}
    for info in archive.infolist():
        # Some of Windows' packers write its own separator, and Python on Windows reads it so.
        name = info.filename.replace("\\", "/")
        read = partial(_read_zipped, archive, info, name)
        if stat.S_ISLNK(info.external_attr >> 16):
            targets[name] = links.target(name, read().decode("utf-8", "surrogateescape"))
        elif not name.endswith("/"):
            found.append(Member(name, read))
    return [*found, *_linked(found, targets)]


def _linked(found: list[Member], targets: dict[str, str]) -> Iterator[Member]:
    """The files that links inside an archive stand for."""
    of = {member.name: member for member in found}
    for name, meant in links.followed([member.name for member in found], targets):
        yield Member(name, _nothing, meant) if isinstance(meant, tuple) else of[meant]._replace(name=name)


def _nothing() -> bytes:
    return b""


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    try:
        return _bounded(name, archive.open(info))
    except RuntimeError:
        raise ArchiveError(f"{name}: encrypted, or compressed as Python cannot read it") from None
    except BROKEN as error:
        raise ArchiveError(f"{name}: {(str(error).splitlines() or ['cut short'])[0]}") from None


def _tar_members(source: Path) -> list[Member]:
    """A plain tar is read where its files lie; a compressed one in one pass, the images staying in memory as files."""
    with tarfile.open(source) as archive:
        if not isinstance(archive.fileobj, io.BufferedReader):
            return _with_links(archive, _Held(source), "")
        found = _with_links(archive, _Lying(source, 0), "")
        _check_end(archive, source.stat().st_size)
    return found


class _Held:
    """The files of a compressed tar, kept in memory where they are images or JSON."""

    def __init__(self, source: Path) -> None:
        self.source, self.size = source, 0

    def __call__(self, archive: tarfile.TarFile, info: tarfile.TarInfo, folder: str) -> Iterator[Member]:
        file = archive.extractfile(info) if is_image(info.name) or info.name.endswith(".json") else None
        if file is None:
            yield Member(info.name, _nothing)
            return
        data = _bounded(info.name, file)
        self.size += len(data)
        if self.size > HELD:
            raise ArchiveError(f"{self.source}: more than {HELD >> 30} GiB in a compressed tar; unpack it first")
        yield Member(info.name, partial(bytes, data))


class _Lying(NamedTuple):
    """The files of a plain tar, which begins at `start` of the source. A tar in it is a folder, as in ILSVRC2012's."""

    source: Path
    start: int

    def __call__(self, archive: tarfile.TarFile, info: tarfile.TarInfo, folder: str) -> Iterator[Member]:
        name, offset = folder + info.name, self.start + info.offset_data
        if folder or forms.suffix(info.name) != ".tar":
            yield Member(name, partial(_read_span, self.source, name, offset, info.size))
            return
        try:
            with tarfile.open(fileobj=archive.extractfile(info), mode="r:") as inner:
                yield from _with_links(inner, _Lying(self.source, offset), f"{info.name[: -len('.tar')]}/")
                _check_end(inner, info.size)
        except BROKEN as error:
            raise ArchiveError(f"{name}: not a tar of images: {_reason(self.source, error)}") from None


def _with_links(archive: tarfile.TarFile, files: _Held | _Lying, folder: str) -> list[Member]:
    """The files of one tar, and those that its links stand for."""
    found: list[Member] = []
    targets: dict[str, str] = {}
    for info in archive:
        if info.isfile():
            if not forms.is_left(info.name):
                found += files(archive, info, folder)
        elif info.issym():
            targets[folder + info.name] = links.target(folder + info.name, info.linkname)
        elif info.islnk():
            targets[folder + info.name] = links.target("", folder + info.linkname)
        elif not info.isdir():
            found.append(Member(folder + info.name, _nothing, SPECIAL))
    return [*found, *_linked(found, targets)]


def _check_end(archive: tarfile.TarFile, size: int) -> None:
    """tarfile takes the end of the file for the end of the archive, which is a block of zeros."""
    if size <= archive.offset:
        raise EOFError("cut short")


def _read_span(source: Path, name: str, offset: int, size: int) -> bytes:
    try:
        with source.open("rb") as file:
            file.seek(offset)
            return _bounded(name, io.BytesIO(file.read(min(size, LARGEST + 1))))
    except OSError as error:
        raise ArchiveError(f"{source}: {error.strerror}") from None


def bounded(name: str, data: bytes) -> bytes:
    """`data`, if it is not larger than an image can be."""
    if len(data) > LARGEST:
        raise ArchiveError(f"{name}: more than {LARGEST} bytes, which no image here has")
    return data


def _bounded(name: str, file: IO[bytes]) -> bytes:
    with file:
        return bounded(name, file.read(LARGEST + 1))
