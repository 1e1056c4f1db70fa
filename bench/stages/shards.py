"""Arrays with a row for each sample, in files of fixed ranges of rows.

    samples.safetensors                     where one file holds all
    samples-00002-of-00025.safetensors

Each is written as soon as it is made, whole or not at all, so that a task that was killed makes only those that are
missing. They are read in slices: no more of them is in memory.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...methods import ranks
from ...reports.writing import aside
from ..metrics.batch_size import batched
from ..store import Artifact, CorruptError

ROWS, BYTES = 2048, 2**26
"""What a file holds at most: so many samples, and so many bytes of them in float32. Each holds a power of 2, as batches
do, so that these do not depend on the files."""
SUFFIX = ".safetensors"
JOURNAL = "shards.jsonl"
"""What each of several files took, a line for each: no part of an artifact."""


@dataclass(frozen=True)
class Batch:
    """Some samples as they are kept, by the array's name, and what making them took, in numbers of any name."""

    arrays: dict[str, Tensor]
    took: dict[str, float] = field(default_factory=dict)


Took = list[dict[str, float]]
"""Of each batch in order; `rows` is its size, `first` its first sample."""


def write(
    folder: Path,
    stem: str,
    count: int,
    shape: Sequence[int],
    size: int,
    make: Callable[[range], Batch],
    on_progress: Callable[[float], None],
) -> Took:
    """Keep make(rows) over 0..count-1, samples of `shape`, in the folder; at most `size` are made at a time.

    Files that are there already are not made anew.
    """
    ranges, took, journal = _ranges(count, shape), dict[int, Took](), folder / JOURNAL

    def add(k: int) -> None:
        path = folder / _name(stem, k, len(ranges))
        if k not in took and not (k in _noted(journal) and _whole(path)):
            took[k] = _made(path, k, ranges, size, make, on_progress)
        on_progress(ranges[k].stop / count)

    try:
        # The others' are made there; what one of them could not make is made, or refused, here.
        for k in ranks.own(len(ranges)):
            add(k)
    finally:
        ranks.wait()
    if ranks.is_first():
        for k in range(len(ranges)):
            add(k)
    took |= _noted(journal)
    return [batch for k in sorted(took) for batch in took[k]]


def _made(
    path: Path,
    k: int,
    ranges: Sequence[range],
    size: int,
    make: Callable[[range], Batch],
    on_progress: Callable[[float], None],
) -> Took:
    """Make the k-th file, and say what its batches took."""
    arrays: dict[str, list[Tensor]] = {}
    costs: Took = []
    for part, batch in batched("samples", ranges[k], size, make):
        for name, rows_of in batch.arrays.items():
            arrays.setdefault(name, []).append(rows_of)
        costs.append({"first": part.start, "rows": len(part), **batch.took})
        on_progress(part.stop / ranges[-1].stop)
    if len(ranges) > 1:
        # First: a file without its line is made again, a line without its file says nothing.
        with (path.parent / JOURNAL).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"shard": k, "took": costs}) + "\n")
    with aside(path) as unfinished:
        save_file({name: _joined(arrays.pop(name)) for name in sorted(arrays)}, unfinished)
    return costs


def fitting(shape: Sequence[int], room: int) -> int:
    """How many samples take no more than `room` bytes in float32: a power of 2, one at least."""
    return int(2 ** (max(1, room // (4 * math.prod(shape))).bit_length() - 1))


def discard(folder: Path, stem: str) -> None:
    """Remove what has been written."""
    for path in [*folder.glob(f"{stem}*{SUFFIX}"), folder / JOURNAL]:
        path.unlink(missing_ok=True)


def _ranges(count: int, shape: Sequence[int]) -> list[range]:
    step = min(ROWS, fitting(shape, BYTES))
    return [range(first, min(first + step, count)) for first in range(0, count, step)]


def _name(stem: str, k: int, files: int) -> str:
    return f"{stem}{SUFFIX}" if files == 1 else f"{stem}-{k:05}-of-{files:05}{SUFFIX}"


def _noted(journal: Path) -> dict[int, Took]:
    """What each file took that an earlier attempt has written, by its number."""
    found: dict[int, Took] = {}
    if journal.is_file():
        for line in journal.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, LookupError, TypeError):  # Cut short by a kill.
                entry = json.loads(line)
                found[entry["shard"]] = entry["took"]
    return found


def _whole(path: Path) -> bool:
    """Whether a file is there and as long as its header says."""
    try:
        with safe_open(path, "pt"):
            return True
    except (OSError, SafetensorError):
        return False


def _joined(parts: list[Tensor]) -> Tensor:
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).contiguous()


class Rows(Protocol):
    """Samples (N, ...), of which slices are read."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Tensor: ...


class Shards:
    """The first `count` rows of one array of an artifact. Raises CorruptError as `Artifact.file` does."""

    def __init__(self, artifact: Artifact, stem: str, array: str, count: int) -> None:
        self.artifact, self.array, self.count = artifact, array, count
        pattern = re.compile(rf"{re.escape(stem)}(-\d+-of-\d+)?{re.escape(SUFFIX)}")
        self._names = sorted(name for name in artifact.manifest["files"] if pattern.fullmatch(name))
        if not self._names:
            raise CorruptError(f"{artifact.folder} has no {stem}{SUFFIX}")
        self._checked: dict[int, Path] = {}
        self._step = self._opened(0, lambda rows: int(rows.get_shape()[0]))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: slice, /) -> Tensor:
        first, last, step = rows.indices(self.count)
        assert step == 1
        files = range(first // self._step, max(first, last - 1) // self._step + 1)
        return _joined([self._part(k, first - k * self._step, last - k * self._step) for k in files])

    def _part(self, k: int, first: int, last: int) -> Tensor:
        return self._opened(k, lambda rows: rows[max(0, first) : min(last, rows.get_shape()[0])])

    def _opened(self, k: int, read: Callable[[Any], Any]) -> Any:
        if k not in self._checked:
            self._checked[k] = self.artifact.file(self._names[k])
        with safe_open(self._checked[k], "pt") as file:
            if self.array not in set(file.keys()):
                raise CorruptError(f"{self._checked[k]} has no {self.array}")
            return read(file.get_slice(self.array))


@dataclass(frozen=True)
class Mapped:
    """function(rows) of rows that are read when they are asked for."""

    rows: Rows
    function: Callable[[Tensor], Tensor]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice, /) -> Tensor:
        return self.function(self.rows[rows])
