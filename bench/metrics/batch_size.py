"""How many samples a device is given at a time: fewer from then on, where its memory does not hold them."""

import gc
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

log = logging.getLogger(__name__)

T = TypeVar("T")

_most: dict[str, int] = {}
"""By use, what fitted in this process after a larger batch had not."""


def joined(parts: Iterable[tuple[range, Tensor]], count: int) -> Tensor:
    """(count, ...) of the parts (rows, values), each put into its place as it comes.

    A list of them would pin the heap: between small blocks that stay, glibc does not use the room of a freed batch for
    the next one, and memory grows by a batch a batch.
    """
    found: Tensor | None = None
    for rows, part in parts:
        if found is None:
            found = part.new_empty(count, *part.shape[1:])
        found[rows.start : rows.stop] = part
    assert found is not None
    return found


TEXTS = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""How CUDA's own libraries say it. The CPU's memory is another matter: its system kills before it refuses."""


def _is_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in TEXTS)


def batched(use: str, rows: range, size: int, make: Callable[[range], T]) -> Iterator[tuple[range, T]]:
    """(rows, make(rows)) for consecutive parts of `rows`, of `size` or as many as fit into the device's memory.

    Where `make` runs out of memory it is asked for half as many, in this and in later calls of the same use ("samples",
    "features"). Raises what `make` raises where one does not fit.
    """
    first = rows.start
    while first < rows.stop:
        part = range(first, min(rows.stop, first + min(size, _most.get(use, size))))
        try:
            made = make(part)
        except RuntimeError as error:
            if len(part) == 1 or not _is_of_memory(error):
                raise
            _most[use] = len(part) // 2
            log.warning(
                "%d %s at a time do not fit into the device's memory: from now on %d", len(part), use, _most[use]
            )
        else:
            yield part, made
            first = part.stop
            continue
        # Out here the error holds no more of its tensors.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
