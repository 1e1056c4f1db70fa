"""Batches, and what their steps draw, made ahead on another thread: a GPU would wait for them."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from ...datasets.base import Batch
from ...methods.method import Trainable

T = TypeVar("T")

DEPTH = 4
"""Batches that wait at most."""


class Ahead(Generic[T]):
    """What `items` yields, in its order, made up to `depth` items ahead on another thread; its exception comes in its
    place. `close` ends the thread.
    """

    def __init__(self, items: Iterable[T], depth: int = DEPTH) -> None:
        self.items = items
        self._made: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __iter__(self) -> Iterator[T]:
        self.close()
        self._closed.clear()
        self._thread = threading.Thread(target=self._make, name="batches ahead", daemon=True)
        self._thread.start()
        while True:
            item, error, is_last = self._made.get()
            if error is not None:
                raise error
            if is_last:
                return
            yield item  # type: ignore[misc]

    def _make(self) -> None:
        try:
            for item in self.items:
                self._made.put((item, None, False))
                if self._closed.is_set():
                    return
            self._made.put((None, None, True))
        except BaseException as error:  # whatever it is, it belongs to whoever waits for the item
            self._made.put((None, error, False))

    def close(self) -> None:
        """Wait for the thread to end; what it has made is dropped."""
        self._closed.set()
        while self._thread is not None and self._thread.is_alive():
            self._drop()
            self._thread.join(0.01)
        self._thread = None
        self._drop()

    def _drop(self) -> None:
        while not self._made.empty():
            self._made.get_nowait()


@contextmanager
def prepared(module: Trainable, batches: Iterable[Batch], device: str) -> Iterator[Iterable[Any]]:
    """The batches of `module` for `device`: as they are on the CPU; for a GPU with their draws, ahead, in memory that
    it can read by itself.
    """
    if device == "cpu":
        yield batches
        return
    ahead = Ahead(map(_pinned, _with_draws(module, batches)))
    try:
        yield ahead
    finally:
        ahead.close()


def _with_draws(module: Trainable, batches: Iterable[Batch]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        yield {**batch, "drawn": module.drawn(batch)}


def _pinned(batch: dict[str, Any]) -> Any:
    return apply_to_collection(batch, Tensor, Tensor.pin_memory) if torch.cuda.is_available() else batch
