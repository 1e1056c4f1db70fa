"""What an archive says of itself, and whether its directory agrees. No torch."""

import errno
import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

FACTS, LABELS, CAPTIONS = "fewstep.json", "dataset.json", "captions.jsonl"
"""The members of an archive beside its images: what is in it, the class of each image, the frozen list of captions."""
MAPPED = 64
"""The largest side of images whose pixels are laid down: ImageNet takes 15.7 GB at 64, four times that at 128."""


class ArchiveError(ValueError):
    """An archive or a source of images is missing or is not what it should be; one line."""


def read_facts(path: Path) -> dict[str, Any]:
    """What an archive says of itself. ArchiveError where it is none that `fewstep prepare` made."""
    try:
        stat = path.stat()
    except OSError:
        raise ArchiveError(f"{path}: not an archive that `fewstep prepare` made") from None
    return _facts(path, stat.st_size, stat.st_mtime_ns)


@cache
def _facts(path: Path, size: int, changed: int) -> dict[str, Any]:
    # Once for as long as the file stays: the directory of a million images takes seconds to read.
    try:
        with opened(path) as archive:
            facts = json.loads(archive.read(FACTS))
    except (OSError, ArchiveError):
        facts = None
    if isinstance(facts, dict) and {"sha256", "count", "shape"} <= facts.keys():
        return facts
    raise ArchiveError(f"{path}: not an archive that `fewstep prepare` made")


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive whose members are read here. ArchiveError where it was damaged since it was made."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except ArchiveError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ArchiveError(f"{path}: damaged: {str(error) or type(error).__name__}; prepare it again") from None
    except OSError as error:
        # Members that begin before the file does.
        if error.errno != errno.EINVAL:
            raise
        raise ArchiveError(f"{path}: damaged: cut short; prepare it again") from None


def directory_hash(members: Iterable[zipfile.ZipInfo]) -> str:
    """A hash of the members' names, sizes and CRCs: says that they are the same without reading them."""
    digest = hashlib.sha256()
    for member in members:
        if member.filename != FACTS:
            digest.update(f"{member.filename} {member.file_size} {member.CRC:08x}\n".encode())
    return digest.hexdigest()


def check_directory(path: Path, facts: dict[str, Any], members: list[zipfile.ZipInfo]) -> None:
    """ArchiveError unless the members are those that the facts were written of."""
    # Archives from before the directory had a hash are checked by their pixels alone.
    if "directory" in facts and directory_hash(members) != facts["directory"]:
        raise ArchiveError(f"{path}: its images have another hash than it says; prepare it again")


def check(path: Path) -> dict[str, Any]:
    """The facts of an archive whose directory agrees with them; no image is read. ArchiveError otherwise."""
    facts = read_facts(path)
    with opened(path) as archive:
        check_directory(path, facts, archive.infolist())
    return facts
