"""Files that are written whole or not at all, under names that every system takes. No pandas."""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..methods.portable import DEVICES, rename

PART = ".part"
STALE_SECONDS = 60.0
"""A part that is older was left by a killed process: what is written here takes no second."""

NAME_BYTES = 120
"""Room for what is put before and after a name: file systems take 255 bytes."""
PLAIN = set("._-+=,@()[]# ")


class WriteError(OSError):
    """A file could not be written, and is as it was before."""

    def __str__(self) -> str:
        return f"{self.filename}: cannot write there: {self.strerror or self.__cause__}"


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A path to write to, flushed to disk and renamed to `path` when the block ends; its folder is made.

    WriteError if the disk does not take it: `path` is then as it was, and nothing is left beside it. A link stays a
    link, and what is no file, such as /dev/stdout, is written directly.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            yield path
            return
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{os.getpid()}{PART}")
        try:
            yield part
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            rename(part, target)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror, str(path)) from error


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write `content`, text as UTF-8: readers see the old content or the new. WriteError as `aside` has it."""
    # Names of files that are not UTF-8 get into reasons and labels as lone surrogates.
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with aside(path) as part, part.open("wb") as file:
        file.write(data)


def remove_parts(folder: Path) -> None:
    """Remove what killed processes left half-written in `folder`."""
    for part in folder.glob(f".*{PART}"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > STALE_SECONDS:
                part.unlink()


def file_name(text: str) -> str:
    """`text` as the name of a file or folder on every system: itself where it can be, otherwise something like it.

    Different texts have different names, but for case.
    """
    plain = "".join(c if c.isalnum() or c in PLAIN else "_" for c in text).strip(" ").rstrip(".")
    if text and plain == text and len(text.encode()) <= NAME_BYTES and text.partition(".")[0].lower() not in DEVICES:
        return text
    while len(plain.encode("utf-8", "replace")) > NAME_BYTES:
        plain = plain[:-1]
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"_{plain.lstrip('.')}-{digest}" if plain[:1] in (".", "") else f"{plain}-{digest}"
