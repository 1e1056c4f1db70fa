"""Pickles of others, of which only what a list names is called: nothing else that they hold can run. No torch."""

import importlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy

BROKEN = (AttributeError, KeyError, RuntimeError, TypeError, ValueError)
"""What `load` raises, and what looking for something in a pickle of something else does."""

Allowed = Mapping[tuple[str, str], Any]
"""(module, name) in the pickle -> what stands for it."""


def arrays() -> Allowed:
    """What NumPy's arrays and numbers are made of; modules have moved from `core` to `_core`."""
    core = importlib.import_module("numpy._core.multiarray")
    moved = ("numpy.core.multiarray", "numpy._core.multiarray")
    return {
        **{(module, name): getattr(core, name) for module in moved for name in ("_reconstruct", "scalar")},
        ("numpy", "ndarray"): numpy.ndarray,
        ("numpy", "dtype"): numpy.dtype,
        ("_codecs", "encode"): _latin1,
    }


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes so that Python 2 can read them."""
    if encoding != "latin1":
        raise ValueError(f"bytes in {encoding}")
    return text.encode(encoding)


def load(file: Path, allowed: Allowed) -> Any:
    """The object that the file holds. ValueError where it names anything beside `allowed`, or is no whole pickle."""
    with file.open("rb") as opened:
        try:
            return _Reader(opened, allowed).load()
        except Exception as error:
            # What a broken pickle asks for is anything: more memory than there is, shapes that do not fit.
            raise ValueError(reason(error)) from None


class _Reader(pickle.Unpickler):
    def __init__(self, file: IO[bytes], allowed: Allowed) -> None:
        # Strings of Python 2 are bytes.
        super().__init__(file, encoding="latin1")
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not needed")
        return self._allowed[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to another file")


def outline(stream: IO[bytes], allowed: Allowed, other: Any) -> Any:
    """The next object in the stream, with `other` for whatever it names beside `allowed`, and None for what it says
    lies elsewhere. What a broken one raises is anything.
    """
    return _Outline(stream, allowed, other).load()


class _Outline(_Reader):
    def __init__(self, file: IO[bytes], allowed: Allowed, other: Any) -> None:
        super().__init__(file, allowed)
        self._other = other

    def find_class(self, module: str, name: str) -> Any:
        return self._allowed.get((module, name), self._other)

    def persistent_load(self, pid: Any) -> None:
        return None


def reason(error: BaseException) -> str:
    """One line on what is wrong."""
    return (str(error).splitlines() or [type(error).__name__])[0]
