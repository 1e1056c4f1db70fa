"""The files of a folder, through links to folders, each path once."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .facts import ArchiveError
from .forms import LOOP, SPECIAL, Kind, is_left, is_note

FOLLOWED = 50_000
"""Links to folders in one source; ImageNet's 21,841 classes may each be one."""


class Found(NamedTuple):
    """`name` is the path inside the folder, with "/"; `path` opens it; `fault` says why it cannot be read."""

    name: str
    path: str
    fault: Kind | None = None


def files(source: Path) -> Iterator[Found]:
    """Every file below `source`, in no order, but what systems and editors leave.

    Links are followed; one that leads back to a folder around it is a fault. ArchiveError for a link to nothing, a
    folder that may not be read, and links that multiply.
    """
    followed, waiting = 0, [(os.fspath(source), "", {_identity(os.stat(source), os.fspath(source))})]
    while waiting:
        folder, prefix, around = waiting.pop()
        for entry in _entries(folder, prefix):
            name = prefix + entry.name
            if not _is_folder(entry, name):
                yield _file(entry, name)
                continue
            identity = _identity(os.stat(entry.path), entry.path)
            if identity in around:
                yield Found(name, entry.path, LOOP)
                continue
            followed += entry.is_symlink()
            if followed > FOLLOWED:
                raise ArchiveError(f"{source}: more than {FOLLOWED} links to folders, which lead to one another")
            waiting.append((entry.path, f"{name}/", around | {identity}))


def _entries(folder: str, prefix: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not is_left(entry.name) and not _unneeded(entry)]
    except OSError as error:
        raise ArchiveError(f"{prefix or folder}: {error.strerror}") from None


def _unneeded(entry: os.DirEntry[str]) -> bool:
    """A link to nothing by the name of a note, which nobody misses."""
    return entry.is_symlink() and is_note(entry.name) and not os.path.exists(entry.path)


def _is_folder(entry: os.DirEntry[str], name: str) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        raise ArchiveError(f"{name}: {error.strerror}") from None


def _file(entry: os.DirEntry[str], name: str) -> Found:
    if entry.is_file():
        return Found(name, entry.path)
    if entry.is_symlink() and not os.path.exists(entry.path):
        raise ArchiveError(f"{name}: a link to a file or folder that is not there")
    return Found(name, entry.path, SPECIAL)


def _identity(stat: os.stat_result, path: str) -> tuple[int, int | str]:
    # Not every file system of Windows numbers its folders.
    return stat.st_dev, stat.st_ino or os.path.realpath(path)
