"""How the process keeps the memory that its tensors free."""

import contextlib
import ctypes
import sys

PART_OF_RESULTS = False

KEPT = 256 * 2**20
"""Bytes at the end of the heap that are not given back."""
ON_HEAP = 32 * 2**20
"""Bytes from which on a block is the system's own, glibc's largest."""
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""glibc's names for what mallopt sets (malloc.h)."""


def keep_freed_memory() -> None:
    """Tell glibc's allocator to keep freed memory; nothing where there is another allocator.

    By default it gives back what each layer frees, and the system clears the same pages for the next layer: a tenth to
    a quarter of a small network's time.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for name, value in ((MMAP_THRESHOLD, ON_HEAP), (TRIM_THRESHOLD, KEPT), (TOP_PAD, KEPT // 4)):
            mallopt(name, value)
