"""Writing the archive: in one pass, with its hash, and from where it was interrupted."""

import hashlib
import io
import itertools
import json
import struct
import zipfile
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from filelock import FileLock, Timeout
from PIL import Image

from ..methods.portable import rename
from .decoding import Pixels, decode
from .facts import CAPTIONS, FACTS, LABELS, MAPPED, ArchiveError, directory_hash

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time that every member has, so that the same images make the same file."""
HEADER = struct.Struct("<4s5H3L2H")
"""What precedes a member in a zip: signature, version, flags, method, time, date, CRC, two sizes, two lengths."""


class Record(NamedTuple):
    """`name` is where it was found; `pixels`, in any thread, decodes it: uint8 (H, W, C); label from 0, or None."""

    name: str
    pixels: Callable[[], Pixels]
    label: int | None


class _Contents:
    """What of an archive has been written: sizes, labels and the hash of the pixels."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.shape: tuple[int, ...] | None = None
        self.labels: list[int | None] = []

    def add(self, name: str, pixels: Pixels) -> None:
        self.shape = self.shape or pixels.shape
        if pixels.shape != self.shape:
            message = f"{_size(pixels.shape)} after images of {_size(self.shape)}; all must have one size"
            raise ArchiveError(f"{name}: {message}")
        self.digest.update(pixels.tobytes())


def write(
    target: Path,
    records: Iterable[Record],
    provenance: dict[str, Any],
    on_progress: Callable[[int], None] = lambda count: None,
    captions: Sequence[dict[str, Any]] = (),
    source_identity: str = "",
    threads: int = 1,
) -> dict[str, Any]:
    """Write `records`, in their order, as the archive `target`, aside and renamed; returns its facts.

    The facts are the provenance, count, shape (C, H, W) and sha256 of pixels, labels and captions, whatever encodes
    them. What was interrupted goes on if `source_identity` and provenance are the same. ArchiveError where the
    images differ in size, some have no label, or there are none; then nothing is left.
    """
    part, state = target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.state")
    claim = json.dumps([source_identity, provenance]).encode()
    if target.is_dir():
        raise ArchiveError(f"{target}: cannot write there: it is a folder")
    with _alone(target):
        if not (state.is_file() and state.read_bytes() == claim):
            part.unlink(missing_ok=True)
            state.write_bytes(claim)
        try:
            part.touch()
            with part.open("r+b") as file:
                facts = _fill(file, iter(records), provenance, captions, on_progress, target, threads)
        except ArchiveError:
            part.unlink()
            state.unlink()
            raise
        rename(part, target)
        state.unlink()
    return facts


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Two processes would write into one file."""
    lock = target.with_name(f".{target.name}.lock")
    try:
        with FileLock(lock, timeout=0):
            try:
                yield
            finally:
                # Windows removes no file that is open.
                with suppress(PermissionError):
                    lock.unlink(missing_ok=True)
    except Timeout:
        raise ArchiveError(f"{target}: another process is preparing it") from None


def _fill(
    file: IO[bytes],
    records: Iterator[Record],
    provenance: dict[str, Any],
    captions: Sequence[dict[str, Any]],
    on_progress: Callable[[int], None],
    target: Path,
    threads: int,
) -> dict[str, Any]:
    """Complete the archive in `file`, whose whole images stay as they are."""
    contents = _Contents()
    kept = list(_whole_members(file, contents, on_progress))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        # zipfile appends to what has a directory at its end, which an interrupted file has not.
        for info in kept:
            archive.filelist.append(info)
            archive.NameToInfo[info.filename] = info
        contents.labels = [record.label for record in itertools.islice(records, len(kept))]
        for record, pixels, png in _encoded(records, threads):
            contents.add(record.name, pixels)
            archive.writestr(_member(_entry(len(contents.labels))), png)
            contents.labels.append(record.label)
            on_progress(len(contents.labels))
        if contents.shape is None:
            raise ArchiveError(f"{provenance['source']}: there are no images for {target.name}")
        facts = {**provenance, **_finish(archive, contents, captions, target)}
        archive.writestr(_member(FACTS), json.dumps(facts, indent=1))
    file.truncate()
    return facts


def _encoded(records: Iterator[Record], threads: int) -> Iterator[tuple[Record, Pixels, bytes]]:
    """The records in their order with pixels and PNG. Pillow lets other threads run while it decodes and resizes."""

    def encoded(record: Record) -> tuple[Record, Pixels, bytes]:
        pixels = record.pixels()
        return record, pixels, _png(pixels)

    under_way: deque[Future[tuple[Record, Pixels, bytes]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for record in records:
                under_way.append(pool.submit(encoded, record))
                if len(under_way) > 2 * threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


def _finish(
    archive: zipfile.ZipFile, contents: _Contents, captions: Sequence[dict[str, Any]], target: Path
) -> dict[str, Any]:
    """Write labels and captions; returns count, shape and hashes."""
    assert contents.shape is not None
    count, shape = len(contents.labels), contents.shape
    known = [label for label in contents.labels if label is not None]
    if known and len(known) < count:
        raise ArchiveError(f"{target.name}: {count - len(known)} of {count} images have no label")
    contents.digest.update(json.dumps(known).encode())
    listed = {"labels": [[_entry(i), label] for i, label in enumerate(known)] or None}
    archive.writestr(_member(LABELS), json.dumps(listed))
    facts: dict[str, Any] = {"count": count, "shape": [shape[2], *shape[:2]]}
    if known:
        of_each = Counter(known)
        facts["images_per_class"] = [of_each[label] for label in range(max(known) + 1)]
    if captions:
        lines = "".join(json.dumps(caption, ensure_ascii=False) + "\n" for caption in captions).encode()
        contents.digest.update(lines)
        archive.writestr(_member(CAPTIONS), lines)
        facts["captions"] = {"count": len(captions), "sha256": hashlib.sha256(lines).hexdigest()}
    return {**facts, "sha256": contents.digest.hexdigest(), "directory": directory_hash(archive.infolist())}


def _whole_members(
    file: IO[bytes], contents: _Contents, on_progress: Callable[[int], None]
) -> Iterator[zipfile.ZipInfo]:
    """The images at the start of a partial archive, up to the first that is not whole, where `file` is cut."""
    for i in itertools.count():
        start, info = file.tell(), _member(_entry(i))
        header, name = file.read(HEADER.size), info.filename.encode()
        fields = HEADER.unpack(header) if len(header) == HEADER.size else (b"",)
        if fields[0] != b"PK\x03\x04" or file.read(len(name)) != name:
            break
        info.CRC, info.compress_size, info.file_size = fields[6:9]
        data = file.read(info.file_size)
        if len(data) < info.file_size or zlib.crc32(data) != info.CRC:
            break
        contents.add(info.filename, decode(info.filename, data, modes=("RGB", "L")))
        info.header_offset, info.external_attr = start, 0o600 << 16
        yield info
        on_progress(i + 1)
    file.seek(start)
    file.truncate()


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, EPOCH)


def _entry(i: int) -> str:
    name = f"{i:08d}"
    return f"{name[:5]}/img{name}.png"


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} pixels"


def _png(pixels: Pixels) -> bytes:
    # What is decoded at every reading is not compressed: three times as fast, half as large again.
    level = 1 if max(pixels.shape) <= MAPPED else 0
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(
        buffer, format="PNG", compress_level=level
    )
    return buffer.getvalue()
